"""From segment predictions to the decision on the utterance (§IV-C)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_prep.arrays import Floats, Ints
from dsl.splits import stratified_folds

PERCENTILES = (1, 99, 25, 50, 75)  # h2 to h6
THRESHOLDS = (0.2, 0.3)  # beta of h7 and h8


def utterance_features(q: Floats, utterance: Ints) -> Floats:
    """Statistics of an utterance's segment predictions (Eq. 14-18): float64 [U, 8 * K].

    `q` [N, K]; `utterance` [N] numbers the utterances 0 to U - 1, each with at least one segment. Columns 0 to
    K - 1 are the means, then follow percentiles 1 and 99, the quartiles, and the shares above 0.2 and 0.3. Raises
    ValueError where an utterance has no segments.
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


def _sorted_within(owner: Ints, values: Floats) -> Floats:
    """`values` [N], none below 0, sorted within each stretch of equal `owner` [N]: float64 [N]."""
    if values.dtype != np.float32:
        order: Ints = np.lexsort((values, owner))
        return values[order]
    # Floats that are not negative sort as their bits do, and integers sort much faster than pairs.
    keys = owner.astype(np.uint64) << np.uint64(32) | (values + np.float32(0)).view(np.uint32)
    keys.sort()
    return keys.astype(np.uint32).view(np.float32).astype(np.float64)


def _grouped_percentile(ranked: Floats, first: Ints, counts: Ints, percent: float) -> Floats:
    """Percentile, with linear interpolation, of each group of `ranked` [N, K], sorted within groups: [U, K]."""
    position = percent / 100 * (counts - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, counts - 1)
    weight: Floats = (position - low)[:, None]
    percentile: Floats = ranked[first + low] * (1 - weight) + ranked[first + high] * weight
    return percentile


def mean_pooled(features: Floats, classes: int) -> Ints:
    """The class with the highest mean probability (h1) for each utterance, int64 [U]: no second training."""
    likeliest: Ints = features[:, :classes].argmax(axis=1)
    return likeliest


class ForestFold(NamedTuple):
    """What a forest learns from, `features` [n, F] with their `label` [n], and what it is asked: `asked` [m, F] of the
    utterances at the positions `tested` [m]."""

    features: Floats
    label: Ints
    asked: Floats
    tested: Ints


def second_cross_validation(features: Floats, label: Ints, seed: int, folds: int = 10) -> list[ForestFold]:
    """The second cross-validation over `features` [U, F] and `label` [U], stratified like the first (§VIII-A).

    There are `folds`, or as many as the rarest class has utterances; none where that is less than two.
    """
    folds = min(folds, int(np.unique(label, return_counts=True)[1].min()))
    if folds < 2:
        return []
    fold_of = stratified_folds(label, folds, seed)
    return [
        ForestFold(features[training], label[training], features[~training], np.flatnonzero(~training))
        for training in (fold_of != fold for fold in range(folds))
    ]


def forest_decisions(folds_of_seeds: Sequence[Sequence[ForestFold]], jobs: int = -1) -> Ints:
    """What random forests, those of `dsl.forests`, decide: int64 [seeds, U].

    Each seed has its own forests, one for each of its folds, which between them test each of U utterances once.
    """
    from joblib import Parallel, delayed  # where all decisions are in the store, nothing is decided

    try:
        from dsl.forests import forest_classes
    except ImportError:  # numba is there only to be faster
        forest_classes = _scikit_learns_classes
    asked = [(seed, fold) for seed, folds in enumerate(folds_of_seeds) for fold in folds]
    decided = Parallel(n_jobs=jobs, prefer="threads")(
        delayed(forest_classes)(fold.features, fold.label, fold.asked, seed) for seed, fold in asked
    )
    decisions = np.empty((len(folds_of_seeds), sum(len(fold.tested) for fold in folds_of_seeds[0])), dtype=np.int64)
    for (seed, fold), predicted in zip(asked, decided, strict=True):
        decisions[seed, fold.tested] = predicted
    return decisions


def _scikit_learns_classes(features: Floats, label: Ints, asked: Floats, seed: int) -> Ints:
    """What `dsl.forests.forest_classes` comes to, several times more slowly."""
    from sklearn.ensemble import RandomForestClassifier

    decided: Ints = RandomForestClassifier(random_state=seed).fit(features, label).predict(asked)
    return decided
