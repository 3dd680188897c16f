"""What stands in a cell of a table, as values: formats ask for its text when they write it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis import columns
from analysis.columns import METRICS
from analysis.scoring.differences import Difference, printed_by_speaker, printed_difference, speaker_metrics
from analysis.scoring.formats import (
    INCOMPLETE,
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
    """A number that was put into words elsewhere, `4`, what follows it, ` (2 female)`, and the folds that are done, of
    how many."""

    number: str
    rest: str = ""
    folds: tuple[int, int] = (0, 0)

    @property
    def complete(self) -> bool:
        """Whether all folds are in the number."""
        done, folds = self.folds
        return done >= folds

    @property
    def printed(self) -> Printed:
        """The number, what follows it, and the folds that are missing as a detail."""
        missing = folds_text(*self.folds)
        return Printed(self.number, self.rest, details=(missing,) if missing else ())


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
    folds: tuple[int, int] = (0, 0)
    mark: str = ""

    @classmethod
    def of(cls, score: Score | None, spread: bool = False, interval: bool = True) -> TableCell:
        """Of a score, with its spreads or its intervals where they are asked for; an empty cell where there is none."""
        if score is None:
            return TextCell()
        deviations = (score.forest_spread, score.training_spread) if spread else ()
        own, beside = (score.interval, score.beside) if interval else (None, UNKNOWN)
        return cls(score.value, deviations, own, beside, (score.folds_done, score.folds))

    @property
    def complete(self) -> bool:
        """Whether all folds are in the rate."""
        done, folds = self.folds
        return done >= folds

    @property
    def printed(self) -> Printed:
        """`72.34 ± 1.20 ± 0.50`, with intervals and missing folds as details; NOTHING where it is NaN."""
        if math.isnan(self.value):
            return NOTHING
        known = [not math.isnan(one) for one in self.deviations]
        last = max((place for place, there in enumerate(known, start=1) if there), default=0)
        spread = joined(*(deviation_text(one) or f"± {MISSING}" for one in self.deviations[:last]))
        interval = "" if self.interval is None else interval_text(*self.interval)
        details = (interval, speaker_interval_text(*self.by_speaker), folds_text(*self.folds))
        shown = tuple(filter(None, details))
        return Printed(f"{self.value:.2f}", spread and f" {spread}", self.mark, shown, bool(interval))


def share_cell(value: float, utterances: float, folds: tuple[int, int]) -> TableCell:
    """A share in percent, and how many utterances it is of, `83.3 (6)`; nothing where there are none."""
    return QuantityCell(number(value), f" ({utterances:.3g})", folds) if utterances else TextCell()


def points_cell(value: float | None, folds: tuple[int, int] = (0, 0)) -> TableCell:
    """A difference in points without a test, with its sign; nothing where there is none."""
    return TextCell() if value is None else QuantityCell(signed(value), folds=folds)


def choice_cell(folds_of: Mapping[int, int]) -> TableCell:
    """`1 (7), 2 (3)`: each iteration, and in how many folds it is chosen."""
    (first, folds), *others = sorted(folds_of.items())
    return QuantityCell(str(first), f" ({folds})" + "".join(f", {other} ({count})" for other, count in others))


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
class SpeakerCell(DifferenceCell):
    """The same difference's interval over whole speakers, and the p of the test over them."""

    @property
    def printed(self) -> Printed:
        """The interval over speakers and its p."""
        told = printed_by_speaker(self.difference)
        return told if self.complete or told.is_missing else replace(told, details=(*told.details, INCOMPLETE))


def difference_cells(line: Mapping[Any, Any]) -> list[TableCell]:
    """WA, UA and F1 of a line of `comparison`, and what is known of them by speaker."""
    of = {metric: Difference.of(line, metric) for metric in METRICS}
    by_speaker = (of[metric] for metric in speaker_metrics(line[columns.INTERVALS]))
    return [*map(DifferenceCell, of.values()), *map(SpeakerCell, by_speaker)]
