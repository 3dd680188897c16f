"""Intervals and tests of recognition rates, against scipy, by hand, and by laws that hold for any decisions."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.scoring.formats import p_text
from analysis.scoring.metrics import macro_f1, unweighted_accuracy, weighted_accuracy
from analysis.scoring.statistics import (
    UNDECIDED,
    Estimate,
    Rates,
    difference_intervals,
    gains,
    holm,
    rate_intervals,
    sign_flips,
)

CLASSES = 3
SPEAKERS = 8


def decisions(utterances: int = 120, rows: int = 3, right: float = 0.6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels [U] of unbalanced classes, and decisions [R, U] of which about the share `right` is."""
    rng = np.random.default_rng(seed)
    label = rng.choice(CLASSES, utterances, p=[0.6, 0.3, 0.1])
    label[:CLASSES] = range(CLASSES)
    guess = rng.integers(0, CLASSES, (rows, utterances))
    return label, np.where(rng.random((rows, utterances)) < right, label, guess)


def bounds(rates: Rates) -> np.ndarray:
    return np.array([[rate.low, rate.high] for rate in rates])


def mean_rates(label: np.ndarray, predicted: np.ndarray) -> list[float]:
    """WA, UA and macro-F1, each the mean over rows."""
    rates = (weighted_accuracy, unweighted_accuracy, macro_f1)
    return [float(np.mean([rate(label, row) for row in predicted])) for rate in rates]


def f1_along(label: np.ndarray, predicted: np.ndarray, axis: int) -> np.ndarray:
    """Macro-F1 along an axis, where every class occurs."""
    of_class = [
        2
        * ((label == one) & (predicted == one)).sum(axis=axis)
        / ((label == one).sum(axis) + (predicted == one).sum(axis))
        for one in range(CLASSES)
    ]
    found: np.ndarray = np.mean(of_class, axis=0)
    return found


seeds = st.integers(0, 1_000)


# Intervals of rates


