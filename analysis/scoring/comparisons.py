"""Which of two networks is better, on the same utterances and training seeds: differences, intervals, tests.

A difference is the first network's rate minus the second's, with its paired interval of the kind asked for and one by a
bootstrap over whole speakers. Sign-flip tests over utterances and over speakers take the decisions of all forest and
training seeds.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import columns
from analysis.frames import checked
from analysis.identity import OF_CONDITION, OF_NETWORK, Network
from analysis.scoring.intervals import KINDS
from analysis.scoring.metrics import macro_f1, unweighted_accuracy, weighted_accuracy
from analysis.scoring.scores import decision_arrays, interval_columns
from analysis.scoring.statistics import UNDECIDED, Rates, difference_intervals, gains, holm, sign_flips
from data_prep.arrays import Ints


class Pair(NamedTuple):
    """Two networks to compare, of the same corpus, split and labels."""

    first: Network
    second: Network


Decided = dict[tuple[Network, str], pd.DataFrame]  # decisions by network and kind of decision
FAMILY = [*OF_CONDITION, columns.DECISION]


def one_decision(lines: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Who decided, and the lines of that: the paper's random forest, or mean pooling where there is none."""
    decision = columns.FOREST if (lines[columns.DECISION] == columns.FOREST).any() else columns.MEAN_POOLING
    return decision, lines[lines[columns.DECISION] == decision]


def networks(decisions: pd.DataFrame) -> list[Network]:
    """The networks that there are decisions of, in the order in which they first appear."""
    found = decisions[list(OF_NETWORK)].drop_duplicates()
    return [Network.of(line) for line in found.to_dict("records")]


def comparisons(decisions: pd.DataFrame) -> pd.DataFrame:
    """Every network beside its baseline, a line for each kind of decision; columns `columns.COMPARISON_COLUMNS`.

    Differences are in percentage points. p values are adjusted by Holm's method within a family: all networks of one
    label source on one corpus and split, of all backbones, by one kind of decision. Those of the test over speakers
    stay as they are. Comparisons of which one side is missing are left out, and those with missing folds are of the
    utterances that both have.
    """
    checked(decisions, "decisions", (*columns.CELL_COLUMNS, *columns.DECIDED_COLUMNS, *columns.OF_INTERVALS))
    pairs = [Pair(one, one.baseline) for one in networks(decisions) if one != one.baseline]
    lines = _compared(decisions, pairs)
    lines[columns.P_HOLM] = holm_within(FAMILY, lines)
    return checked(lines, "comparisons", columns.COMPARISON_COLUMNS)


def compare(decisions: pd.DataFrame, pairs: Sequence[Pair]) -> pd.DataFrame:
    """The comparisons asked for, as in `comparisons`; all of one kind of decision are one family."""
    lines = _compared(decisions, pairs)
    lines[columns.P_HOLM] = holm_within([columns.DECISION], lines)
    return lines


def holm_within(family: list[str], lines: pd.DataFrame) -> "pd.Series[float]":
    """The p values of `lines` adjusted by Holm's method, those that have the same values in the columns `family`
    together."""

    def adjusted(p: "pd.Series[float]") -> "pd.Series[float]":
        return pd.Series(holm(p.to_numpy(np.float64)), p.index)

    return lines.groupby(family, sort=False)[columns.P].transform(adjusted)


def _network(values: Sequence[Any]) -> Network:
    """From the values of OF_NETWORK, and whatever comes after."""
    return Network.of(dict(zip(OF_NETWORK, values, strict=False)))


def by_network(decisions: pd.DataFrame) -> Decided:
    """The decisions of each network and kind of decision."""
    grouped = decisions.groupby([*OF_NETWORK, columns.DECISION], sort=False)
    return {(_network(key), str(key[-1])): group for key, group in grouped}


def of_networks(decisions: pd.DataFrame) -> dict[Network, pd.DataFrame]:
    """The decisions of each network, of either kind, in the order in which networks first appear."""
    return {_network(key): group for key, group in decisions.groupby(list(OF_NETWORK), sort=False)}


