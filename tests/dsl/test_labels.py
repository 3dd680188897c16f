"""The update rules: targets are distributions, and each rule does what its equation or its source says."""

import inspect
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsl.labels import (
    ALIASES,
    BASELINE,
    LABELS,
    RULES,
    LabelUpdate,
    bdsl,
    cleanlab,
    confidence,
    consensus,
    ema,
    extrapolated,
    gsl,
    gsl_bdsl,
    hdl,
    labels_of,
    one_hot,
    sharpened,
    top_two,
    updated_targets,
    wdsl,
)
from tests.dsl.dsl_toys import distributions, light

every_rule = pytest.mark.parametrize("rule", RULES)
every_rule_but_cleanlab = pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "cleanlab"])
every_limit = pytest.mark.parametrize(
    ("rule", "alpha", "same"), [(rule, *limit) for rule in RULES for limit in RULES[rule].limits.items()]
)
alphas = st.floats(0.01, 1)
DROP_SEGMENTS = {"cleanlab", "consensus"}
ORDER_DECIDES = {"hdl", "consensus", "top_two"}  # where classes are equally likely
seeds = st.integers(0, 2**32 - 1)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:cleanlab", "ignore::UserWarning:sklearn")


class Case(NamedTuple):
    """What a rule is given of N segments and K classes: predictions, labels, targets before, utterances; and alpha."""

    q: np.ndarray
    y: np.ndarray
    g: np.ndarray
    utterance: np.ndarray
    alpha: float

    def targets(self, rule: str) -> np.ndarray:
        return updated_targets(LabelUpdate(rule, self.alpha), self.q, self.y, self.g, self.utterance)

    def rows(self, chosen: np.ndarray | list[int]) -> "Case":
        return Case(self.q[chosen], self.y[chosen], self.g[chosen], self.utterance[chosen], self.alpha)

    def without_ties(self) -> "Case":
        """The segments that have one most likely class."""
        second, best = np.sort(self.q, axis=1)[:, -2:].T
        return self.rows(best > second)

    def without_any_ties(self) -> "Case":
        """The segments whose classes are all of other probabilities."""
        closest: np.ndarray = np.diff(np.sort(self.q, axis=1), axis=1).min(axis=1)
        return self.rows(closest > 0)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any distributions, zeros and ties among them, of segments whose utterances come in any order."""
    rows, classes = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    weights = draw(hnp.arrays(np.float32, (2, rows, classes), elements=st.floats(0, 1, width=32))).astype(np.float64)
    weights[weights.sum(axis=2) < 1e-6] = 1
    q, g = (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)
    label = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    utterance = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 4)))
    return Case(q, one_hot(label, classes), g, utterance, draw(alphas))


# Every rule


@every_rule
@light
@given(case=cases())
def test_targets_are_distributions_but_for_segments_that_are_dropped(rule: str, case: Case) -> None:
    targets = case.targets(rule)
    kept = targets.any(axis=1)
    assert targets.shape == case.q.shape
    assert (targets >= 0).all()
    assert kept.all() or rule in DROP_SEGMENTS
    np.testing.assert_allclose(targets[kept].sum(axis=1), 1, atol=1e-5)


@every_rule
@light
@given(case=cases())
def test_targets_are_float32_in_memory_of_their_own(rule: str, case: Case) -> None:
    targets = case.targets(rule)
    assert targets.dtype == np.float32
    assert not any(np.shares_memory(targets, each) for each in (case.q, case.y, case.g))


@every_rule
@light
@given(case=cases())
def test_an_update_leaves_what_it_is_given_as_it_was(rule: str, case: Case) -> None:
    before = [each.copy() for each in case[:4]]
    case.targets(rule)
    for each, copy in zip(case[:4], before, strict=True):
        np.testing.assert_array_equal(each, copy)


@every_rule_but_cleanlab  # which compares with means that are summed in order: ties may go either way
@light
@given(case=cases(), data=st.data())
def test_reordered_segments_have_reordered_targets(rule: str, case: Case, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(case.q))))
    np.testing.assert_allclose(case.rows(order).targets(rule), case.targets(rule)[order], atol=1e-6)


@every_rule_but_cleanlab  # which rounds counts, class by class
@light
@given(case=cases(), data=st.data())
def test_reordered_classes_have_reordered_targets(rule: str, case: Case, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(case.q.shape[1])))
    if rule in ORDER_DECIDES:
        case = case.without_any_ties()
    reordered = case._replace(q=case.q[:, order], y=case.y[:, order], g=case.g[:, order])
    np.testing.assert_allclose(reordered.targets(rule), case.targets(rule)[:, order], atol=1e-6)


@every_limit
@light
@given(case=cases())
def test_towards_a_limit_of_alpha_a_rule_comes_to_the_one_it_names(
    rule: str, alpha: float, same: str, case: Case
) -> None:
    case = case.without_ties()  # hdl takes the first of equals, no rule with an alpha does
    near = case._replace(alpha=max(alpha, 1e-9))
    np.testing.assert_allclose(near.targets(rule), case.targets(same), atol=1e-6)


@every_limit
@light
@given(case=cases())
def test_at_a_limit_of_alpha_a_mean_has_the_same_bits_as_the_rule_it_names(
    rule: str, alpha: float, same: str, case: Case
) -> None:
    if rule not in ("sharpened", "extrapolated"):  # the one is not defined at 0, and both normalise once more
        np.testing.assert_array_equal(case._replace(alpha=alpha).targets(rule), case.targets(same))


@every_limit
def test_a_limit_names_a_rule_that_needs_no_alpha(rule: str, alpha: float, same: str) -> None:
    assert RULES[rule].takes_alpha
    assert 0 <= alpha <= 1
    assert not RULES[same].takes_alpha


@every_rule
def test_a_rule_needs_what_its_function_takes(rule: str) -> None:
    assert RULES[rule].needs == tuple(inspect.signature(RULES[rule].update).parameters)


def test_the_rules_that_take_alpha() -> None:
    taking = [rule for rule in RULES if RULES[rule].takes_alpha]
    assert taking == ["wdsl", "ema", "sharpened", "gsl_bdsl", "extrapolated"]


def test_every_alias_stands_for_a_rule_and_none_is_a_rule_itself() -> None:
    assert set(ALIASES.values()) <= RULES.keys()
    assert not RULES.keys() & {*ALIASES, BASELINE}


@light
@given(cases())
def test_an_update_names_the_rule_that_makes_the_targets(case: Case) -> None:
    q, y, g, utterance, alpha = case
    expected = {
        "bdsl": bdsl(q),
        "wdsl": wdsl(q, y, alpha),
        "gsl": gsl(q, utterance),
        "hdl": hdl(q),
        "ema": ema(q, g, alpha),
        "sharpened": sharpened(q, alpha),
        "confidence": confidence(q, y),
        "gsl_bdsl": gsl_bdsl(q, utterance, alpha),
        "cleanlab": cleanlab(q, y),
        "consensus": consensus(q, y),
        "top_two": top_two(q),
        "extrapolated": extrapolated(q, y, alpha),
    }
    assert expected.keys() == RULES.keys()
    for rule, targets in expected.items():
        np.testing.assert_array_equal(case.targets(rule), targets.astype(np.float32))


def test_one_hot_has_a_row_a_label() -> None:
    encoded = one_hot(np.array([2, 0]), 3)
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [1, 0, 0]])
    assert encoded.dtype == np.float32


# The paper's


@light
@given(cases())
def test_bdsl_takes_the_predictions_as_they_are(case: Case) -> None:
    np.testing.assert_array_equal(bdsl(case.q), case.q)


@light
@given(cases())
def test_wdsl_with_alpha_1_is_the_inherited_label(case: Case) -> None:
    np.testing.assert_array_equal(wdsl(case.q, case.y, 1), case.y)


@light
@given(cases())
def test_wdsl_is_linear_in_alpha(case: Case) -> None:
    none, all_of_it = wdsl(case.q, case.y, 0), wdsl(case.q, case.y, 1)
    between = none + case.alpha * (all_of_it - none)
    np.testing.assert_allclose(wdsl(case.q, case.y, case.alpha), between, atol=1e-6)


def test_wdsl_weighs_the_inherited_label_by_alpha() -> None:
    g = wdsl(np.array([[0.5, 0.3, 0.2]]), np.array([[0.0, 0.0, 1.0]]), 0.2)
    np.testing.assert_allclose(g, [[0.4, 0.24, 0.36]])


@light
@given(cases())
def test_gsl_is_the_mean_prediction_of_the_utterance(case: Case) -> None:
    g = gsl(case.q, case.utterance)
    for segment, utterance in enumerate(case.utterance):
        np.testing.assert_allclose(g[segment], case.q[case.utterance == utterance].mean(axis=0), atol=1e-6)


@light
@given(cases())
def test_gsl_is_the_same_for_all_segments_of_an_utterance(case: Case) -> None:
    g = gsl(case.q, case.utterance)
    for utterance in np.unique(case.utterance):
        assert len(np.unique(g[case.utterance == utterance], axis=0)) == 1


@light
@given(cases())
def test_gsl_of_an_utterance_does_not_depend_on_the_others(case: Case) -> None:
    chosen = case.utterance == case.utterance[0]
    together, alone = gsl(case.q, case.utterance)[chosen], gsl(case.q[chosen], case.utterance[chosen])
    np.testing.assert_array_equal(together, alone)


@light
@given(cases())
def test_hdl_is_one_hot_at_the_most_likely_class(case: Case) -> None:
    g = hdl(case.q)
    assert set(np.unique(g)) <= {0, 1}
    np.testing.assert_array_equal(g.sum(axis=1), 1)
    np.testing.assert_array_equal((g * case.q).sum(axis=1), case.q.max(axis=1))


def test_hdl_takes_the_first_of_equally_likely_classes() -> None:
    np.testing.assert_array_equal(hdl(np.array([[0.2, 0.4, 0.4]])), [[0, 1, 0]])


@light
@given(cases())
def test_hdl_of_hard_labels_changes_nothing(case: Case) -> None:
    np.testing.assert_array_equal(hdl(hdl(case.q)), hdl(case.q))


# The others


def test_ema_weighs_the_targets_before_by_alpha() -> None:
    g = ema(np.array([[0.5, 0.3, 0.2]]), np.array([[0.1, 0.1, 0.8]]), 0.25)
    np.testing.assert_allclose(g, [[0.4, 0.25, 0.35]])


@light
@given(cases(), st.integers(1, 5))
def test_ema_over_iterations_is_the_weighted_sum_of_the_label_and_all_predictions(case: Case, iterations: int) -> None:
    """g_T = alpha^T y + (1 - alpha) sum_t alpha^(T-1-t) q_t."""
    rows, classes = case.q.shape
    q = [distributions(rows, classes, seed) for seed in range(iterations)]
    g = case.y
    for each in q:
        g = updated_targets(LabelUpdate("ema", case.alpha), each, case.y, g, case.utterance)
    weights = (1 - case.alpha) * case.alpha ** np.arange(iterations)[::-1]
    expected = case.alpha**iterations * case.y + np.tensordot(weights, q, axes=1)
    np.testing.assert_allclose(g, expected, atol=1e-6)


@light
@given(cases())
def test_ema_begins_as_wdsl(case: Case) -> None:
    first = case._replace(g=case.y)
    np.testing.assert_array_equal(first.targets("ema"), first.targets("wdsl"))


def test_sharpened_takes_the_power_of_one_over_alpha() -> None:
    g = sharpened(np.array([[0.5, 0.3, 0.2]]), 0.5)
    np.testing.assert_allclose(g, np.array([[0.25, 0.09, 0.04]]) / 0.38)


@light
@given(cases())
def test_sharpened_keeps_the_order_of_the_classes(case: Case) -> None:
    g = case.targets("sharpened")
    order = case.q.argsort(axis=1)
    assert (np.diff(np.take_along_axis(g, order, axis=1), axis=1) >= 0).all()


@light
@given(cases(), alphas)
def test_a_lower_temperature_makes_the_most_likely_class_no_less_likely(case: Case, other: float) -> None:
    low, high = sorted((case.alpha, other))
    assert (sharpened(case.q, low).max(axis=1) >= sharpened(case.q, high).max(axis=1) - 1e-6).all()


def test_sharpening_at_a_very_low_temperature_does_not_overflow() -> None:
    g = sharpened(np.array([[0.5, 0.3, 0.2]], dtype=np.float32), 1e-320)
    np.testing.assert_array_equal(g, [[1, 0, 0]])


def test_consensus_keeps_the_labels_that_the_prediction_agrees_with() -> None:
    q, y = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(consensus(q, y), [[1, 0, 0], [0, 0, 0]])


@light
@given(cases())
def test_consensus_drops_the_segments_whose_hard_label_is_another(case: Case) -> None:
    np.testing.assert_array_equal(consensus(case.q, case.y).any(axis=1), (hdl(case.q) == case.y).all(axis=1))


def test_top_two_shares_a_target_between_the_two_most_likely_classes() -> None:
    q = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.4, 0.3, 0.3]])
    np.testing.assert_array_equal(top_two(q), [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


@light
@given(cases())
def test_top_two_has_the_most_likely_class_and_another(case: Case) -> None:
    targets = top_two(case.q)
    assert ((targets == 0.5).sum(axis=1) == 2).all()
    assert (targets[hdl(case.q).astype(bool)] == 0.5).all()


def test_extrapolated_goes_away_from_the_label_and_never_below_zero() -> None:
    q, y = np.array([[0.5, 0.3, 0.2], [0.2, 0.8, 0.0]]), np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(extrapolated(q, y, 0.2), [[0.6, 0.36, 0.04], [0.04, 0.96, 0.0]])
    np.testing.assert_allclose(extrapolated(q, y, 0.5), [[0.75 / 1.2, 0.45 / 1.2, 0.0], [0.0, 1.0, 0.0]])


@light
@given(cases())
def test_extrapolated_is_wdsl_with_a_negative_alpha_where_that_is_a_distribution(case: Case) -> None:
    straight = wdsl(case.q.astype(np.float64), case.y, -case.alpha)
    inside = (straight >= 0).all(axis=1)
    np.testing.assert_allclose(extrapolated(case.q, case.y, case.alpha)[inside], straight[inside], atol=1e-6)


def test_confidence_weighs_the_prediction_by_its_highest_probability() -> None:
    q, y = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]]), np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(confidence(q, y), [[0.25, 0.15, 0.6], [0.0, 1.0, 0.0]])


@light
@given(cases())
def test_confidence_is_wdsl_with_an_alpha_for_each_segment(case: Case) -> None:
    for q, y, g in zip(case.q, case.y, confidence(case.q, case.y), strict=True):
        np.testing.assert_allclose(g, wdsl(q, y, 1 - q.max()), atol=1e-6)


def test_gsl_bdsl_weighs_the_mean_of_the_utterance_by_alpha() -> None:
    q = np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])  # the first two are of one utterance, with the mean 0.6, 0.4
    g = gsl_bdsl(q, np.array([7, 7, 3]), 0.25)
    np.testing.assert_allclose(g, [[0.75, 0.25], [0.45, 0.55], [0.1, 0.9]])


@light
@given(cases())
def test_gsl_bdsl_keeps_the_mean_of_an_utterance(case: Case) -> None:
    g = gsl_bdsl(case.q, case.utterance, case.alpha)
    np.testing.assert_allclose(gsl(g, case.utterance), gsl(case.q, case.utterance), atol=1e-6)


class Planted(NamedTuple):
    """Segments whose true class is predicted well: some labels are `wrong`, and class `absent` is nobody's."""

    q: np.ndarray
    y: np.ndarray
    wrong: np.ndarray
    absent: int