@given(seeds, st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_the_value_is_the_mean_of_the_metric_over_rows(seed: int, rows: int) -> None:
    label, predicted = decisions(30, rows, seed=seed)
    rates = rate_intervals(label, predicted, resamples=10)
    assert [rate.value for rate in rates] == pytest.approx(mean_rates(label, predicted), abs=1e-12)


@pytest.mark.parametrize("metric", ["wa", "ua", "f1"])
def test_intervals_are_scipys(metric: str) -> None:
    label, predicted = decisions()

    def rate(drawn: np.ndarray, axis: int) -> np.ndarray:
        right = (predicted == label).mean(axis=0)[drawn]
        found: np.ndarray
        if metric == "wa":
            found = right.mean(axis=axis)
            return found
        if metric == "f1":
            rows = [(label[drawn], row[drawn]) for row in predicted]
            found = np.mean([f1_along(*row, axis) for row in rows], axis=0)
            return found
        classes = [label[drawn] == one for one in range(CLASSES)]
        found = np.mean([(right * one).sum(axis=axis) / one.sum(axis=axis) for one in classes], axis=0)
        return found

    index = (np.arange(len(label)),)
    theirs = stats.bootstrap(index, rate, vectorized=True, method="percentile", rng=0)
    ours = getattr(rate_intervals(label, predicted), metric)
    assert ours[1:] == pytest.approx(tuple(theirs.confidence_interval), abs=0.005)


def test_intervals_by_speaker_are_scipys_over_speakers() -> None:
    label, predicted = decisions(rows=1)
    speaker = np.arange(len(label)) % SPEAKERS
    predicted[0, speaker < 3] = label[speaker < 3]
    right = [(predicted[0] == label)[speaker == one] for one in range(SPEAKERS)]  # as many utterances each

    def rate(drawn: np.ndarray) -> float:
        found: float = np.concatenate([right[one] for one in drawn]).mean()
        return found

    theirs = stats.bootstrap(
        (np.arange(SPEAKERS),), rate, n_resamples=5_000, vectorized=False, method="percentile", rng=0
    )
    ours = rate_intervals(label, predicted, cluster=speaker).wa
    assert ours[1:] == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    assert ours.high - ours.low > 1.3 * np.ptp(rate_intervals(label, predicted).wa[1:])


def test_the_wa_of_one_row_is_binomial() -> None:
    label, predicted = decisions(400, rows=1)
    rates = rate_intervals(label, predicted)
    expected = stats.binom(400, rates.wa.value).ppf([0.025, 0.975]) / 400
    assert rates.wa[1:] == pytest.approx(tuple(expected), abs=0.003)


def test_the_same_decisions_have_the_same_interval() -> None:
    label, predicted = decisions()
    one, same = (bounds(rate_intervals(label, predicted)) for _ in range(2))
    np.testing.assert_array_equal(one, same)


def test_the_order_of_utterances_does_not_matter() -> None:
    label, predicted = decisions()
    order = np.random.default_rng(1).permutation(len(label))
    shuffled = rate_intervals(label[order], predicted[:, order])
    np.testing.assert_allclose(bounds(shuffled), bounds(rate_intervals(label, predicted)))


def test_decisions_that_are_all_right_leave_no_doubt() -> None:
    label, _ = decisions()
    assert rate_intervals(label, label) == Rates(*[Estimate(1, 1, 1)] * 3)


def test_one_utterance_and_one_speaker_have_no_interval() -> None:
    label, predicted = decisions()
    for rates in (rate_intervals([1], [[1]]), rate_intervals(label, predicted, cluster=np.zeros(len(label)))):
        assert np.isnan(bounds(rates)).all()
        assert not np.isnan(rates.wa.value)


# Several training seeds


def test_rows_with_labels_of_their_own_are_scored_by_those() -> None:
    label, predicted = decisions(rows=2)
    labels = np.array([label, label[::-1]])
    expected = np.mean([weighted_accuracy(*pair) for pair in zip(labels, predicted, strict=True)])
    assert rate_intervals(labels, predicted).wa.value == pytest.approx(expected)


def test_the_same_labels_in_every_row_are_as_good_as_one_row_of_them() -> None:
    label, predicted = decisions(rows=2)
    np.testing.assert_array_equal(
        bounds(rate_intervals([label, label], predicted)), bounds(rate_intervals(label, predicted))
    )


def test_an_utterance_that_a_row_does_not_decide_counts_in_the_others_alone() -> None:
    label = np.array([[0, 0, 1, 1], [0, UNDECIDED, 1, 1]])
    predicted = np.array([[0, 0, 1, 0], [0, UNDECIDED, 1, 0]])
    rates = rate_intervals(label, predicted)
    assert rates.wa.value == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert rates.ua.value == pytest.approx(3 / 4)
    assert rates.f1.value == pytest.approx(
        np.mean([macro_f1([0, 0, 1, 1], [0, 0, 1, 0]), macro_f1([0, 1, 1], [0, 1, 0])])
    )


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"label: shape \(2,\), expected \(3,\) or \(1, 3\)"):
        rate_intervals([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="a row without an utterance that is decided"):
        rate_intervals([[0], [UNDECIDED]], [[0], [UNDECIDED]])


# Differences


def test_a_difference_is_of_the_same_resamples() -> None:
    """Both sets of decisions differ in five utterances only, which unpaired intervals would drown."""
    label, first = decisions(400, rows=1)
    second = first.copy()
    wrong = np.flatnonzero(first[0] != label)[:5]
    second[0, wrong] = label[wrong]
    difference = difference_intervals(label, second, first).wa
    assert difference.value == pytest.approx(5 / 400)
    assert 0 < difference.low < difference.high < 0.03


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_difference_changes_its_sign_with_its_order(seed: int) -> None:
    label, first = decisions(40, seed=seed)
    _, second = decisions(40, right=0.8, seed=seed)
    there = difference_intervals(label, first, second)
    back = difference_intervals(label, second, first)
    assert [one.value for one in there] == pytest.approx([-one.value for one in back])
    np.testing.assert_allclose(bounds(there), -bounds(back)[:, ::-1], atol=0.04)


def test_the_interval_of_a_difference_is_scipys_paired_one() -> None:
    label, first = decisions(rows=1)
    _, second = decisions(rows=1, right=0.75, seed=0)
    right = [(each[0] == label).astype(float) for each in (first, second)]
    theirs = stats.bootstrap(
        right,
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=0,
    )
    assert difference_intervals(label, first, second).wa[1:] == pytest.approx(
        tuple(theirs.confidence_interval), abs=0.01
    )


# Tests of paired decisions


def test_gains_count_the_decisions_of_an_utterance_that_are_right() -> None:
    first, second = [[0, 1, 2], [0, 1, 1], [0, 0, 2]], [[0, 1, 1], [1, 1, 2], [1, 0, 2]]
    assert gains([0, 1, 2], first, second).tolist() == [2, 0, 0]
    assert gains([[0, 1, 2], [1, 1, 1], [0, 1, 2]], first, second).tolist() == [0, 0, 2]
    assert gains([0, 1, 2], first[0], second[0]).tolist() == [0, 0, 1]


def test_rows_that_say_nothing_of_an_utterance_gain_nothing() -> None:
    missing = [[UNDECIDED, 1], [0, 1]]
    assert gains(missing, missing, [[UNDECIDED, 0], [1, 1]]).tolist() == [1, 1]


def test_gains_refuse_decisions_on_other_utterances() -> None:
    with pytest.raises(ValueError, match=r"decisions: shapes \(1, 2\) and \(2, 2\)"):
        gains([0, 1], [0, 1], [[0, 1], [0, 1]])
    with pytest.raises(ValueError, match=r"labels \(1, 3\)"):
        gains([0, 1, 1], [0, 1], [0, 1])


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_one_decision_on_each_utterance_is_mcnemars_exact_test(seed: int) -> None:
    label, (first, second) = decisions(200, rows=2, seed=seed)
    only_first = int(((first == label) & (second != label)).sum())
    only_second = int(((first != label) & (second == label)).sum())
    theirs = stats.binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    assert sign_flips(gains(label, first, second)) == pytest.approx(theirs)


def test_decisions_that_are_equally_right_differ_in_nothing() -> None:
    assert sign_flips(gains([0, 0], [0, 1], [0, 2])) == 1


def test_with_two_seeds_a_difference_that_both_have_is_found() -> None:
    """The first decides as the baseline in one of two trainings, and better in the other."""
    label = np.zeros(30, dtype=int)
    baseline, better = np.ones(30, dtype=int), np.r_[np.zeros(12, dtype=int), np.ones(18, dtype=int)]
    p = sign_flips(gains(label, [baseline, better], [baseline, baseline]))
    assert p == pytest.approx(2 / 2**12)


def test_a_permutation_test_by_scipy_finds_the_same_p() -> None:
    label, first = decisions(60, rows=5, seed=3)
    _, second = decisions(60, rows=5, seed=4)
    gained = gains(label, first, second)
    theirs = stats.permutation_test(
        (gained, np.zeros_like(gained)),
        lambda one, other, axis: (one - other).sum(axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    assert sign_flips(gained) == pytest.approx(theirs.pvalue, abs=0.015)


# The test over speakers


def by_speaker(*gained: int, tied: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """What is gained by utterance, one in each, and the speakers, who come to the sums `gained`.

    Each speaker has `tied` utterances by which nothing is gained.
    """
    members = [[*[int(np.sign(gain))] * abs(gain), *[0] * tied] for gain in gained]
    speaker = np.repeat(np.arange(len(gained)), [len(own) for own in members])
    return np.concatenate(members).astype(int), speaker


def all_flips(gained: list[int]) -> float:
    """p from every assignment of signs, one by one."""
    sums = [abs(np.dot(signs, gained)) for signs in product((1, -1), repeat=len(gained))]
    return float(np.mean(np.array(sums) >= abs(sum(gained))))


@pytest.mark.parametrize(
    ("gained", "p"),
    [
        ([3], 1.0),  # either sign is as far from zero
        ([1, 1, 1, 1], 2 / 2**4),
        ([5, 1, 2, 7, 3, 4], 2 / 2**6),
        ([-5, -1, -2, -7], 2 / 2**4),
        ([1, 1, 1, -1], 1 / 2 + 2 / 2**4),  # sums of 2 and 4: 4 + 4 and 1 + 1 of 16
        ([2, 1, -1], 6 / 8),  # sums: 4, 2, 2, 0 and their opposites
        ([3, -3], 1.0),
        ([0, 0], 1.0),
        ([0, 4, 2, 0], 2 / 2**2),  # who differs in nothing has no say
    ],
)
def test_small_cases_of_sign_flips_are_computed_by_hand(gained: list[int], p: float) -> None:
    assert sign_flips(*by_speaker(*gained)) == pytest.approx(p)


sums = st.lists(st.integers(-6, 6), min_size=1, max_size=9)


@given(sums)
@settings(max_examples=60, deadline=None)
def test_sign_flips_are_every_flip_one_by_one(gained: list[int]) -> None:
    assert sign_flips(*by_speaker(*gained)) == pytest.approx(all_flips(gained))


@given(sums, seeds)
@settings(max_examples=30, deadline=None)
def test_sign_flips_do_not_care_who_is_first_or_which_speaker_is_which(gained: list[int], seed: int) -> None:
    own, speaker = by_speaker(*gained)
    p = sign_flips(own, speaker)
    assert sign_flips(-own, speaker) == p
    order = np.random.default_rng(seed).permutation(len(own))
    names = np.random.default_rng(seed).permutation(len(gained)).astype(str)
    assert sign_flips(own[order], names[speaker[order]]) == pytest.approx(p)
    assert 0 < p <= 1


@given(sums)
@settings(max_examples=20, deadline=None)
def test_utterances_that_are_clusters_of_their_own_are_as_without_clusters(gained: list[int]) -> None:
    assert sign_flips(gained, np.arange(len(gained))) == sign_flips(gained) == pytest.approx(all_flips(gained))


def test_sign_flips_under_the_null_hypothesis_are_rarely_small() -> None:
    rng = np.random.default_rng(0)
    p = [sign_flips(*by_speaker(*(rng.choice([-1, 1], 10) * rng.integers(0, 9, 10)))) for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) < 0.08
    assert 0.3 < np.median(p) < 0.7


def test_many_speakers_are_no_more_work_and_p_stays_a_probability() -> None:
    assert sign_flips(*by_speaker(*[1] * 60)) == pytest.approx(2 / 2**60)
    assert sign_flips(*by_speaker(*[30, -30] * 100)) == 1


def test_sign_flips_refuse_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"gained: shape \(2,\), expected \[U\]"):
        sign_flips([0, 1], ["s1"])
    with pytest.raises(ValueError, match=r"gained: shape \(1, 2\), expected \[U\]"):
        sign_flips([[0, 1]])


def test_holm_is_computed_by_hand() -> None:
    adjusted = holm([0.01, 0.04, np.nan, 0.03])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06])
    assert np.isnan(holm([np.nan])).all()
    assert len(holm([])) == 0


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0496, "p 0.0496"), (0.0504, "p 0.05"), (0.04996, "p 0.04996"), (0.05, "p 0.05"), (0.4, "p 0.40")],
)
def test_p_tells_which_side_of_the_level_it_is_on(p: float, text: str) -> None:
    assert p_text(p) == text