def _compared(decisions: pd.DataFrame, pairs: Iterable[Pair]) -> pd.DataFrame:
    groups = by_network(decisions)
    found = [line for _, line in pair_lines(pairs, groups, groups)]
    empty = {columns.P: pd.Series(dtype=np.float64)}
    return pd.DataFrame(found or empty, columns=list(columns.COMPARISON_COLUMNS))


def pair_lines(pairs: Iterable[Pair], first: Decided, second: Decided) -> Iterator[tuple[Pair, dict[str, Any]]]:
    """Each pair of networks with a line of `comparisons` for each kind of decision that both have."""
    for pair, decision in product(pairs, (columns.FOREST, columns.MEAN_POOLING)):
        one, other = first.get((pair.first, decision)), second.get((pair.second, decision))
        line = None if one is None or other is None else comparison(pair, decision, one, other)
        if line is not None:
            yield pair, line


def comparison(pair: Pair, decision: str, first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any] | None:
    """A line of `comparisons` from one kind of decision of two networks on utterances that have the same labels.

    None where the two have no utterance of the same training seed.
    """
    key = [columns.SEED, columns.FOREST_SEED, columns.UTTERANCE]
    both = first[key].merge(second[key])
    if both.empty:
        return None
    labels, decided, speaker = decision_arrays(both.merge(first))
    _, other, _ = decision_arrays(both.merge(second))
    kind = str(first[columns.INTERVALS].iloc[0])
    ratio = float(min(one[columns.TRAINING_RATIO].min() for one in (first, second)))
    own = KINDS[kind].of_differences(labels, (decided, other), speaker, ratio)
    by_speaker = difference_intervals(labels, decided, other, cluster=speaker)
    gained = gains(labels, decided, other)
    return {
        columns.CORPUS: pair.first.corpus,
        columns.PARTIAL: bool(first[columns.PARTIAL].iloc[0]),
        columns.SPLIT: pair.first.split,
        columns.LABELS: pair.first.labels,
        **_named(pair.first),
        **{columns.SECOND + name: value for name, value in _named(pair.second).items()},
        columns.DECISION: decision,
        columns.UTTERANCES: labels.shape[1],
        columns.SPEAKERS: len(np.unique(speaker)),
        columns.SHARED_SEEDS: both[columns.SEED].nunique(),
        columns.COMPLETE: is_complete(first) and is_complete(second),
        columns.INTERVALS: kind,
        **_rates("", labels, decided),
        **_rates(columns.SECOND, labels, other),
        **_differences(own, by_speaker),
        columns.FIRST_AHEAD: int((gained > 0).sum()),
        columns.SECOND_AHEAD: int((gained < 0).sum()),
        columns.P: sign_flips(gained),
        columns.P_SPEAKER: sign_flips(gained, speaker),
    }


def _rates(of: str, labels: Ints, predicted: Ints) -> dict[str, float]:
    """WA and UA of decisions [R, U] in percent, means over rows; `of` comes before the names of their columns."""
    decided = labels != UNDECIDED
    rows = [(label[there], row[there]) for label, row, there in zip(labels, predicted, decided, strict=True)]
    return {
        of + columns.WA: 100 * float(np.mean([weighted_accuracy(*row) for row in rows])),
        of + columns.UA: 100 * float(np.mean([unweighted_accuracy(*row) for row in rows])),
        of + columns.F1: 100 * float(np.mean([macro_f1(*row) for row in rows])),
    }


def _differences(own: Rates, by_speaker: Rates) -> dict[str, float]:
    """In percentage points, with the intervals of the kind asked for and those over speakers."""
    names = columns.DIFFERENCES.values()
    values = {name.value: 100 * one.value for name, one in zip(names, own, strict=True)}
    return values | interval_columns(names, own, by_speaker)


def _named(network: Network) -> dict[str, Any]:
    """The columns that tell the two networks of a comparison apart."""
    return {**network.treatment._asdict(), columns.LABEL_SOURCE: network.label_source}


def is_complete(group: pd.DataFrame) -> bool:
    """Whether a network's decisions are of every fold of every training seed that the grid asks for."""
    seeds = group.drop_duplicates(columns.SEED)
    whole = (seeds[columns.FOLDS_DONE] >= seeds[columns.FOLDS]).all()
    return bool(whole) and len(seeds) >= seeds[columns.SEEDS].max()
