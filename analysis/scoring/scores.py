"""Decisions on utterances -> recognition rates, with their spreads and intervals."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import columns
from analysis.frames import checked
from analysis.identity import Treatment
from analysis.scoring.cores import on_all_cores
from analysis.scoring.intervals import KINDS, beside
from analysis.scoring.metrics import class_recall, macro_f1, unweighted_accuracy, weighted_accuracy
from analysis.scoring.setup import Setup
from analysis.scoring.statistics import UNDECIDED, Rates, rate_intervals
from data_prep.arrays import Ints


def score(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell and decision: WA, UA, macro-F1 and per-class recall in percent, means over forest seeds.

    `decisions` is what `decide` returns; the columns are `columns.SCORE_COLUMNS`.
    """
    identity = [*columns.CELL_COLUMNS, columns.DECISION]
    rows = [rates for rates, _ in _with_rates(decisions, identity)]
    return pd.DataFrame(rows, columns=list(columns.SCORE_COLUMNS))


def score_networks(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each network and decision, over its training seeds: what tables show.

    Rates are means over training and forest seeds, the spreads over either stand apart, and intervals are of the mean.
    The columns are `columns.NETWORK_SCORE_COLUMNS`.
    """
    needed = (*columns.CELL_COLUMNS, columns.SETUP, *columns.DECIDED_COLUMNS, *columns.OF_INTERVALS)
    checked(decisions, "decisions", needed)
    identity = [*columns.NETWORK_IDENTITY, columns.DECISION]
    rows = [rates | pooled_folds(group) for rates, group in _with_rates(decisions, identity)]
    scores = pd.DataFrame(rows, columns=list(columns.NETWORK_SCORE_COLUMNS))
    return checked(scores, "scores", columns.NETWORK_SCORE_COLUMNS)


def decision_arrays(decisions: pd.DataFrame) -> tuple[Ints, Ints, NDArray[Any]]:
    """The decisions of one network in the shapes of `analysis.scoring.statistics`: labels, decisions, speakers.

    The first two are [R, U], with a row for each training and forest seed and a column for each utterance, in order,
    and UNDECIDED where a training seed does not have it; the speakers [U] are those of the columns.
    """
    seeds = (decisions[name] for name in (columns.SEED, columns.FOREST_SEED))
    seed, forest = (np.unique(of_line, return_inverse=True)[1] for of_line in seeds)
    row = np.unique(seed * (forest.max() + 1) + forest, return_inverse=True)[1]
    column, utterances = pd.factorize(decisions[columns.UTTERANCE], sort=True)
    label, predicted = np.full((2, row.max() + 1, len(utterances)), UNDECIDED, dtype=np.int64)
    label[row, column] = decisions[columns.LABEL]
    predicted[row, column] = decisions[columns.PREDICTED]
    first = np.unique(column, return_index=True)[1]
    return label, predicted, decisions[columns.SPEAKER].to_numpy()[first]


def _with_rates(decisions: pd.DataFrame, identity: list[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each group of decisions that are equal in `identity`, with its rates and what it was on validation utterances."""
    groups = list(decisions.groupby(identity, dropna=False, sort=False))
    rates = on_all_cores(_rates_of, [group for _, group in groups])
    for (key, group), found in zip(groups, rates, strict=True):
        same = {name: group[name].iloc[0] for name in (columns.SETUP, columns.INTERVALS)}
        about = {**same, columns.VALIDATION_WA: _validation_wa(group)}
        yield dict(zip(identity, key, strict=True)) | about | found, group


def _validation_wa(group: pd.DataFrame) -> float:
    """The mean over training seeds of the mean over their folds; NaN where one does not know it."""
    of_folds = group.drop_duplicates([columns.SEED, columns.FOLD]).groupby(columns.SEED)[columns.VALIDATION_WA]
    return float(of_folds.mean(skipna=False).mean(skipna=False))


def pooled_folds(group: pd.DataFrame) -> dict[str, Any]:
    """What a network's training seeds come to: folds of all seeds that are asked for."""
    seeds = group.drop_duplicates(columns.SEED)
    asked = int(seeds[columns.SEEDS].max())
    return {
        columns.SEEDS: asked,
        columns.FOLDS_DONE: int(seeds[columns.FOLDS_DONE].sum()),
        columns.FOLDS: int(seeds[columns.FOLDS].max()) * asked,
    }


def _rates_of(group: pd.DataFrame) -> dict[str, Any]:
    """Rates of one cell or network by one decision, with spreads and intervals, in percent."""
    seeds, rates, recalls = [], [], []
    for seed, decided in group.groupby([columns.SEED, columns.FOREST_SEED]):
        label, predicted = decided[columns.LABEL].to_numpy(), decided[columns.PREDICTED].to_numpy()
        seeds.append(seed)
        rates.append([100 * rate(label, predicted) for rate in (weighted_accuracy, unweighted_accuracy, macro_f1)])
        recalls.append(100 * class_recall(label, predicted, int(decided[columns.CLASSES].iloc[0])))
    by_seed = pd.DataFrame(rates, pd.MultiIndex.from_tuples(seeds), [columns.WA, columns.UA, columns.F1])
    trainings = by_seed.groupby(level=0)
    over_forests, over_trainings = trainings.std().mean(), trainings.mean().std()
    return {
        columns.UTTERANCES: group[columns.UTTERANCE].nunique(),
        **by_seed.mean(),
        **{one.spreads[0]: over_forests[one.value] for one in columns.RATES.values()},
        **{one.spreads[1]: over_trainings[one.value] for one in columns.RATES.values()},
        **_intervals_of(group),
        columns.RECALL: pd.DataFrame(recalls).mean().tolist(),  # of the seeds that have the class
    }


def _intervals_of(group: pd.DataFrame) -> dict[str, float]:
    """95% intervals of WA, UA and macro-F1, of the kind asked for and by a bootstrap over speakers, in percent."""
    label, predicted, speaker = decision_arrays(group)
    kind, ratio = KINDS[group[columns.INTERVALS].iloc[0]], float(group[columns.TRAINING_RATIO].min())
    asked = kind.of_rates(label, predicted, speaker, ratio)
    return interval_columns(columns.RATES.values(), asked, rate_intervals(label, predicted, cluster=speaker))


def interval_columns(names: Iterable[columns.MetricColumns], own: Rates, by_speaker: Rates) -> dict[str, float]:
    """The ends of intervals of WA, UA and macro-F1 in percent, by their columns: of the kind asked for, `own`, and over
    speakers."""
    found: dict[str, float] = {}
    for name, asked, over_speakers in zip(names, own, by_speaker, strict=True):
        for (low, high), one in ((name.interval, asked), (name.by_speaker, over_speakers)):
            found |= {low: 100 * one.low, high: 100 * one.high}
    return found


# From a data frame to scores


class ScoreKey(NamedTuple):
    """What one score is of; `metric` is WA, UA or F1."""

    treatment: Treatment
    corpus: str
    decision: str
    metric: str


@dataclass(frozen=True)
class Score:
    """A recognition rate in percent: the mean over forest and training seeds, and its spreads over either.

    `forest_spread` is the standard deviation over the forest seeds of a training seed, `training_spread` that over
    training seeds; NaN where there is one. `interval` is its 95% interval of the kind `intervals`, `by_speaker` that by
    a bootstrap over whole speakers: low and high, NaN where one cannot be known. `recall` is that of each class, in
    percent, without those that have no utterance.
    """

    value: float
    forest_spread: float
    training_spread: float
    interval: tuple[float, float]
    by_speaker: tuple[float, float]
    folds_done: int
    folds: int
    utterances: int
    partial: bool
    seeds: int
    setup: Setup
    recall: Mapping[str, float]
    intervals: str

    @property
    def complete(self) -> bool:
        """Whether every fold of every training seed is in it."""
        return self.folds_done >= self.folds

    @property
    def beside(self) -> tuple[float, float]:
        """The interval over whole speakers to be shown beside the other; NaN where it is the same."""
        return beside(self.intervals, self.by_speaker)


def index_scores(lines: pd.DataFrame) -> dict[ScoreKey, Score]:
    """The rates of `lines`, which are of one split, kind of labels and label source."""
    index = {}
    for line in lines.to_dict("records"):
        for metric in columns.METRICS:
            key = ScoreKey(Treatment.of(line), line[columns.CORPUS], line[columns.DECISION], metric)
            index[key] = _score(line, metric)
    return index


_SAME_IN_SCORES = (  # as in the lines
    *(columns.FOLDS_DONE, columns.FOLDS, columns.UTTERANCES, columns.PARTIAL, columns.SEEDS, columns.SETUP),
    columns.INTERVALS,
)


def _score(line: dict[Hashable, Any], metric: str) -> Score:
    names = columns.RATES[metric]
    forests, trainings, low, high, speaker_low, speaker_high = (
        float(line[name]) for name in (*names.spreads, *names.interval, *names.by_speaker)
    )
    recall = zip(line[columns.SETUP].classes, line[columns.RECALL], strict=True)
    return Score(
        value=float(line[names.value]),
        forest_spread=forests,
        training_spread=trainings,
        interval=(low, high),
        by_speaker=(speaker_low, speaker_high),
        recall={label: value for label, value in recall if value == value},
        **{name: line[name] for name in _SAME_IN_SCORES},
    )
