"""What happens next after a round of trials, from how it ended alone: no Ray, no store."""

from hypothesis import given
from hypothesis import strategies as st

from sweep.running.rounds import Again, GiveUp, Over, RoundEnd, next_step

numbers = st.lists(st.integers(0, 9), max_size=4, unique=True).map(tuple)
ends = st.builds(
    RoundEnd,
    broken=st.none() | st.just("a node died"),
    unfinished=st.booleans(),
    given_up=numbers,
    waiting=numbers,
    trained=st.integers(0, 3),
)


def test_a_round_that_came_to_its_end_is_the_last() -> None:
    assert next_step(RoundEnd(trained=3), 0, 2) == Over(interrupted=False)


def test_bundles_that_wait_for_what_failed_do_not_ask_for_another_round() -> None:
    assert next_step(RoundEnd(waiting=(4,)), 0, 2) == Over(interrupted=False)


def test_a_round_that_ends_while_something_is_left_was_interrupted() -> None:
    assert next_step(RoundEnd(unfinished=True, given_up=(1,)), 0, 2) == Over(interrupted=True)


def test_bundles_whose_trial_was_given_up_get_another_round_with_those_that_wait() -> None:
    assert next_step(RoundEnd(given_up=(1,), waiting=(4, 5), trained=2), 1, 2) == Again((1, 4, 5), fruitless=0)


def test_a_round_that_was_broken_off_is_no_interruption() -> None:
    end = RoundEnd(broken="a node died", unfinished=True, given_up=(1,), waiting=(4,))
    assert next_step(end, 0, 2) == Again((1, 4), fruitless=1)


def test_rounds_that_train_nothing_are_tried_so_often_and_then_their_bundles_fail() -> None:
    end = RoundEnd(given_up=(1,), waiting=(4,))
    assert next_step(end, 1, 2) == Again((1, 4), fruitless=2)
    assert next_step(end, 2, 2) == GiveUp((1,), "its process ended again and again")


def test_what_broke_rounds_off_is_the_cause_of_all_that_is_left() -> None:
    end = RoundEnd(broken="a node died", given_up=(1,), waiting=(4,))
    assert next_step(end, 0, 0) == GiveUp((1, 4), "a node died")


@given(ends, st.integers(0, 5), st.integers(0, 5))
def test_another_round_has_something_to_do_and_there_are_not_endlessly_many_in_vain(
    end: RoundEnd, fruitless: int, allowed: int
) -> None:
    step = next_step(end, fruitless, allowed)
    if isinstance(step, Again):
        assert set(step.numbers) == {*end.given_up, *end.waiting} and end.given_up
        assert step.fruitless <= allowed
        assert step.fruitless == (0 if end.trained else fruitless + 1)
    if isinstance(step, GiveUp):
        assert set(end.given_up) <= set(step.numbers)
        assert not end.trained and fruitless >= allowed
