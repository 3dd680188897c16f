"""What happens next after a round of trials, from how it ended alone: no Ray, no store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from sweep.running.rounds import run_rounds


@dataclass(frozen=True)
class End:
    """How a round ends. Bundles go by their numbers."""

    broken: str | None = None
    running: bool = False
    given_up: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    trained: int = 0
    limited: bool = False


@dataclass
class Told:
    """A launch's trials of which only the ends of rounds are known, the last of which is that of all others."""

    ends: Sequence[End]
    allowed: int
    begun: list[tuple[int, ...]] = field(default_factory=list)  # what each round after the first was to do
    failed: dict[int, str] = field(default_factory=dict)
    rounds: int = 0
    trained: int = 0
    interrupted: bool = False
    limited: bool = False
    given_up: tuple[int, ...] = ()
    queue: Any = None

    def __post_init__(self) -> None:
        self.resources = SimpleNamespace(max_failures=self.allowed)
        run_rounds(cast(Any, self), self._round)

    def _round(self) -> str | None:
        end = self.ends[min(self.rounds, len(self.ends) - 1)]
        self.rounds += 1
        self.trained += end.trained
        self.limited, self.given_up = end.limited, end.given_up
        self.queue = SimpleNamespace(running={"one": 9} if end.running else {}, ready=False, waiting=list(end.waiting))
        return end.broken

    def broken(self, cause: str) -> None: ...

    def start_over(self, numbers: Iterable[int]) -> None:
        self.begun.append(tuple(numbers))

    def fail(self, number: int, cause: str) -> None:
        self.failed[number] = cause

    def next_rung(self) -> bool:
        return False


def test_a_round_that_came_to_its_end_is_the_last() -> None:
    told = Told([End(trained=3)], 2)
    assert (told.rounds, told.interrupted, told.failed) == (1, False, {})


def test_bundles_that_wait_for_what_failed_do_not_ask_for_another_round() -> None:
    told = Told([End(waiting=(4,))], 2)
    assert (told.rounds, told.interrupted, told.failed) == (1, False, {})


def test_a_round_that_ends_while_something_is_left_was_interrupted() -> None:
    told = Told([End(running=True, given_up=(1,))], 2)
    assert (told.rounds, told.interrupted, told.failed) == (1, True, {})


def test_after_a_limit_there_is_no_other_round() -> None:
    told = Told([End(given_up=(1,), limited=True)], 2)
    assert (told.rounds, told.interrupted, told.failed) == (1, False, {})


def test_bundles_whose_trial_was_given_up_get_another_round_with_those_that_wait() -> None:
    assert Told([End(given_up=(1,), waiting=(4, 5), trained=2), End()], 0).begun == [(1, 4, 5)]


def test_a_round_that_was_broken_off_is_no_interruption() -> None:
    told = Told([End(broken="a node died", running=True, given_up=(1,), waiting=(4,)), End()], 2)
    assert (told.begun, told.interrupted) == ([(1, 4)], False)


def test_rounds_that_train_nothing_are_tried_so_often_and_then_their_bundles_fail() -> None:
    told = Told([End(given_up=(1,), waiting=(4,))], 2)
    assert told.begun == [(1, 4), (1, 4)]
    assert told.failed == {1: "its process ended again and again"}


def test_a_round_that_trains_something_gives_the_others_all_their_tries_again() -> None:
    in_vain = End(given_up=(1,))
    assert Told([in_vain, in_vain, End(given_up=(1,), trained=1), in_vain], 2).rounds == 6


def test_what_broke_rounds_off_is_the_cause_of_all_that_is_left() -> None:
    told = Told([End(broken="a node died", given_up=(1,), waiting=(4,))], 0)
    assert told.failed == {1: "a node died", 4: "a node died"}


numbers = st.lists(st.integers(0, 9), max_size=4, unique=True).map(tuple)
ends = st.builds(
    End,
    broken=st.none() | st.just("a node died"),
    running=st.booleans(),
    given_up=numbers,
    waiting=numbers,
    trained=st.integers(0, 3),
)


@given(st.lists(ends, max_size=6), ends, st.integers(0, 5))
def test_another_round_has_something_to_do_and_there_are_not_endlessly_many_in_vain(
    first: list[End], last: End, allowed: int
) -> None:
    told = Told([*first, End(last.broken, last.running, last.given_up, last.waiting)], allowed)
    assert all(told.begun) and told.rounds == len(told.begun) + 1
    assert told.rounds <= len(first) + allowed + 1
    assert set(told.failed) <= {*last.given_up, *last.waiting}.union(*([*one.given_up, *one.waiting] for one in first))
