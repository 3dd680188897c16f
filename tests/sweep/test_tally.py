"""What a launch has come to, and how long the rest may take."""

from dataclasses import replace
from typing import Any

import pytest

from dsl.settings import TrainingSettings
from sweep.planning.stages import Bundle, ChainSpec, Plan, StageSpec
from sweep.running.tally import RunningTrial, Tally

STAGES = [StageSpec("emodb-0", "tiny", "stratified", 4, fold, 0, None, (), TrainingSettings()) for fold in range(4)]
PLAN = Plan.of([ChainSpec(stage) for stage in STAGES], (), {})
BUNDLE = Bundle((PLAN.chains[0],))


def trained(stage: StageSpec, seconds: float) -> dict[str, Any]:
    return {"event": "trained", "iteration": 0, "key": stage.key, "seconds": seconds}


def under_way(done: int, of: int, seconds: float) -> RunningTrial:
    """A trial that did `done` of its steps in so many seconds."""
    return RunningTrial(BUNDLE, key="a", done=done, of=of, now=seconds)


def test_nothing_is_known_before_anything_was_trained() -> None:
    tally = Tally(PLAN, 2)
    assert tally.seconds_left is None
    assert tally.summary() == "0 of 4 stages, 0 running, 0 failed"


def test_what_is_left_takes_as_long_as_what_was_trained() -> None:
    tally = Tally(PLAN, concurrent=2)
    tally.on_event(0, BUNDLE, trained(STAGES[0], 100.0))
    tally.on_event(1, BUNDLE, trained(STAGES[1], 300.0))
    assert tally.seconds_left == 2 * 200 / 2
    assert tally.summary() == "2 of 4 stages, 2 running, 0 failed, about 3 min left"


def test_what_was_trained_tells_more_than_what_was_expected() -> None:
    tally = Tally(PLAN, concurrent=1, expected=40.0)
    assert tally.seconds_left == 40
    tally.on_event(0, BUNDLE, trained(STAGES[0], 100.0))
    assert tally.seconds_left == 300


def test_of_stages_under_way_only_the_rest_is_left() -> None:
    tally = Tally(PLAN, concurrent=1, expected=40.0)
    tally.running[0] = under_way(done=1, of=4, seconds=9.0)
    assert tally.seconds_left == (4 - 0.25) * 10


def test_steps_tell_how_long_a_stage_takes_where_nothing_else_does() -> None:
    tally = Tally(PLAN, concurrent=1)
    tally.running = {0: under_way(done=5, of=10, seconds=30.0), 1: under_way(done=5, of=10, seconds=10.0)}
    assert tally.seconds_left == pytest.approx((4 - 2 * 0.5) * (60 + 20) / 2)


def test_reused_stages_are_done_and_tell_no_time() -> None:
    tally = Tally(PLAN, concurrent=1)
    tally.on_event(0, BUNDLE, {**trained(STAGES[0], 100.0), "event": "reused"})
    assert (tally.missing, tally.seconds_left) == (3, None)


def test_expected_seconds_are_those_of_what_the_plan_left() -> None:
    plan = replace(PLAN, done=frozenset({STAGES[0].key}))
    assert Tally(plan, concurrent=1, expected=30.0).seconds_left == 30


def test_nothing_is_left_of_a_complete_sweep() -> None:
    tally = Tally(PLAN, concurrent=1)
    for stage in STAGES:
        tally.on_event(0, BUNDLE, trained(stage, 1.0))
    tally.ended(0)
    assert tally.summary() == "4 of 4 stages, 0 running, 0 failed"


def test_a_trial_that_failed_runs_no_more() -> None:
    tally = Tally(PLAN, concurrent=1)
    tally.running[2] = RunningTrial(BUNDLE)
    tally.ended(2, "no luck")
    assert tally.summary() == "0 of 4 stages, 0 running, 1 failed"
    assert tally.failures == {2: "no luck"}
