"""Limits of a launch: no trial is issued that would not fit, and the same command goes on."""

import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import UserError
from data_prep.folders import Folder
from ser_sweep import open_sweep
from ser_sweep.cli import main
from sweep.machine import Machine
from sweep.planning.cost import StageSeconds
from sweep.planning.grid import GridSpec
from sweep.planning.stages import Bundle, ChainSpec, Plan, StageSpec, launch_order
from sweep.running.display import NoDisplay
from sweep.running.journal import Journal
from sweep.running.limits import Budget, Limits, Spent
from sweep.running.rounds import run_rounds
from sweep.running.tally import Tally
from sweep.running.tracking import Trackers
from sweep.running.trials import Trials, Work
from sweep.storage.events import EventLog, launches_of, read_events
from sweep.storage.lease import Lease
from sweep.storage.store import Store
from tests.sweep.test_chain_queue import STAGE, chain, of_all_folds

WriteGrid = Callable[..., Path]

# The decision


def test_a_trial_that_fits_to_the_second_is_issued_and_one_that_takes_longer_is_not() -> None:
    limits = Limits(max_hours=2)
    assert limits.reached(Spent(hours=1.5), 1800, 1) is None
    assert limits.reached(Spent(hours=1.5), 1801, 1) == "--max-hours 2"


def test_a_price_is_of_device_hours_and_a_trial_pays_for_its_share_of_a_device() -> None:
    limits = Limits(max_price=10, price_per_hour=4)
    assert limits.reached(Spent(device_hours=2), 3600, 0.5) is None
    assert limits.reached(Spent(device_hours=2), 3600, 0.51) == "--max-price 10"


def test_trials_are_counted() -> None:
    assert Limits(max_trials=3).reached(Spent(trials=2), None, 1) is None
    assert Limits(max_trials=3).reached(Spent(trials=3), None, 1) == "--max-trials 3"


@pytest.mark.parametrize("limits", [Limits(max_hours=1), Limits(max_price=2, price_per_hour=2)])
def test_a_trial_of_which_nothing_is_known_is_issued_until_the_limit_is_used_up(limits: Limits) -> None:
    assert limits.reached(Spent(hours=0.99, device_hours=0.99), None, 1) is None
    assert limits.reached(Spent(hours=1, device_hours=1), None, 1) is not None


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0.01, 10), st.floats(0.1, 1))
def test_what_fits_a_limit_fits_a_larger_one(spent: float, hours: float, limit: float, share: float) -> None:
    taken = Spent(hours=spent, device_hours=spent)
    for smaller, larger in (
        (Limits(max_hours=limit), Limits(max_hours=2 * limit)),
        (Limits(max_price=limit, price_per_hour=1), Limits(max_price=2 * limit, price_per_hour=1)),
    ):
        if smaller.reached(taken, 3600 * hours, share) is None:
            assert larger.reached(taken, 3600 * hours, share) is None


