"""The kinds of interval that results can have, under the names of a grid's `intervals`.

Each answers another question, and none is right for all: docs/statistics.md says how often each holds the true rate.
"""

from dataclasses import dataclass
from math import nan

from numpy.typing import ArrayLike

from analysis.scoring.statistics import (
    RESAMPLES,
    Rates,
    difference_intervals,
    difference_t_intervals,
    rate_intervals,
    rate_t_intervals,
)

DEFAULT, BESIDE = "utterance", "speaker"  # what stands beside each other kind in braces


@dataclass(frozen=True)
class Kind:
    """A kind of 95% interval: of utterances, or of whole speakers; by the percentiles of a bootstrap, or by Student's t
    and the jackknife, which can be corrected for the training data that the networks depend on and folds share."""

    by_speaker: bool
    by_t: bool = False
    corrected: bool = False

    def words(self, paired: bool = False, several: bool = False) -> str:
        """What captions call it: `95% paired bootstrap interval over utterances`."""
        way = f"{'paired ' if paired else ''}{'t' if self.by_t else 'bootstrap'} interval{'s' if several else ''}"
        shared = ", corrected for training data" if self.corrected else ""
        return f"95% {way} over {'speakers' if self.by_speaker else 'utterances'}{shared}"

    def of_rates(
        self,
        label: ArrayLike,
        predicted: ArrayLike,
        speaker: ArrayLike,
        training_ratio: float,
        resamples: int = RESAMPLES,
    ) -> Rates:
        """Intervals of WA, UA and macro-F1, in the shapes of `rate_intervals`; `training_ratio` as in
        `rate_t_intervals`."""
        if self.by_t:
            return rate_t_intervals(label, predicted, speaker, training_ratio if self.corrected else None)
        return rate_intervals(label, predicted, speaker if self.by_speaker else None, resamples)

    def of_differences(
        self,
        label: ArrayLike,
        both: tuple[ArrayLike, ArrayLike],
        speaker: ArrayLike,
        training_ratio: float,
        resamples: int = RESAMPLES,
    ) -> Rates:
        """The same of the first's rates minus the second's, of the decisions of `both`."""
        if self.by_t:
            return difference_t_intervals(label, *both, speaker, training_ratio if self.corrected else None)
        return difference_intervals(label, *both, speaker if self.by_speaker else None, resamples)


KINDS: dict[str, Kind] = {
    DEFAULT: Kind(by_speaker=False),
    BESIDE: Kind(by_speaker=True),
    "speaker_t": Kind(by_speaker=True, by_t=True),
    "corrected_t": Kind(by_speaker=True, by_t=True, corrected=True),
}


def by_speaker_words(intervals: str) -> str:
    """What captions say of that one of differences, before their p by speaker: nothing where it is the same."""
    return "" if intervals == BESIDE else "the {interval over whole speakers}, and "


def beside(intervals: str, by_speaker: tuple[float, float]) -> tuple[float, float]:
    """The interval over whole speakers that stands beside one of the kind `intervals`; NaN where that is the same."""
    return (nan, nan) if intervals == BESIDE else by_speaker
