"""Forests decide as scikit-learn's do, on every utterance."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from dsl.forests import forest_classes

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


def noise(rng: np.random.Generator) -> Data:
    """Features [n, F] and labels that have nothing to do with them, and as many to be asked: trees of many nodes."""
    samples, features, classes = rng.integers(12, 160), rng.integers(1, 40), rng.integers(2, 9)
    values = rng.random((2 * samples, features))
    return values[:samples], rng.integers(0, classes, samples), values[samples:]


def with_ties(rng: np.random.Generator) -> Data:
    features, label, asked = noise(rng)
    return np.round(features, 1), label, np.round(asked, 1)


def with_constant_features(rng: np.random.Generator) -> Data:
    features, label, asked = noise(rng)
    features[:, rng.random(features.shape[1]) < 0.5] = 0.5
    return features, label, asked


def constant_in_a_part(rng: np.random.Generator) -> Data:
    """Features that tell something of one class only: they are found to be constant in nodes below."""
    features, label, asked = noise(rng)
    return np.where((label == 0)[:, None], features, np.round(features)), label, asked


def with_values_that_hardly_differ(rng: np.random.Generator) -> Data:
    features, label, asked = with_ties(rng)
    return features + 1e-7 * rng.integers(0, 3, features.shape), label, asked


def with_utterances_twice(rng: np.random.Generator) -> Data:
    """The same features under several labels: leaves that are not pure."""
    features, label, asked = noise(rng)
    return np.vstack([features, features]), np.append(label, np.roll(label, 1)), asked


def with_a_rare_class(rng: np.random.Generator) -> Data:
    """One utterance, which most trees do not draw; and names of classes that leave some out."""
    features, label, asked = noise(rng)
    label[label == label[0]] = label[1]
    label[0] = 9
    return features, 2 * label, asked


KINDS = (
    *(noise, with_ties, with_constant_features, constant_in_a_part),
    *(with_values_that_hardly_differ, with_utterances_twice, with_a_rare_class),
)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_every_decision_is_scikit_learns(make: Callable[[np.random.Generator], Data], seed: int) -> None:
    features, label, asked = make(np.random.default_rng(seed))
    expected = RandomForestClassifier(random_state=seed).fit(features, label).predict(asked)
    np.testing.assert_array_equal(forest_classes(features, label, asked, seed), expected)


def test_one_class_is_decided_for_without_a_split() -> None:
    assert forest_classes(np.random.default_rng(0).random((5, 3)), np.full(5, 4), np.zeros((2, 3)), 0).tolist() == [
        4,
        4,
    ]