@pytest.mark.parametrize(
    ("given_limits", "said"),
    [
        ({"max_hours": 0}, "--max-hours 0 is not a number above 0"),
        ({"max_hours": math.nan}, "--max-hours nan is not a number above 0"),
        ({"max_hours": True}, "--max-hours True is not a number above 0"),
        ({"max_price": -1, "price_per_hour": 1}, "--max-price -1 is not a number above 0"),
        ({"max_price": 1, "price_per_hour": math.inf}, "--price-per-hour inf is not a number above 0"),
        ({"max_price": 1}, "--max-price 1 needs --price-per-hour"),
        ({"price_per_hour": 1}, "--price-per-hour 1 limits nothing by itself"),
        ({"max_trials": 0}, "--max-trials 0 is not a whole number of at least 1"),
        ({"max_trials": 1.5}, "--max-trials 1.5 is not a whole number of at least 1"),
    ],
)
def test_limits_that_make_no_sense_are_refused(given_limits: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        Limits(**given_limits)


# What a launch has taken


class Clock(Machine):
    """A machine whose time the test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Known(StageSeconds):
    """Every stage takes a minute, or what was learnt last; None where neither is known."""

    def __init__(self, seconds: float | None = 60.0) -> None:
        super().__init__((), {})
        self._one = seconds

    def of(self, stage: StageSpec) -> float | None:
        return self._one

    def learn(self, stage: StageSpec, seconds: float) -> None:
        self._one = seconds


def test_hours_are_those_since_the_budget_was_made() -> None:
    clock = Clock()
    budget = Budget(Limits(max_hours=1 / 30), Known(), clock)
    assert budget.fits([STAGE], lambda: 1.0)
    clock.seconds = 61
    assert not budget.fits([STAGE], lambda: 1.0)
    assert budget.reached == "--max-hours 0.0333333"


def test_a_limit_that_was_reached_stays_so() -> None:
    budget = Budget(Limits(max_trials=1), Known())
    budget.issued("a", [STAGE], 1.0)
    assert not budget.fits([STAGE], lambda: 1.0)
    budget.ended("a", again=True)
    assert not budget.fits([STAGE], lambda: 1.0)


def test_those_under_way_cost_what_they_are_expected_to_or_more_when_they_take_longer() -> None:
    clock = Clock()
    budget = Budget(Limits(max_hours=10), Known(), clock)
    budget.issued("a", [STAGE, STAGE], 0.5)
    assert budget.spent.device_hours == pytest.approx(60 / 3600)
    budget.began("a")
    clock.seconds = 240
    assert budget.spent.device_hours == pytest.approx(120 / 3600)
    budget.ended("a", again=False)
    clock.seconds = 1000
    assert astuple(budget.spent) == pytest.approx((1, 1000 / 3600, 120 / 3600))


def test_a_trial_that_is_issued_ahead_starts_when_those_before_it_have_left_a_slot() -> None:
    clock = Clock()
    budget = Budget(Limits(max_hours=2.4 / 60), Known(), clock)
    budget.slots = 2
    for trial in "abc":
        assert budget.fits([STAGE], lambda: 1.0)
        budget.issued(trial, [STAGE], 1.0)
    assert not budget.fits([STAGE], lambda: 1.0)  # it would start after a minute and a half


def test_what_a_process_took_that_died_is_spent_and_a_trial_that_is_tried_again_is_one_trial() -> None:
    clock = Clock()
    budget = Budget(Limits(max_trials=1), Known(None), clock)
    budget.issued("a", [STAGE], 1.0)
    for seconds in (0, 100):
        clock.seconds = seconds
        budget.began("a")
    clock.seconds = 150
    budget.ended("a", again=True)
    assert astuple(budget.spent) == pytest.approx((0, 150 / 3600, 150 / 3600))


def test_a_launch_learns_from_its_first_stages_what_nothing_told_before() -> None:
    budget = Budget(Limits(max_hours=1), Known(None))
    assert budget.fits([STAGE], lambda: 1.0)
    budget.learn(STAGE, 3700.0)
    assert not budget.fits([STAGE], lambda: 1.0)


# Trials, without training


def trained_by(trials: Trials) -> list[tuple[str, int]]:
    """What is trained where every trial trains its part at once: its fold or source, and the iteration."""
    found: list[tuple[str, int]] = []

    def run_round() -> None:
        number = 0
        while (task := trials.issue(f"t{number}")) is not None:
            for stage in task.bundle.stages[: task.stages]:
                if stage.key not in trained_keys:
                    trained_keys.add(stage.key)
                    found.append((f"fold {stage.fold}", stage.iteration))
                    said = {"event": "trained", "iteration": stage.iteration, "key": stage.key, "seconds": 1.0}
                    trials.on_event(f"t{number}", task.number, said)
            trials.ended(f"t{number}")
            trials.completed(task.number)
            number += 1
        assert trials.over

    trained_keys: set[str] = set()
    run_rounds(trials, run_round)
    return found


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., Trials]]:
    """Makes the trials of a launch with a budget."""
    store = Store(tmp_path / "store")
    with EventLog(store.folder, "a launch") as events, Lease(store.folder, "a launch") as lease:

        def launch(bundles: list[Bundle], limits: Limits, seconds: float | None = 60.0) -> Trials:
            plan = Plan.of([chain for bundle in bundles for chain in bundle.chains], (), {})
            journal = Journal(events, Tally(plan, 1), NoDisplay(), Trackers([]))
            work = Work(GridSpec(), plan, bundles, store, {"cpu": 1.0, "gpu": 0.0}, Budget(limits, Known(seconds)))
            return Trials(work, lease, journal)

        yield launch


def test_what_is_left_is_told_and_in_the_event_log(launched: Callable[..., Trials]) -> None:
    bundles = [Bundle((ChainSpec(replace(STAGE, fold=fold)),)) for fold in range(3)]
    trials = launched(bundles, Limits(max_trials=1))
    assert trained_by(trials) == [("fold 0", 0)]
    assert trials.limited and trials.over and not trials.interrupted
    trials.close()
    assert trials.left is not None
    assert trials.left.text(2) == "--max-trials 1: 2 stages left, about 1 s with 2 trials at once"
    (events,) = read_events(trials.store.folder).values()
    (limited,) = [event for event in events if event["event"] == "limited"]
    assert (limited["limit"], limited["stages"], limited["hours"]) == ("--max-trials 1", 2, 0.001)
    (summary,) = launches_of({"a launch": events})
    assert summary.limited == "--max-trials 1"


@pytest.mark.parametrize("fuse", [1, 3])
@pytest.mark.parametrize("allowed", range(1, 7))
def test_chains_that_wait_for_what_a_limit_keeps_back_have_not_failed(
    launched: Callable[..., Trials], fuse: int, allowed: int
) -> None:
    """Under global_oof every fold waits for all others: the launch ends as limited whenever the limit comes."""
    listed = launch_order(of_all_folds([chain("bdsl", iterations=2, source="global_oof")]))
    bundles = [Bundle(tuple(listed[place : place + fuse])) for place in range(0, len(listed), fuse)]
    trials = launched(bundles, Limits(max_trials=allowed))
    found = trained_by(trials)
    trials.close()
    assert len(found) == min(9, allowed * fuse)
    assert (trials.left is None) == (len(found) == 9)
    assert not trials.store.failures() and not trials.interrupted
    assert not [event for event in next(iter(read_events(trials.store.folder).values())) if event["event"] == "failed"]


# Runs


def run(grid: Path, data: Path, store: Path, *flags: str) -> int:
    return main(["run", str(grid), "--data", str(data), "--store", str(store), *flags])


@pytest.mark.parametrize("flags", [["--inline"], []], ids=["inline", "ray"])
@pytest.mark.parametrize("fields", [{}, {"label_sources": ["global_oof"], "rules": ["bdsl"], "iterations": 2}])
def test_a_limited_run_has_a_status_of_its_own_and_the_same_command_goes_on(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    flags: list[str],
    fields: dict[str, Any],
    ray: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grid, store = write_grid(**fields), tmp_path / "store"
    statuses: list[int] = []
    while 0 not in statuses and len(statuses) < 10:
        statuses.append(run(grid, small_data, store, *flags, "--max-trials", "5"))
        told = capsys.readouterr().out
        assert ("--max-trials 5: " in told and "Go on with the same command" in told) == (statuses[-1] == 3)
        assert "failed:" not in told
    assert statuses[-1] == 0 and len(statuses) > 1 and set(statuses[:-1]) == {3}
    launches = list(read_events(Folder(store)).values())
    trained = [event["key"] for events in launches for event in events if event["event"] == "trained"]
    assert len(trained) == len(set(trained)) == len(Store(store).done_keys())
    assert all(sum(event["event"] == "issued" for event in events) <= 5 for events in launches)
    assert [bool(one.limited) for one in launches_of(read_events(Folder(store)))] == [one == 3 for one in statuses]


def test_hours_that_are_used_up_end_a_run_after_what_taught_it(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path
) -> None:
    sweep = open_sweep(write_grid(), small_data, tmp_path / "store")
    ran = sweep.run(inline=True, quiet=True, max_hours=1e-9)
    assert ran.done == 0 and ran.outcome.limited is not None
    assert (ran.outcome.limited.limit, ran.outcome.limited.stages) == ("--max-hours 1e-09", 12)
    assert ran.outcome.limited.seconds is None, "nothing is known yet"
    ran = sweep.run(inline=True, quiet=True, max_price=1e-9, price_per_hour=1.0)
    assert ran.outcome.trained == 1, "nothing is known of the first, and nothing is spent"
    assert ran.outcome.limited is not None and ran.outcome.limited.seconds is not None
    assert sweep.run(inline=True, quiet=True, max_hours=1).done == 12


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--max-price", "3"], "--max-price 3 needs --price-per-hour"),
        (["--max-hours", "0"], "'0' is not a number above 0"),
        (["--max-hours", "soon"], "'soon' is not a number above 0"),
        (["--max-trials", "0"], "'0' is not a whole number of at least 1"),
    ],
)
def test_bad_limits_are_refused_before_anything_is_trained(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    flags: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        status = run(write_grid(), small_data, tmp_path / "store", *flags)
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
