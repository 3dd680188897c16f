"""The update rules (Eq. 6, 8, 10, 12): targets are distributions, and each rule does what its equation says."""

import inspect
from typing import NamedTuple

import numpy as np
import pytest
from dsl_toys import light
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsl.labels import ALIASES, BASELINE, RULES, LabelUpdate, bdsl, gsl, hdl, one_hot, updated_targets, wdsl

every_rule = pytest.mark.parametrize("rule", RULES)
alphas = st.floats(0, 1)


class Case(NamedTuple):
    """What a rule is given: predictions and labels of N segments, K classes; which utterance each is of."""

    q: np.ndarray
    y: np.ndarray
    utterance: np.ndarray
    alpha: float

    def targets(self, rule: str) -> np.ndarray:
        return updated_targets(LabelUpdate(rule, self.alpha), self.q, self.y, self.utterance)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any distributions, zeros and ties among them, of segments whose utterances come in any order."""
    rows, classes = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    weights = draw(hnp.arrays(np.float32, (rows, classes), elements=st.floats(0, 1, width=32))).astype(np.float64)
    weights[weights.sum(axis=1) < 1e-6] = 1
    q = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    label = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    utterance = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 4)))
    return Case(q, one_hot(label, classes), utterance, draw(alphas))


@every_rule
@light
@given(case=cases())
def test_targets_are_distributions(rule: str, case: Case) -> None:
    g = case.targets(rule)
    assert g.shape == case.q.shape
    assert (g >= 0).all()
    np.testing.assert_allclose(g.sum(axis=1), 1, atol=1e-5)


@every_rule
@light
@given(case=cases())
def test_targets_are_float32_in_memory_of_their_own(rule: str, case: Case) -> None:
    g = case.targets(rule)
    assert g.dtype == np.float32
    assert not np.shares_memory(g, case.q)


@every_rule
@light
@given(case=cases(), data=st.data())
def test_reordered_segments_have_reordered_targets(rule: str, case: Case, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(case.q))))
    reordered = Case(case.q[order], case.y[order], case.utterance[order], case.alpha)
    np.testing.assert_allclose(reordered.targets(rule), case.targets(rule)[order], atol=1e-6)


@every_rule
@light
@given(case=cases(), data=st.data())
def test_reordered_classes_have_reordered_targets(rule: str, case: Case, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(case.q.shape[1])))
    if rule == "hdl":  # where classes are equally likely their order decides
        second, best = np.sort(case.q, axis=1)[:, -2:].T
        sure = best > second
        case = Case(case.q[sure], case.y[sure], case.utterance[sure], case.alpha)
    reordered = Case(case.q[:, order], case.y[:, order], case.utterance, case.alpha)
    np.testing.assert_allclose(reordered.targets(rule), case.targets(rule)[:, order], atol=1e-6)


@light
@given(cases())
def test_bdsl_takes_the_predictions_as_they_are(case: Case) -> None:
    np.testing.assert_array_equal(bdsl(case.q), case.q)


@light
@given(cases())
def test_wdsl_with_alpha_0_is_bdsl(case: Case) -> None:
    np.testing.assert_array_equal(wdsl(case.q, case.y, 0), bdsl(case.q))


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


@every_rule
def test_a_rule_needs_what_its_function_takes(rule: str) -> None:
    assert RULES[rule].needs == tuple(inspect.signature(RULES[rule].update).parameters)


def test_only_wdsl_takes_alpha() -> None:
    assert [rule for rule in RULES if RULES[rule].takes_alpha] == ["wdsl"]


def test_every_alias_stands_for_a_rule_and_none_is_a_rule_itself() -> None:
    assert set(ALIASES.values()) <= RULES.keys()
    assert not RULES.keys() & {*ALIASES, BASELINE}


@light
@given(cases())
def test_an_update_names_the_rule_that_makes_the_targets(case: Case) -> None:
    expected = {
        "bdsl": bdsl(case.q),
        "wdsl": wdsl(case.q, case.y, case.alpha),
        "gsl": gsl(case.q, case.utterance),
        "hdl": hdl(case.q),
    }
    assert expected.keys() == RULES.keys()
    for rule, g in expected.items():
        np.testing.assert_array_equal(case.targets(rule), g.astype(np.float32))


def test_one_hot_has_a_row_a_label() -> None:
    encoded = one_hot(np.array([2, 0]), 3)
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [1, 0, 0]])
    assert encoded.dtype == np.float32
