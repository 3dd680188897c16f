"""A difference between two networks by one metric, and how it is written for people and for machines."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis import columns
from analysis.columns import METRICS
from analysis.scoring.formats import (
    INCOMPLETE,
    MISSING,
    NOTHING,
    Printed,
    interval_text,
    joined,
    p_text,
    signed,
    speaker_interval_text,
)
from analysis.scoring.intervals import BESIDE, beside


@dataclass(frozen=True)
class Difference:
    """Percentage points, their 95% interval of the kind `intervals` and that by a bootstrap over whole speakers, and
    the p of tests of WA.

    `p` is the sign-flip test's over utterances, `p_holm` the same adjusted by Holm's method, `p_speaker` that over
    speakers; NaN without a test. `complete` is whether every fold of every training seed is there: otherwise the
    difference is of the utterances and seeds that both have.
    """

    value: float
    interval: tuple[float, float]
    by_speaker: tuple[float, float]
    p: float
    p_holm: float
    p_speaker: float
    complete: bool
    intervals: str

    @classmethod
    def of(cls, line: Mapping[Any, Any], metric: str) -> "Difference":
        """From a line of `comparisons`; `metric` is WA, UA or F1."""
        names = columns.DIFFERENCES[metric]
        value, low, high, speaker_low, speaker_high = (
            float(line[name]) for name in (names.value, *names.interval, *names.by_speaker)
        )
        p, p_holm, p_speaker = (float(line[name]) if metric == "WA" else math.nan for name in columns.TESTS)
        about = line[columns.COMPLETE], line[columns.INTERVALS]
        return cls(value, (low, high), (speaker_low, speaker_high), p, p_holm, p_speaker, *about)


def speaker_metrics(intervals: str) -> tuple[str, ...]:
    """The metrics of which something is to be told by speaker, beside intervals of this kind: the others have no test,
    and their interval is shown already where it is over speakers."""
    return ("WA",) if intervals == BESIDE else METRICS


def printed_difference(difference: Difference | None, p: float | None = None) -> Printed:
    """`+5.11 [1.5, 8.7] p 0.02`, with the adjusted p unless another is given."""
    if difference is None:
        return NOTHING
    folds = "" if difference.complete else INCOMPLETE
    test = p_text(difference.p_holm if p is None else p)
    interval = joined(interval_text(*difference.interval), test)
    return Printed(signed(difference.value), details=tuple(filter(None, (interval, folds))), has_interval=True)


def printed_by_speaker(difference: Difference | None) -> Printed:
    """`{0.3, 9.9} p 0.04`: the interval over whole speakers, unless the other one is the same, and the p of the test
    over them."""
    if difference is None:
        return NOTHING
    over_speakers = beside(difference.intervals, difference.by_speaker)
    interval, test = speaker_interval_text(*over_speakers), p_text(difference.p_speaker)
    return Printed(details=(joined(interval, test),), has_interval=True) if interval else Printed(rest=test or MISSING)


def difference_text(difference: Difference | None, p: float | None = None) -> str:
    """`printed_difference` in a line."""
    return printed_difference(difference, p).text


def by_speaker_text(difference: Difference, before: str = "; ") -> str:
    """`; by speaker {0.3, 9.9} p 0.04`, for the end of a sentence; nothing where nothing is known by speaker."""
    told = printed_by_speaker(difference)
    return "" if told.is_missing else f"{before}by speaker {told.text}"


def difference_entry(name: str, difference: Difference) -> dict[str, float]:
    """For machines, under `name` and p, to six decimals; what is not known is left out."""
    names = columns.MetricColumns(name)
    values = {
        names.value: difference.value,
        **dict(zip(names.interval, difference.interval, strict=True)),
        **dict(zip(names.by_speaker, difference.by_speaker, strict=True)),
        **{test: getattr(difference, test) for test in columns.TESTS},
    }
    return {key: round(value, 6) for key, value in values.items() if not math.isnan(value)}
