"""WA, UA and per-class recall of utterance decisions (§VIII-A)."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, f1_score, recall_score

from analysis.scoring.metrics import class_recall, macro_f1, unweighted_accuracy, weighted_accuracy

LABEL = [0, 0, 0, 0, 1, 1]
PREDICTED = [0, 0, 0, 1, 1, 0]

decisions = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


def test_weighted_accuracy_is_the_share_of_utterances_that_are_right() -> None:
    assert weighted_accuracy(LABEL, PREDICTED) == pytest.approx(4 / 6)


def test_unweighted_accuracy_is_the_mean_of_class_recalls() -> None:
    assert unweighted_accuracy(LABEL, PREDICTED) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_unweighted_accuracy_ignores_classes_that_are_only_predicted() -> None:
    assert unweighted_accuracy([0, 0], [0, 5]) == pytest.approx(1 / 2)


def test_class_recall_is_nan_for_a_class_without_utterances() -> None:
    np.testing.assert_allclose(class_recall(LABEL, PREDICTED, 3), [3 / 4, 1 / 2, np.nan])


@given(decisions)
def test_unweighted_accuracy_is_the_mean_recall_of_the_classes_present(pairs: list[tuple[int, int]]) -> None:
    label, predicted = np.array(pairs).T
    assert unweighted_accuracy(label, predicted) == pytest.approx(np.nanmean(class_recall(label, predicted, 4)))


@given(decisions)
def test_weighted_and_unweighted_accuracy_agree_on_balanced_classes(pairs: list[tuple[int, int]]) -> None:
    predicted = np.array([prediction for _, prediction in pairs] * 4)
    label = np.repeat(np.arange(4), len(pairs))
    assert weighted_accuracy(label, predicted) == pytest.approx(unweighted_accuracy(label, predicted))


@given(decisions, st.randoms(use_true_random=False))
def test_order_of_utterances_does_not_matter(pairs: list[tuple[int, int]], random: Random) -> None:
    shuffled = random.sample(pairs, len(pairs))
    for metric in (weighted_accuracy, unweighted_accuracy, macro_f1):
        assert metric(*np.array(pairs).T) == pytest.approx(metric(*np.array(shuffled).T))


@pytest.mark.parametrize(
    "metric",
    [weighted_accuracy, unweighted_accuracy, macro_f1, lambda label, predicted: class_recall(label, predicted, 2)],
)
@pytest.mark.parametrize(
    ("label", "predicted", "message"),
    [
        ([], [], "label: no utterances"),
        ([0, 1], [0], r"predicted: shape \(1,\), expected the shape of label, \(2,\)"),
        ([[0, 1]], [[0, 1]], r"label: shape \(1, 2\), expected one class per utterance"),
    ],
)
def test_arrays_that_are_no_decisions_are_refused(
    metric: Callable[..., object], label: ArrayLike, predicted: ArrayLike, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(label, predicted)


@pytest.mark.parametrize(("label", "predicted", "name"), [([0, 2], [0, 0], "label"), ([0, 1], [-1, 0], "predicted")])
def test_class_recall_refuses_classes_out_of_range(label: ArrayLike, predicted: ArrayLike, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: classes .*, expected 0 to 1"):
        class_recall(label, predicted, 2)


@given(decisions)
def test_rates_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    label, predicted = np.array(pairs).T
    recall = recall_score(label, predicted, labels=range(4), average=None, zero_division=np.nan)
    np.testing.assert_allclose(class_recall(label, predicted, 4), recall)
    assert weighted_accuracy(label, predicted) == pytest.approx(accuracy_score(label, predicted))
    present = recall_score(label, predicted, labels=np.unique(label), average="macro", zero_division=0)
    assert unweighted_accuracy(label, predicted) == pytest.approx(present)
    of_labels_and_decisions = f1_score(label, predicted, average="macro", zero_division=0)
    assert macro_f1(label, predicted) == pytest.approx(of_labels_and_decisions, abs=1e-12)