@st.composite
def planted(draw: st.DrawFn, spread: float) -> Planted:
    """Predictions 0.8 of which are right, `spread` random, and the rest the same for all classes."""
    rng = np.random.default_rng(draw(seeds))
    absent = draw(st.integers(0, 3))
    there = np.setdiff1d(np.arange(4), absent)
    truth = rng.permutation(np.repeat(there, 20))
    wrong = np.zeros(60, dtype=bool)
    wrong[rng.choice(np.flatnonzero(truth == there[0]), draw(st.integers(0, 4)), replace=False)] = True
    label = truth.copy()
    label[wrong] = there[1]
    q = 0.8 * one_hot(truth, 4) + spread * distributions(60, 4, draw(seeds)) + (0.2 - spread) / 4
    return Planted(q, one_hot(label, 4), wrong, absent)


@light
@given(planted(spread=0))
def test_cleanlab_drops_the_planted_wrong_labels(case: Planted) -> None:
    assert not cleanlab(case.q, case.y)[case.wrong].any()


@light
@given(planted(spread=0.2))
def test_cleanlab_keeps_the_label_of_the_others(case: Planted) -> None:
    kept = ~case.wrong
    np.testing.assert_array_equal(cleanlab(case.q, case.y)[kept], case.y[kept])


@light
@given(planted(spread=0.2), st.permutations(range(60)))
def test_cleanlab_drops_the_same_segments_in_any_order_where_none_are_alike(case: Planted, order: list[int]) -> None:
    np.testing.assert_array_equal(cleanlab(case.q[order], case.y[order]), cleanlab(case.q, case.y)[order])


