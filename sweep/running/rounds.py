"""What happens next after a round of trials, as a function of how it ended.

A round runs trials until each bundle has been trained, has failed or waits for what failed. What runs the trials may
break off before that, and it may give a trial up that has tries left. Such bundles get another round.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sweep.running.trials import Trials


@dataclass(frozen=True)
class RoundEnd:
    """How a round ended. Bundles go by their numbers.

    `broken` is what broke all of it off, None where it came to its end; `unfinished` says whether something was still
    running, or could have been issued. `given_up` are bundles whose trial ended with tries left, and `waiting` those
    that are neither done nor given up. `trained` counts the stages that the round trained.
    """

    broken: str | None = None
    unfinished: bool = False
    given_up: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    trained: int = 0
    limited: bool = False


@dataclass(frozen=True)
class Over:
    """There is nothing left that may be done, or the user interrupted the launch."""

    interrupted: bool


@dataclass(frozen=True)
class Again:
    """Run another round over the bundles `numbers`, after `fruitless` rounds in a row that trained nothing."""

    numbers: tuple[int, ...]
    fruitless: int


@dataclass(frozen=True)
class GiveUp:
    """The bundles `numbers` fail, for this cause."""

    numbers: tuple[int, ...]
    cause: str


def next_step(end: RoundEnd, fruitless: int, max_failures: int) -> Over | Again | GiveUp:
    """What follows a round that came after `fruitless` rounds without a trained stage, of which `max_failures` in a row
    are allowed."""
    interrupted = end.broken is None and end.unfinished
    if interrupted or end.limited or not end.given_up:
        return Over(interrupted)
    fruitless = 0 if end.trained else fruitless + 1
    left = (*end.given_up, *end.waiting)
    if fruitless <= max_failures:
        return Again(left, fruitless)
    if end.broken is not None:
        return GiveUp(left, end.broken)
    return GiveUp(end.given_up, "its process ended again and again")


def run_rounds(trials: Trials, run_round: Callable[[], str | None]) -> None:
    """Run rounds of trials until every bundle was done or has failed, those of later rungs among them. `run_round`
    returns what broke the round off, None where it came to its end."""
    fruitless = 0
    while True:
        before = trials.trained
        broken = run_round()
        if broken is not None:
            trials.broken(broken)
        queue = trials.queue
        end = RoundEnd(
            broken,
            bool(queue.running) or (queue.ready and not trials.limited),
            tuple(trials.given_up),
            tuple(queue.waiting),
            trials.trained - before,
            trials.limited,
        )
        step = next_step(end, fruitless, trials.resources.max_failures)
        if isinstance(step, Over):
            trials.interrupted = step.interrupted
        if isinstance(step, GiveUp):
            for number in step.numbers:
                trials.fail(number, step.cause)
        if not isinstance(step, Again):
            if end.broken is not None or not trials.next_rung():
                return
            fruitless = 0
            continue
        fruitless = step.fruitless
        trials.start_over(step.numbers)
