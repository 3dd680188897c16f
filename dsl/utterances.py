"""From segment predictions to the decision on the utterance (§IV-C)."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.ensemble import RandomForestClassifier

from dsl.splits import assign_folds, may_train

PERCENTILES = (1, 99, 25, 50, 75)  # h2 to h6
THRESHOLDS = (0.2, 0.3)  # beta of h7 and h8
FEATURES_PER_CLASS = 1 + len(PERCENTILES) + len(THRESHOLDS)


def utterance_features(q: np.ndarray, utterance: np.ndarray) -> np.ndarray:
    """Statistics of an utterance's segment predictions (Eq. 14-18): float64 [U, 8 * K].

    `q` [N, K]; `utterance` [N] numbers the utterances 0 to U - 1, each with at least one segment. Columns 0 to
    K - 1 are the means, then follow percentiles 1 and 99, the quartiles, and the shares above 0.2 and 0.3.
    """
    counts = np.bincount(utterance)
    if not counts.all():
        raise ValueError(f"utterance {int(np.flatnonzero(counts == 0)[0])} has no segments")
    ends = np.cumsum(counts)
    first = ends - counts
    order = np.argsort(utterance, kind="stable")
    grouped = q[order].astype(np.float64)
    owner = utterance[order]
    mean = np.add.reduceat(grouped, first) / counts[:, None]
    above = [np.add.reduceat((grouped > beta).astype(np.float64), first) / counts[:, None] for beta in THRESHOLDS]
    ranked = np.column_stack([_sorted_within(owner, column) for column in q[order].T])
    percentiles = [_grouped_percentile(ranked, first, counts, percent) for percent in PERCENTILES]
    return np.column_stack([mean, *percentiles, *above])


def _sorted_within(owner: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` [N], none below 0, sorted within each stretch of equal `owner` [N]: float64 [N]."""
    if values.dtype != np.float32:
        return values[np.lexsort((values, owner))]
    # Floats that are not negative sort as their bits do, and integers sort much faster than pairs.
    keys = owner.astype(np.uint64) << np.uint64(32) | (values + np.float32(0)).view(np.uint32)
    keys.sort()
    return keys.astype(np.uint32).view(np.float32).astype(np.float64)


def _grouped_percentile(ranked: np.ndarray, first: np.ndarray, counts: np.ndarray, percent: float) -> np.ndarray:
    """Percentile, with linear interpolation, of each group of `ranked` [N, K], sorted within groups: [U, K]."""
    position = percent / 100 * (counts - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, counts - 1)
    weight = (position - low)[:, None]
    return ranked[first + low] * (1 - weight) + ranked[first + high] * weight


def mean_pooled(features: np.ndarray, classes: int) -> np.ndarray:
    """The class with the highest mean probability (h1) for each utterance, int64 [U]: no second training."""
    return features[:, :classes].argmax(axis=1)


class ForestFold(NamedTuple):
    """Positions [n] of the utterances that a forest learns from, and of those that it then decides on."""

    training: np.ndarray
    tested: np.ndarray


def forest_folds(split: str, utterances: pd.DataFrame, seed: int, folds: int = 10) -> list[ForestFold]:
    """The cross-validation of the forests (§VIII-A), which separates utterances as `split`, one of SPLITS, does.

    `utterances` has the columns label, speaker and text, in the order of ids, and each is decided on once. There are
    `folds`, or as many as the utterances of the rarest class or the groups of `split` allow. Empty where that is less
    than two, or where a forest would have nothing to learn a class from: there can be no forest.
    """
    label = utterances["label"].to_numpy()
    fold_of = _most_folds(split, utterances, seed, folds)
    if fold_of is None:
        return []
    found = []
    for fold in np.unique(fold_of):
        tested = fold_of == fold
        training = may_train(split, utterances, tested)
        if len(np.setdiff1d(label, label[training])):
            return []
        found.append(ForestFold(np.flatnonzero(training), np.flatnonzero(tested)))
    return found


def _most_folds(split: str, utterances: pd.DataFrame, seed: int, folds: int) -> np.ndarray | None:
    """The fold of each utterance [U], of as many folds as can be, up to `folds`; None where there cannot be two."""
    for count in range(folds, 1, -1):
        with suppress(ValueError):
            return assign_folds(split, utterances, count, seed)
    return None


def forest_decisions(
    features: np.ndarray, label: np.ndarray, folds_of_seeds: Sequence[Sequence[ForestFold]], jobs: int = -1
) -> np.ndarray:
    """Random forests' decisions under another cross-validation (§VIII-A): int64 [seeds, U].

    scikit-learn's default forest, trained on `features` [U, F] and `label` [U]; each seed has its own forests and its
    own folds, those of `forest_folds`.
    """

    def decide(seed: int, fold: ForestFold) -> np.ndarray:
        forest = RandomForestClassifier(random_state=seed)
        return forest.fit(features[fold.training], label[fold.training]).predict(features[fold.tested])

    asked = [(seed, fold) for seed, folds in enumerate(folds_of_seeds) for fold in folds]
    decided = Parallel(n_jobs=jobs)(delayed(decide)(*one) for one in asked)
    decisions = np.empty((len(folds_of_seeds), len(label)), dtype=np.int64)
    for (seed, fold), predicted in zip(asked, decided, strict=True):
        decisions[seed, fold.tested] = predicted
    return decisions
