"""Distributions, and the points that are drawn from them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sweep.planning.sampling import Distribution, draw

LOG = Distribution(log_uniform=(1e-4, 1e-2))
WHOLE = Distribution(int_uniform=(16, 64))
places = st.floats(0, 1, exclude_max=True)


def test_drawn_values_never_change_by_accident() -> None:
    # Stages on disk are found by these, and so are those of another machine.
    assert draw([LOG, WHOLE], 8, seed=0) == [
        (0.0026, 38),
        (0.00026, 55),
        (0.00821, 22),
        (0.000821, 33),
        (0.00146, 49),
        (0.000146, 17),
        (0.00462, 44),
        (0.000462, 60),
    ]
    choice = Distribution(choice=("a", "b", "c"))
    assert "".join(value for (value,) in draw([choice], 8, seed=0)) == "cacbbaca"


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 40))
def test_more_samples_keep_those_that_were_drawn(seed: int, few: int, more: int) -> None:
    assert draw([LOG, WHOLE], few + more, seed)[:few] == draw([LOG, WHOLE], few, seed)


def test_another_distribution_beside_them_changes_no_value_of_those_before() -> None:
    assert [row[:1] for row in draw([LOG, WHOLE], 16, 0)] == draw([LOG], 16, 0)


def test_another_seed_draws_other_points() -> None:
    assert not set(draw([LOG], 16, 0)) & set(draw([LOG], 16, 1))


def test_points_spread_evenly() -> None:
    """Of 16 points, four are in each quarter: a Halton sequence, not 16 independent numbers."""
    values = [value for (value,) in draw([Distribution(uniform=(0, 4))], 16, 0)]
    assert [sum(low <= value < low + 1 for value in values) for low in range(4)] == [4] * 4


@given(places, st.floats(1e-9, 1e9), st.floats(1.001, 1e6))
def test_a_number_is_within_its_bounds_and_has_three_digits_or_is_a_bound(place: float, low: float, by: float) -> None:
    for kind in ("uniform", "log_uniform"):
        value = Distribution.model_validate({kind: [low, low * by]}).at(place)
        assert low <= value <= low * by
        assert value in (low, low * by) or float(f"{value:.3g}") == value


@given(places, st.integers(-1000, 1000), st.integers(1, 10**6))
def test_whole_numbers_are_not_rounded_and_have_both_bounds(place: float, low: int, above: int) -> None:
    one = Distribution(int_uniform=(low, low + above))
    value = one.at(place)
    assert isinstance(value, int) and low <= value <= low + above
    assert (one.at(0.0), one.at(1 - 1e-12)) == (low, low + above)


def test_a_log_uniform_number_is_as_often_in_each_order_of_magnitude() -> None:
    values = [value for (value,) in draw([LOG], 64, 0)]
    assert sum(value < 1e-3 for value in values) == 32


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"uniform": [2, 1]}, "uniform needs a lower bound and then a higher one, not [2, 1]"),
        ({"uniform": [1, 1]}, "uniform needs a lower bound and then a higher one, not [1, 1]"),
        ({"int_uniform": [5, 2]}, "int_uniform needs a lower bound and then a higher one, not [5, 2]"),
        ({"log_uniform": [0, 1]}, "log_uniform needs bounds above 0, not [0, 1]"),
        ({"log_uniform": [-1, 1]}, "log_uniform needs bounds above 0, not [-1, 1]"),
        ({"uniform": [0, float("inf")]}, "uniform needs two finite bounds, not [0, inf]"),
        ({"uniform": [float("nan"), 1]}, "uniform needs two finite bounds, not [nan, 1]"),
        ({"choice": []}, "choice needs at least one value"),
        ({}, "a distribution is one of uniform, log_uniform, int_uniform, choice; this one has none"),
        ({"uniform": [0, 1], "choice": [1]}, "this one has choice, uniform"),
    ],
)
def test_a_distribution_that_is_none_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Distribution.model_validate(given)
    assert said in str(caught.value)