@light
@given(planted(spread=0.2))
def test_probability_of_a_class_that_no_segment_has_does_not_matter_to_cleanlab(case: Planted) -> None:
    without = case.q.copy()
    without[:, case.absent] = 0
    np.testing.assert_array_equal(cleanlab(without, case.y), cleanlab(case.q, case.y))


def test_cleanlab_takes_a_prediction_of_nothing_but_a_class_that_no_segment_has() -> None:
    y = one_hot(np.repeat([0, 1], 10), 3)
    q = 0.9 * y + 0.05
    q[0] = [0, 0, 1]
    with np.errstate(all="raise"):
        g = cleanlab(q, y)
    np.testing.assert_array_equal(g[1:], y[1:])


# Labels


@st.composite
def labelled(draw: st.DrawFn) -> pd.DataFrame:
    label = draw(hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 4)))
    speaker = np.random.default_rng(draw(seeds)).integers(0, 4, len(label))
    return pd.DataFrame({"label": label, "speaker": speaker.astype(str)})


@light
@given(labelled(), seeds)
def test_given_labels_are_the_utterances_own(utterances: pd.DataFrame, seed: int) -> None:
    np.testing.assert_array_equal(labels_of(utterances, "given", seed), utterances["label"])


@light
@given(labelled(), seeds)
def test_permuted_labels_are_as_many_of_each_class(utterances: pd.DataFrame, seed: int) -> None:
    np.testing.assert_array_equal(sorted(labels_of(utterances, "permuted", seed)), sorted(utterances["label"]))


