"""What stands in a cell of a table, as values: formats ask for its text when they write it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis import columns
from analysis.columns import METRICS
from analysis.scoring.differences import Difference, printed_by_speaker, printed_difference, speaker_metrics
from analysis.scoring.formats import (
    MISSING,
    NOTHING,
    Printed,
    deviation_text,
    folds_text,
    interval_text,
    joined,
    number,
    signed,
    speaker_interval_text,
)
from analysis.scoring.scores import Score

UNKNOWN = (math.nan, math.nan)  # an interval that is not known


class TableCell:
    """A cell; `complete` is whether every fold is in it that was asked for, and `code` whether it is for machines."""

    code: bool = False

    @property
    def printed(self) -> Printed:
        """Its value as every format shows it."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """All of its value on one line."""
        return self.printed.text

    @property
    def complete(self) -> bool:
        """True, unless the kind of cell knows of folds that may be missing."""
        return True


@dataclass(frozen=True)
class TextCell(TableCell):
    """Words, or a stage's key as `code`."""

    words: str = MISSING
    code: bool = False

    @property
    def printed(self) -> Printed:
        """The words as they are."""
        return Printed(rest=self.words)


@dataclass(frozen=True)
class QuantityCell(TableCell):
    """A number that was put into words elsewhere, `4`, and what follows it, ` (2 female)`."""

    number: str
    rest: str = ""

    @property
    def printed(self) -> Printed:
        """The number, then what follows it."""
        return Printed(self.number, self.rest)


@dataclass(frozen=True)
class NumberCell(TableCell):
    """A number with so many `digits` after the point, and what it counts; None or NaN where it is not known."""

    value: float | None
    digits: int = 0
    unit: str = ""
    grouped: bool = False  # by thousands

    @property
    def printed(self) -> Printed:
        """The number with its digits and its unit, or NOTHING."""
        if self.value is None or math.isnan(self.value):
            return NOTHING
        shown = f"{self.value:,.{self.digits}f}" if self.grouped else number(self.value, self.digits)
        return Printed(shown, self.unit and f" {self.unit}")


@dataclass(frozen=True)
class RateCell(TableCell):
    """A rate in percent, its standard deviations over forest and training seeds, its interval, and that over whole
    speakers, NaN where they are not known; the folds that are done, of how many; and the mark of a footnote.

    `interval` is None where none is shown.
    """

    value: float
    deviations: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    by_speaker: tuple[float, float] = UNKNOWN
    folds_done: int = 0
    folds: int = 0
    mark: str = ""

    @classmethod
    def of(cls, score: Score | None, spread: bool = False, interval: bool = True) -> TableCell:
        """Of a score, with its spreads or its intervals where they are asked for; an empty cell where there is none."""
        if score is None:
            return TextCell()
        deviations = (score.forest_spread, score.training_spread) if spread else ()
        own, beside = (score.interval, score.beside) if interval else (None, UNKNOWN)
        return cls(score.value, deviations, own, beside, score.folds_done, score.folds)

    @property
    def complete(self) -> bool:
        """Whether all folds are in the rate."""
        return self.folds_done >= self.folds

    @property
    def printed(self) -> Printed:
        """`72.34 ± 1.20 ± 0.50`, with the intervals and the folds that are missing as details."""
        known = [not math.isnan(one) for one in self.deviations]
        last = max((place for place, there in enumerate(known, start=1) if there), default=0)
        spread = joined(*(deviation_text(one) or f"± {MISSING}" for one in self.deviations[:last]))
        interval = "" if self.interval is None else interval_text(*self.interval)
        folds = folds_text(self.folds_done, self.folds)
        details = tuple(filter(None, (interval, speaker_interval_text(*self.by_speaker), folds)))
        return Printed(f"{self.value:.2f}", spread and f" {spread}", self.mark, details, bool(interval))


@dataclass(frozen=True)
class ShareCell(TableCell):
    """A share in percent, and how many utterances it is of; nothing where there are none."""

    value: float
    utterances: float

    @property
    def printed(self) -> Printed:
        """`83.3 (6)`, or NOTHING."""
        return Printed(number(self.value), f" ({self.utterances:.3g})") if self.utterances else NOTHING


@dataclass(frozen=True)
class PointsCell(TableCell):
    """A difference in points without a test; None where there is none."""

    value: float | None

    @property
    def printed(self) -> Printed:
        """The difference with its sign, or NOTHING."""
        return NOTHING if self.value is None else Printed(signed(self.value))


@dataclass(frozen=True)
class DifferenceCell(TableCell):
    """A difference between two networks, with its interval over utterances and the adjusted p of its test."""

    difference: Difference | None

    @property
    def complete(self) -> bool:
        """Whether both networks have all folds."""
        return self.difference is None or self.difference.complete

    @property
    def printed(self) -> Printed:
        """The difference with its interval over utterances and its p."""
        return printed_difference(self.difference)


@dataclass(frozen=True)
class SpeakerCell(TableCell):
    """The same difference's interval over whole speakers, and the p of the test over them."""

    difference: Difference | None

    @property
    def printed(self) -> Printed:
        """The interval over speakers and its p."""
        return printed_by_speaker(self.difference)


@dataclass(frozen=True)
class ChoiceCell(TableCell):
    """In how many folds each iteration is chosen."""

    folds_of: Mapping[int, int]

    @property
    def printed(self) -> Printed:
        """`1 (7), 2 (3)`: each iteration, and in how many folds it is chosen."""
        (first, folds), *others = sorted(self.folds_of.items())
        return Printed(str(first), f" ({folds})" + "".join(f", {other} ({count})" for other, count in others))


def difference_cells(line: Mapping[Any, Any]) -> list[TableCell]:
    """WA, UA and F1 of a line of `comparison`, and what is known of them by speaker."""
    of = {metric: Difference.of(line, metric) for metric in METRICS}
    by_speaker = (of[metric] for metric in speaker_metrics(line[columns.INTERVALS]))
    return [*map(DifferenceCell, of.values()), *map(SpeakerCell, by_speaker)]
