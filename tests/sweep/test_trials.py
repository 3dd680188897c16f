"""A launch's trials without Ray and without training: an executor of the test's tells what becomes of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.planning.grid import GridSpec
from sweep.planning.grid_fields import Resources
from sweep.planning.stages import Bundle, ChainSpec, Plan
from sweep.running.display import NoDisplay
from sweep.running.journal import Journal
from sweep.running.rounds import run_rounds
from sweep.running.tally import Tally
from sweep.running.task import Task
from sweep.running.tracking import Trackers
from sweep.running.trials import Trials, Work
from sweep.storage.events import EventLog
from sweep.storage.lease import Lease
from sweep.storage.store import Store
from tests.sweep.test_chain_queue import STAGE

CHAINS = tuple(ChainSpec(replace(STAGE, fold=fold)) for fold in range(2))
PLAN = Plan.of(CHAINS, (), {})


@pytest.fixture
def trials(tmp_path: Path) -> Iterator[Trials]:
    """Of two chains of a stage each, that are tried again once."""
    store = Store(tmp_path / "store")
    grid = GridSpec(resources=Resources(max_failures=1))
    bundles = [Bundle((chain,)) for chain in CHAINS]
    with EventLog(store.folder, "a launch") as events, Lease(store.folder, "a launch") as lease:
        journal = Journal(events, Tally(PLAN, 1), NoDisplay(), Trackers([]))
        yield Trials(Work(grid, PLAN, bundles, store, {"cpu": 1.0, "gpu": 0.25}), lease, journal)


def failures(trials: Trials) -> list[str | None]:
    return [trials.store.read_failure(chain.last.key) for chain in CHAINS]


def trained(trials: Trials, trial: str, task: Task) -> None:
    for stage in task.bundle.stages:
        said = {"event": "trained", "iteration": 0, "key": stage.key, "seconds": 1.0}
        trials.on_event(trial, task.number, said)
    trials.ended(trial)
    trials.completed(task.number)


def lost(trials: Trials, trial: str, task: Task) -> None:
    trials.lost(task.number)
    trials.ended(trial)


class Rounds:
    """Rounds of trials one after the other; `fate` is what becomes of the trials of a number."""

    def __init__(self, trials: Trials, fate: dict[int, Callable[[Trials, str, Task], None]]) -> None:
        self.issued: list[list[int]] = []
        self._trials = trials
        self._fate = fate

    def __call__(self) -> str | None:
        self.issued.append([])
        while (task := self._trials.issue("one")) is not None:
            self.issued[-1].append(task.number)
            self._fate[task.number](self._trials, "one", task)
        return None


def test_every_bundle_is_issued_once_where_all_goes_well(trials: Trials) -> None:
    rounds = Rounds(trials, {0: trained, 1: trained})
    run_rounds(trials, rounds)
    assert rounds.issued == [[0, 1]]
    assert (trials.trained, trials.interrupted, trials.over) == (2, False, True)


def test_a_bundle_whose_trials_are_given_up_is_issued_again_until_it_fails(trials: Trials) -> None:
    rounds = Rounds(trials, {0: trained, 1: lost})
    run_rounds(trials, rounds)
    assert rounds.issued == [[0, 1], [1], [1]]  # the first has trained something: it does not count
    assert failures(trials) == [None, "its process ended again and again"]


def test_a_broken_round_loses_what_was_running_and_another_begins(trials: Trials) -> None:
    rounds = []

    def run_round() -> str | None:
        task = trials.issue("one")
        rounds.append(task)
        return "a node died"

    run_rounds(trials, run_round)
    assert [task.number for task in rounds if task] == [0, 0]
    assert failures(trials) == ["a node died", "a node died"]


def test_what_is_left_when_a_round_ends_was_interrupted(trials: Trials) -> None:
    def run_round() -> None:
        trials.issue("one")

    run_rounds(trials, run_round)
    assert trials.interrupted
    assert failures(trials) == [None, None]


def test_what_a_trial_said_of_its_error_comes_before_what_ended_it(trials: Trials) -> None:
    task = trials.issue("one")
    assert task is not None
    trials.on_event("one", task.number, {"event": "error", "cause": "no space left on device"})
    trials.fail(task.number, "the trial's process ended without saying why")
    assert failures(trials)[task.number] == "no space left on device"


def test_a_trial_that_ran_out_of_memory_is_issued_again_with_more(trials: Trials) -> None:
    task = trials.issue("one")
    assert task is not None
    assert task.gpu == 0.25
    said = {"event": "out_of_memory", "key": task.bundle.stages[0].key, "gpu": task.gpu, "cause": "no memory"}
    trials.on_event("one", task.number, said)
    trials.completed(task.number)
    trials.ended("one")
    again = trials.issue("two")
    assert again is not None
    assert (again.number, again.gpu) == (task.number, 0.5)


def test_a_task_tells_all_that_its_process_needs(trials: Trials) -> None:
    task = trials.issue("one")
    assert task is not None
    assert task == Task(0, Bundle((CHAINS[0],)), 1, threads=1, gpu=0.25, at_once=1, lease="a launch")