@light
@given(labelled(), seeds)
def test_the_same_seed_permutes_labels_the_same_way(utterances: pd.DataFrame, seed: int) -> None:
    first, second = (labels_of(utterances, "permuted", seed) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@light
@given(labelled(), seeds, st.sampled_from(LABELS))
def test_the_utterances_keep_their_labels(utterances: pd.DataFrame, seed: int, labels: str) -> None:
    before = utterances.copy()
    labels_of(utterances, labels, seed)
    pd.testing.assert_frame_equal(utterances, before)


def test_each_seed_permutes_labels_in_another_way() -> None:
    utterances = pd.DataFrame({"label": np.arange(60) % 3})
    permuted = [utterances["label"].to_numpy(), *(labels_of(utterances, "permuted", seed) for seed in range(10))]
    assert len({label.tobytes() for label in permuted}) == 11


def test_permuted_labels_stay_what_they_were() -> None:
    """A stage's key says no more of them than the seed."""
    utterances = pd.DataFrame({"label": np.arange(12) % 3})
    assert labels_of(utterances, "permuted", 0).tolist() == [0, 1, 1, 2, 0, 1, 1, 0, 0, 2, 2, 2]


@light
@given(labelled(), seeds)
def test_names_permuted_by_speaker_mean_one_class_for_a_speaker(utterances: pd.DataFrame, seed: int) -> None:
    named = labels_of(utterances, "permuted_by_speaker", seed)
    assert set(named) <= set(utterances["label"])
    for _, own in utterances.assign(named=named).groupby("speaker"):
        pairs = own[["label", "named"]].drop_duplicates()
        assert pairs["label"].is_unique and pairs["named"].is_unique


def test_names_permuted_by_speaker_tell_nothing_of_another_speaker() -> None:
    """Two speakers who say every class: their names agree as often as by chance."""
    label = np.tile(np.arange(4), 2)
    utterances = pd.DataFrame({"label": label, "speaker": np.repeat(["a", "b"], 4)})
    named = np.array([labels_of(utterances, "permuted_by_speaker", seed) for seed in range(2000)])
    assert (named[:, :4] == named[:, 4:]).mean() == pytest.approx(1 / 4, abs=0.02)


def test_names_permuted_by_speaker_stay_what_they_were() -> None:
    """A stage's key says no more of them than the seed."""
    utterances = pd.DataFrame({"label": np.arange(12) % 3, "speaker": np.repeat(["c", "a", "b"], 4)})
    assert labels_of(utterances, "permuted_by_speaker", 0).tolist() == [1, 0, 2, 1, 0, 1, 2, 0, 0, 1, 2, 0]
