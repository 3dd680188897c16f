"""How sure rates and their differences are: intervals, sign-flip tests, Holm's correction.

Pure functions on arrays of class indices, in the shapes of `metrics`. An utterance may be decided several
times, by forests and networks of several seeds: `predicted` is then [R, U], and a rate is the mean over the R rows.
`label` is [U], or [R, U] where labels are permuted anew for each training seed; UNDECIDED in a row's label and
decision stands for an utterance that the row says nothing of, as where folds are missing.

Intervals and tests tell the chance in which utterances, or speakers, were recorded. Networks are taken as they are:
what another training would give is seen in the spread over seeds, and in t intervals that are corrected for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
LEVEL = 0.95
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2  # shares at which an interval begins and ends
UNDECIDED = -1
_ALIKE = 1e-12  # the most that rates without one cluster or another differ by where only rounding tells them apart


class Estimate(NamedTuple):
    """A rate, or a difference of two, as a fraction, and its interval; NaN where nothing can be resampled."""

    value: float
    low: float
    high: float


class Rates(NamedTuple):
    """WA, UA and macro-F1."""

    wa: Estimate
    ua: Estimate
    f1: Estimate


def rate_intervals(
    label: ArrayLike, predicted: ArrayLike, cluster: ArrayLike | None = None, resamples: int = RESAMPLES
) -> Rates:
    """WA and UA (§VIII-A) and macro-F1 with percentile bootstrap intervals, of resamples that are always the same.

    Utterances are drawn with replacement or, with `cluster` [U] (their speakers), whole clusters: then what the
    utterances of a speaker have in common does not pass for independent evidence. UA is the mean over the classes that
    a resample holds, F1 over those that it holds or that are decided in it. Raises ValueError for shapes that do not
    fit and where nothing is decided.
    """
    return _bootstrapped(_rates_of(label, predicted), cluster, resamples)


def difference_intervals(
    label: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    cluster: ArrayLike | None = None,
    resamples: int = RESAMPLES,
) -> Rates:
    """WA, UA and macro-F1 of `first` minus those of `second`, with paired bootstrap intervals.

    Both decide the same utterances, and each resample is scored for both. Shapes and errors as in `rate_intervals`.
    """
    return _bootstrapped(_rates_of(label, first, second), cluster, resamples)


def rate_t_intervals(
    label: ArrayLike, predicted: ArrayLike, cluster: ArrayLike, training_ratio: float | None = None
) -> Rates:
    """WA, UA and macro-F1 with Student-t intervals from the delete-one-cluster jackknife, between 0 and 1.

    The variance is (n - 1) / n times the sum of the squared changes of the rate as each of the n clusters [U]
    (speakers) is left out, and t has n - 1 degrees of freedom (MacKinnon, Nielsen and Webb, "Fast and reliable
    jackknife and bootstrap methods for cluster-robust inference", Journal of Applied Econometrics 2023).

    With `training_ratio`, how many utterances a fold's network may learn from for each one that all folds test, the
    variance is multiplied by 1 + 1 / ratio. This is the correction for the training data that folds share of Nadeau and
    Bengio, "Inference for the Generalization Error", Machine Learning 2003: with k folds that test n_test each,
    1 + k n_test / n_train. It is right for one fold, too, whose network depends on its training data.

    NaN for one cluster, and where the rate is the same whichever cluster is left out: a variance of zero says nothing
    of clusters that were not seen. Shapes and errors as in `rate_intervals`; ValueError for a ratio not above 0.
    """
    return _jackknifed(_rates_of(label, predicted), cluster, training_ratio, (0.0, 1.0))


def difference_t_intervals(
    label: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    cluster: ArrayLike,
    training_ratio: float | None = None,
) -> Rates:
    """The same of WA, UA and macro-F1 of `first` minus those of `second`, which decide the same utterances: both are
    without the cluster that is left out."""
    return _jackknifed(_rates_of(label, first, second), cluster, training_ratio, (-1.0, 1.0))


def gains(label: ArrayLike, first: ArrayLike, second: ArrayLike) -> NDArray[np.int64]:
    """By how many of its decisions the first network has an utterance right more often than the second, [U].

    Decisions are [R, U] of either, or [U], and `label` is as they are, or [U]. Raises ValueError for shapes that do not
    fit.
    """
    first, second = np.atleast_2d(np.asarray(first)), np.atleast_2d(np.asarray(second))
    labels = np.atleast_2d(np.asarray(label))
    if first.shape != second.shape or labels.shape not in (first.shape, (1, first.shape[1])):
        raise ValueError(
            f"decisions: shapes {first.shape} and {second.shape}, expected [R, U] as labels {labels.shape}"
        )
    gained: NDArray[np.int64] = ((first == labels).astype(np.int64) - (second == labels)).sum(axis=0)
    return gained


def sign_flips(gained: ArrayLike, cluster: ArrayLike | None = None) -> float:
    """Two-sided p of the exact sign-flip (paired permutation) test of what two networks gain on one another.

    `gained` [U] is as of `gains`. Under the null hypothesis either network is as likely as the other to have the more
    right of an utterance or, with `cluster` [U] (its speaker), of a whole cluster, by as much as is observed. p is the
    share of all assignments of signs under which the sum is as far from zero as it is. With n utterances or clusters
    that differ it is 2 / 2^n at least. With one decision on each utterance it is McNemar's exact test. Raises
    ValueError for shapes that do not fit.
    """
    difference = np.asarray(gained)
    if difference.ndim != 1 or (cluster is not None and np.shape(cluster) != difference.shape):
        raise ValueError(f"gained: shape {difference.shape}, expected [U], as of the clusters")
    if cluster is not None:
        _, member = np.unique(cluster, return_inverse=True)
        difference = np.bincount(member, difference).astype(np.int64)
    chance = np.ones(1)  # of each sum from the least to the largest, in steps of 2
    for step in np.abs(difference[difference != 0]):
        chance = (np.pad(chance, (0, step)) + np.pad(chance, (step, 0))) / 2
    sums = 2 * np.arange(len(chance)) - (len(chance) - 1)
    return min(1.0, float(chance[np.abs(sums) >= abs(difference.sum())].sum()))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p values of one family of tests, adjusted by Holm's step-down method; NaN is no test and stays NaN."""
    from statsmodels.stats.multitest import multipletests

    adjusted = np.array(p, dtype=np.float64)
    tested = ~np.isnan(adjusted)
    if tested.any():
        adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
    return adjusted


@dataclass(frozen=True)
class _Tally:
    """What utterances add to the counts that rates are made of.

    Rows with the same labels are one group: `columns` [U, G * K * 2] holds for each group and class how many utterances
    there are (0 or 1) and the share of rows that have it right. `weight` [G] is the share of rows in each group.
    """

    columns: NDArray[np.float64]
    weight: NDArray[np.float64]

    def rates(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """WA and UA [B, 2] from sums of `columns` [B, G * K * 2]."""
        there, right = np.moveaxis(sums.reshape(len(sums), len(self.weight), -1, 2), -1, 0)
        with np.errstate(invalid="ignore"):  # a resample may lack a class, or a group
            wa = right.sum(axis=2) / there.sum(axis=2)
            recall = right / there
        occurs = there > 0
        ua = np.where(occurs, recall, 0).sum(axis=2) / np.maximum(occurs.sum(axis=2), 1)
        return np.stack([wa @ self.weight, ua @ self.weight], axis=1)


@dataclass(frozen=True)
class _F1Tally:
    """What utterances add to the counts that macro-F1 is made of: for each row and class, how many utterances are of
    it or decided to be, and how many of these rightly, side by side in `columns` [U, R * K * 2]."""

    columns: NDArray[np.float64]
    rows: int

    @classmethod
    def of(cls, label: ArrayLike, predicted: ArrayLike) -> "_F1Tally":
        label, predicted = _of_one_shape(label, predicted)
        label = np.broadcast_to(label, predicted.shape)
        classes = np.arange(max(label.max(), predicted.max()) + 1)
        there, said = label[..., None] == classes, predicted[..., None] == classes
        both = np.stack([there.astype(np.float64) + said, there & said], axis=-1)
        return cls(np.moveaxis(both, 0, 1).reshape(predicted.shape[1], -1), len(predicted))

    def rates(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Macro-F1 [B, 1], the mean over the rows, from sums of `columns` [B, R * K * 2]."""
        counted, right = np.moveaxis(sums.reshape(len(sums), self.rows, -1, 2), -1, 0)
        of_class = 2 * right / np.maximum(counted, 1)
        occurring = np.maximum((counted > 0).sum(axis=2), 1)
        of_row: NDArray[np.float64] = of_class.sum(axis=2) / occurring
        mean: NDArray[np.float64] = of_row.mean(axis=1, keepdims=True)
        return mean


def _of_one_shape(label: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels [U] or [R, U] and decisions [R, U]. Raises ValueError for other shapes."""
    predicted = np.atleast_2d(np.asarray(predicted))
    label = np.asarray(label)
    if label.shape not in (predicted.shape, predicted.shape[1:]):
        raise ValueError(
            f"label: shape {label.shape}, expected {predicted.shape[1:]} or {predicted.shape} of predicted"
        )
    return label, predicted


def _tally(label: ArrayLike, predicted: ArrayLike) -> _Tally:
    label, predicted = _of_one_shape(label, predicted)
    rows = [tuple(row) for row in np.atleast_2d(label).tolist()]
    distinct = sorted(set(rows))
    labels = np.array(distinct)
    group = np.broadcast_to([distinct.index(row) for row in rows], len(predicted))
    if not (labels != UNDECIDED).any(axis=1).all():
        raise ValueError("label: a row without an utterance that is decided, expected at least one")
    right = np.array([(predicted[group == g] == row).mean(axis=0) for g, row in enumerate(labels)])
    of_class = labels[:, :, None] == np.arange(labels.max() + 1)
    both = np.stack([of_class, of_class * right[:, :, None]], axis=-1)
    columns = np.moveaxis(both, 0, 1).reshape(predicted.shape[1], -1)
    return _Tally(columns, np.bincount(group) / len(group))


class _Rated(NamedTuple):
    """The rates of the one of `tallies`, or those of the first minus the second's, which are of the same utterances."""

    tallies: Sequence["_Tally | _F1Tally"]

    @property
    def columns(self) -> NDArray[np.float64]:
        """Those of all tallies, side by side."""
        return np.concatenate([tally.columns for tally in self.tallies], axis=1)

    def rates(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """From sums of `columns` [B, ...]: [B, rates]."""
        ends = np.cumsum([tally.columns.shape[1] for tally in self.tallies])
        parts = zip(self.tallies, np.split(sums, ends[:-1], axis=1), strict=True)
        return reduce(np.subtract, [tally.rates(part) for tally, part in parts])


def _rates_of(label: ArrayLike, *predicted: ArrayLike) -> list[_Rated]:
    """WA with UA, and macro-F1; of two arrays of decisions the first's minus the second's."""
    return [_Rated([of(label, one) for one in predicted]) for of in (_tally, _F1Tally.of)]


def _bootstrapped(wanted: Sequence[_Rated], cluster: ArrayLike | None, resamples: int) -> Rates:
    """With percentile bootstrap intervals."""
    found: list[Estimate] = []
    for rated in wanted:
        value = rated.rates(rated.columns.sum(axis=0, keepdims=True))[0]
        units, copies = _units(rated.columns, cluster)
        bounds = np.full((2, len(value)), np.nan)
        if copies.sum() > 1:
            drawn = _draw(tuple(copies.tolist()), resamples)
            bounds = np.nanquantile(rated.rates(drawn @ units), TAILS, axis=0)
        found += [Estimate(*map(float, each)) for each in zip(value, *bounds, strict=True)]
    return Rates(*found)


def _jackknifed(
    wanted: Sequence[_Rated], cluster: ArrayLike, training_ratio: float | None, limits: tuple[float, float]
) -> Rates:
    """With t intervals from the jackknife over clusters, within `limits`."""
    from scipy.stats import t

    if training_ratio is not None and not 0 < training_ratio < np.inf:
        raise ValueError(f"training_ratio: {training_ratio}, expected a number above 0")
    factor = 1.0 if training_ratio is None else 1 + 1 / training_ratio
    found: list[Estimate] = []
    for rated in wanted:
        units, copies = _units(rated.columns, cluster)
        count = len(copies)
        total = units.sum(axis=0, keepdims=True)
        value = rated.rates(total)[0]
        changes = rated.rates(total - units) - value
        variance = factor * (count - 1) / count * (changes**2).sum(axis=0)
        variance[np.abs(changes).max(axis=0) < _ALIKE] = np.nan
        reach = t.ppf(TAILS[1], count - 1) * np.sqrt(variance)  # NaN for one cluster: t has no 0 degrees
        bounds = np.clip([value - reach, value + reach], *limits)
        found += [Estimate(*map(float, each)) for each in zip(value, *bounds, strict=True)]
    return Rates(*found)


@lru_cache(maxsize=8)  # the speakers of a corpus are the same in all its cells
def _draw(copies: tuple[int, ...], resamples: int) -> NDArray[np.float64]:
    """How often each unit is in each resample, [resamples, units]."""
    total = sum(copies)
    drawn = np.random.default_rng(0).multinomial(total, np.array(copies) / total, size=resamples)
    return drawn.astype(np.float64)


def _units(columns: NDArray[np.float64], cluster: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What is drawn, one line each, and how many there are of each.

    Utterances whose lines are equal are interchangeable: how often each kind is drawn is multinomial, and there are
    few kinds. Clusters are drawn one by one.
    """
    if cluster is None:
        return _distinct(columns)
    members, position = np.unique(np.asarray(cluster), return_inverse=True)
    sums = np.zeros((len(members), columns.shape[1]))
    np.add.at(sums, position, columns)
    return sums, np.ones(len(members), dtype=np.int64)


def _distinct(lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The distinct of many short lines, in order, and how many there are of each: faster than np.unique along an axis,
    which compares whole lines."""
    number = np.zeros(len(lines), dtype=np.int64)
    for column in lines.T:
        values, place = np.unique(column, return_inverse=True)
        _, number = np.unique(number * len(values) + place, return_inverse=True)
    _, first, copies = np.unique(number, return_index=True, return_counts=True)
    return lines[first], copies
