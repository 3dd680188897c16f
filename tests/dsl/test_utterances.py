"""From segment predictions to the utterance's decision (§IV-C): features, mean pooling, random forest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.neighbors import KNeighborsClassifier

from dsl import forests
from dsl.splits import stratified_folds
from dsl.utterances import forest_decisions, mean_pooled, second_cross_validation, utterance_features
from tests.dsl.dsl_toys import light

FEATURES = ("mean", "1%", "99%", "quartile 1", "median", "quartile 3", "> 0.2", "> 0.3")


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """q [N, K] of 1 to 5 utterances with 1 to 40 segments each, in any order."""
    counts = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    utterance = np.random.default_rng(draw(st.integers(0, 99))).permutation(np.repeat(np.arange(len(counts)), counts))
    classes = draw(st.integers(1, 3))
    q = draw(hnp.arrays(np.float32, (len(utterance), classes), elements=st.floats(0, 1, width=32)))
    return q, utterance


def plain_features(q: np.ndarray, utterance: np.ndarray) -> np.ndarray:
    """Eq. 14-18 as they are written, an utterance at a time."""
    rows = []
    for number in range(utterance.max() + 1):
        p = q[utterance == number].astype(np.float64)
        ranks = [np.percentile(p, percent, axis=0) for percent in (1, 99, 25, 50, 75)]
        rows.append(np.concatenate([p.mean(axis=0), *ranks, (p > 0.2).mean(axis=0), (p > 0.3).mean(axis=0)]))
    return np.array(rows)


@light
@given(predictions())
def test_features_are_those_of_a_plain_loop_over_utterances(case: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(utterance_features(*case), plain_features(*case), rtol=1e-12, atol=1e-12)


@light
@given(predictions())
def test_there_are_eight_features_a_class(case: tuple[np.ndarray, np.ndarray]) -> None:
    q, utterance = case
    assert utterance_features(q, utterance).shape == (utterance.max() + 1, 8 * q.shape[1])


def test_features_come_statistic_by_statistic_with_the_classes_within() -> None:
    p = np.linspace(0, 1, 101)  # whose percentiles are the percents
    features = utterance_features(np.column_stack([p, 1 - p / 2]), np.zeros(101, dtype=int)).reshape(8, 2)
    first = dict(zip(FEATURES, features[:, 0], strict=True))
    second = dict(zip(FEATURES, features[:, 1], strict=True))
    assert first == pytest.approx(
        {"mean": 0.5, "1%": 0.01, "99%": 0.99, "quartile 1": 0.25, "median": 0.5, "quartile 3": 0.75}
        | {"> 0.2": 80 / 101, "> 0.3": 70 / 101}
    )
    assert second == pytest.approx(
        {"mean": 0.75, "1%": 0.505, "99%": 0.995, "quartile 1": 0.625, "median": 0.75, "quartile 3": 0.875}
        | {"> 0.2": 1, "> 0.3": 1}
    )


def test_a_probability_at_a_threshold_is_not_above_it() -> None:
    features = utterance_features(np.array([[0.2], [0.3]]), np.zeros(2, dtype=int))
    assert features[0, 6:].tolist() == [0.5, 0]


def test_all_ranks_of_a_single_segment_are_its_prediction() -> None:
    features = utterance_features(np.array([[0.25, 0.75]]), np.array([0]))
    np.testing.assert_array_equal(features.reshape(8, 2)[:6], [[0.25, 0.75]] * 6)


def test_an_utterance_without_segments_is_an_error() -> None:
    with pytest.raises(ValueError, match="utterance 1 has no segments"):
        utterance_features(np.full((2, 2), 0.5), np.array([0, 2]))


def test_mean_pooling_decides_for_the_highest_mean_probability() -> None:
    q = np.array([[0.7, 0.3], [0.7, 0.3], [0.0, 1.0], [0.9, 0.1]])  # the first two outvote the third, in vain
    features = utterance_features(q, np.array([0, 0, 0, 1]))
    assert mean_pooled(features, 2).tolist() == [1, 0]


LABEL = np.random.default_rng(1).permutation(np.arange(60) % 2)
NOISE = np.random.default_rng(2).random((60, 8))


def decided(features: np.ndarray, seeds: int, folds: int) -> np.ndarray:
    """Forests' decisions, of several seeds, on the utterances of LABEL."""
    of_seeds = [second_cross_validation(features, LABEL, seed, folds) for seed in range(seeds)]
    return forest_decisions(of_seeds, jobs=1)


@pytest.fixture(scope="module")
def decided_on_noise() -> np.ndarray:
    """Two seeds' decisions where features say nothing about labels."""
    return decided(NOISE, seeds=2, folds=3)


def test_forests_decide_for_every_utterance_once_a_seed(decided_on_noise: np.ndarray) -> None:
    assert decided_on_noise.shape == (2, 60)
    assert decided_on_noise.dtype == np.int64
    assert set(np.unique(decided_on_noise)) == {0, 1}


def test_forests_do_not_recover_labels_that_could_only_be_memorised(decided_on_noise: np.ndarray) -> None:
    assert 0.25 < (decided_on_noise == LABEL).mean() < 0.75


def test_each_seed_has_its_own_forests() -> None:
    same = second_cross_validation(NOISE, LABEL, seed=0, folds=2)
    first, second = forest_decisions([same, same], jobs=1)
    assert (first != second).any()


def test_each_seed_has_its_own_split(monkeypatch: pytest.MonkeyPatch) -> None:
    def nearest(features: np.ndarray, label: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
        found: np.ndarray = KNeighborsClassifier(1).fit(features, label).predict(asked)
        return found

    monkeypatch.setattr(forests, "forest_classes", nearest)
    first, second = decided(NOISE, seeds=2, folds=3)
    assert (first != second).any()


def test_forests_decide_the_same_again(decided_on_noise: np.ndarray) -> None:
    np.testing.assert_array_equal(decided(NOISE, seeds=1, folds=3), decided_on_noise[:1])


def test_forests_learn_what_features_say() -> None:
    np.testing.assert_array_equal(decided(LABEL[:, None] + 0.1 * NOISE, seeds=1, folds=2), [LABEL])


def test_no_forest_decides_for_an_utterance_it_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen_before(features: np.ndarray, label: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
        seen = {row.tobytes() for row in features}
        return np.array([row.tobytes() in seen for row in asked], dtype=int)

    monkeypatch.setattr(forests, "forest_classes", seen_before)
    assert not decided(NOISE, seeds=2, folds=5).any()


# The paper's second cross-validation


def test_its_folds_are_stratified_and_each_seeds_own() -> None:
    for seed in range(3):
        fold_of = stratified_folds(LABEL, 10, seed)
        found = second_cross_validation(NOISE, LABEL, seed)
        assert len(found) == 10
        for fold, one in enumerate(found):
            np.testing.assert_array_equal(one.features, NOISE[fold_of != fold])
            np.testing.assert_array_equal(one.label, LABEL[fold_of != fold])
            np.testing.assert_array_equal(one.asked, NOISE[fold_of == fold])
            np.testing.assert_array_equal(one.tested, np.flatnonzero(fold_of == fold))


@pytest.mark.parametrize(("rarest", "folds"), [(1, 0), (2, 2), (7, 7), (25, 10)])
def test_it_has_as_many_folds_as_the_rarest_class_allows(rarest: int, folds: int) -> None:
    label = (np.arange(60) < rarest).astype(int)
    assert len(second_cross_validation(NOISE, label, seed=0)) == folds
