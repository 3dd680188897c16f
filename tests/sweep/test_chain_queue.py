"""Sharing exactly once: which chain may start while others run, and how far it may go."""

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.settings import TrainingSettings
from sweep.planning.stages import Bundle, ChainSpec, StageSpec, canonical_updates, distinct, launch_order
from sweep.running.chain_queue import ChainQueue
from sweep.running.task import Task

FOLDS = 3
STAGE = StageSpec("emodb-0", "tiny", "stratified", FOLDS, 0, 0, None, (), TrainingSettings())


def chain(
    rule: str, fold: int = 0, alpha: float | None = None, iterations: int = 1, source: str = "in_fold"
) -> ChainSpec:
    updates = canonical_updates(rule, alpha, iterations)
    inner = 2 if updates and source == "cross_fit" else None
    return ChainSpec(
        replace(STAGE, fold=fold, updates=updates, label_source=source if updates else None, inner_folds=inner)
    )


def of_all_folds(listed: list[ChainSpec]) -> list[ChainSpec]:
    return [ChainSpec(replace(one.last, fold=fold)) for one in listed for fold in range(FOLDS)]


def queue_of(listed: list[ChainSpec], numbers: Iterable[int], *others: Any, **named: Any) -> ChainQueue:
    """A queue of bundles of a chain each."""
    return ChainQueue([Bundle((one,)) for one in listed], numbers, *others, **named)


def issued(queue: ChainQueue, trial: str) -> tuple[int, int] | None:
    """The number of the bundle that the trial is to train, and how many of its stages."""
    task = queue.issue(trial)
    return None if task is None else (task.number, task.stages)


chains = st.lists(
    st.builds(
        chain,
        rule=st.sampled_from(["none", "bdsl", "gsl", "wdsl"]),
        alpha=st.sampled_from([0.0, 0.2]),
        iterations=st.integers(1, 3),
        source=st.sampled_from(["in_fold", "cross_fit", "global_oof"]),
    ),
    min_size=1,
    max_size=8,
).map(lambda listed: launch_order(distinct(of_all_folds(listed))))


def could_run(one: ChainSpec, done: set[str], busy: set[str]) -> bool:
    """Whether a chain has stages whose inputs are there, and none of which a running trial computes."""
    within_reach = takewhile(lambda stage: {needed.key for needed in stage.foreign_inputs} <= done, one.stages)
    missing = {stage.key for stage in within_reach} - done
    return bool(missing) and missing.isdisjoint(busy)


def sweep(
    listed: list[ChainSpec], slots: int, failing: float, seed: int, kind: type[ChainQueue] = ChainQueue
) -> tuple[list[str], list[int]]:
    """Run chains on `slots` slots, a stage of a random trial at a time.

    A share `failing` of steps ends its trial instead. Returns the keys of stages as trained, and the chains that could
    not be run to their end. Fails where a slot idles beside a chain that could run, or where a trial trains a stage
    before what it is made from.
    """
    rng = random.Random(seed)
    queue = kind([Bundle((one,)) for one in listed], range(len(listed)), [])
    running: dict[str, tuple[int, list[StageSpec]]] = {}
    done: set[str] = set()
    failed_ones: set[int] = set()
    trained: list[str] = []
    for number in range(10_000):
        while len(running) < slots and (task := queue.issue(f"trial {number}")) is not None:
            stages = listed[task.number].stages[: task.stages]
            running[f"trial {number}"] = task.number, [stage for stage in stages if stage.key not in done]
            number += 10_000
        if len(running) < slots:
            busy = {stage.key for _, left in running.values() for stage in left}
            others = set(range(len(listed))) - failed_ones - {taken for taken, _ in running.values()}
            assert not any(could_run(listed[other], done, busy) for other in others), "a slot idles"
        if not running:
            break
        trial = rng.choice(sorted(running))
        taken, left = running[trial]
        failed = rng.random() < failing
        if left and not failed:
            stage = left.pop(0)
            assert {needed.key for needed in stage.foreign_inputs} <= done
            trained.append(stage.key)
            done.add(stage.key)
            queue.stage_done(stage.key)
        if not left or failed:
            del running[trial]
            queue.ended(trial)
            if left:
                failed_ones.add(taken)
    return trained, queue.waiting


@given(chains, st.integers(1, 8), st.integers(0, 99))
def test_every_stage_is_trained_exactly_once(listed: list[ChainSpec], slots: int, seed: int) -> None:
    trained, waiting = sweep(listed, slots, failing=0, seed=seed)
    assert sorted(trained) == sorted({stage.key for one in listed for stage in one.stages})
    assert not waiting


@given(chains, st.integers(1, 8), st.integers(0, 99))
def test_failures_repeat_nothing_and_hold_up_only_what_needs_them(
    listed: list[ChainSpec], slots: int, seed: int
) -> None:
    trained, waiting = sweep(listed, slots, failing=0.3, seed=seed)
    assert len(trained) == len(set(trained))
    assert all(listed[number].last.label_source == "global_oof" for number in waiting)


class OneAtATime(ChainQueue):
    """A queue that serialises everything."""

    def issue(self, trial: str, *others: Any) -> Task | None:
        return None if self.running else super().issue(trial, *others)


def test_a_queue_that_leaves_slots_idle_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="a slot idles"):
        sweep([chain("none", fold=0), chain("none", fold=1)], slots=2, failing=0, seed=0, kind=OneAtATime)


def test_a_sharing_chain_starts_as_soon_as_the_shared_stage_is_done() -> None:
    owner, sharer = chain("bdsl"), chain("gsl")
    queue = queue_of([owner, sharer], [0, 1], [])
    assert issued(queue, "a") == (0, 2)
    assert queue.issue("b") is None
    queue.stage_done(owner.stages[0].key)
    assert issued(queue, "b") == (1, 2)


def test_when_an_owner_fails_one_that_waited_becomes_the_owner() -> None:
    queue = queue_of([chain("none"), chain("bdsl"), chain("gsl")], [0, 1, 2], [])
    assert [issued(queue, "a"), issued(queue, "b")] == [(0, 1), None]
    queue.ended("a")
    assert [issued(queue, "b"), issued(queue, "c")] == [(1, 2), None]


def test_what_cannot_be_trained_is_tried_once_and_holds_up_only_what_needs_it() -> None:
    listed = [chain("bdsl"), chain("gsl"), chain("none"), chain("hdl", 1)]
    queue = queue_of(listed, [0, 1, 2, 3], [])
    assert [issued(queue, "a"), issued(queue, "b"), issued(queue, "c")] == [(0, 2), (3, 2), None]
    shared = listed[0].stages[0].key
    queue.stage_failed(shared)
    queue.ended("a")
    assert queue.issue("d") is None
    assert queue.blocked == {1: shared, 2: shared}
    assert queue.running == {"b": 3} and not queue.waiting


def test_what_comes_before_a_stage_that_cannot_be_trained_is_trained() -> None:
    one = chain("bdsl")
    queue = queue_of([one], [0], [], failed=[one.stages[1].key])
    assert issued(queue, "a") == (0, 1)
    queue.stage_done(one.stages[0].key)
    queue.ended("a")
    assert queue.issue("b") is None
    assert queue.blocked == {0: one.stages[1].key}


def test_a_chain_that_waits_lets_others_pass() -> None:
    queue = queue_of([chain("none", 0), chain("bdsl", 0), chain("none", 1)], [0, 1, 2], [])
    assert [issued(queue, "a"), issued(queue, "b")] == [(0, 1), (2, 1)]


def test_stages_in_the_store_hold_nobody_up() -> None:
    listed = [chain("bdsl"), chain("gsl")]
    queue = queue_of(listed, [0, 1], [listed[0].stages[0].key])
    assert [issued(queue, "a"), issued(queue, "b")] == [(0, 2), (1, 2)]


def test_a_chain_that_others_have_finished_is_not_issued() -> None:
    listed = [chain("bdsl"), chain("none")]
    queue = queue_of(listed, [0, 1], [])
    queue.issue("a")
    for stage in listed[0].stages:
        queue.stage_done(stage.key)
    queue.ended("a")
    assert queue.issue("b") is None
    assert not queue.waiting and not queue.running


def test_chains_that_share_inner_networks_train_them_once() -> None:
    listed = [chain("bdsl", source="cross_fit"), chain("gsl", source="cross_fit")]
    queue = queue_of(listed, [0, 1], [])
    queue.issue("a")
    for stage in listed[0].stages[:-1]:
        assert queue.issue("b") is None
        queue.stage_done(stage.key)
    assert issued(queue, "b") == (1, 4)


# Other launches on the store


def test_a_chain_that_another_launch_computes_is_passed_by_and_tried_again() -> None:
    listed = [chain("bdsl", 0), chain("bdsl", 1)]
    theirs = {listed[0].stages[0].key}
    queue = queue_of(listed, [0, 1], [], claim=lambda keys: keys & theirs)
    assert issued(queue, "a") == (1, 2)
    assert queue.issue("b") is None
    assert queue.elsewhere == theirs
    queue.look_elsewhere()
    assert queue.issue("b") is None
    theirs.clear()
    queue.look_elsewhere()
    assert issued(queue, "b") == (0, 2)
    assert not queue.elsewhere


def test_what_another_launch_has_done_is_waited_for_no_longer() -> None:
    listed = [chain("bdsl"), chain("gsl")]
    first = listed[0].stages[0].key
    queue = queue_of(listed, [0, 1], [], claim=lambda keys: keys & {first})
    assert queue.issue("a") is None
    queue.stage_done(first)
    assert [issued(queue, "a"), issued(queue, "b")] == [(0, 2), (1, 2)]


def test_keys_are_given_back_when_a_trial_ends() -> None:
    held: set[str] = set()

    def claim(keys: set[str]) -> set[str]:
        held.update(keys)
        return set()

    queue = queue_of([chain("bdsl")], [0], [], claim, held.difference_update)
    queue.issue("a")
    assert len(held) == 2
    queue.ended("a")
    assert not held


def test_a_chain_that_is_to_be_tried_again_is_issued_again() -> None:
    queue = queue_of([chain("bdsl")], [0], [])
    queue.issue("a")
    queue.ended("a", again=True)
    assert issued(queue, "b") == (0, 2)


# Predictions that all folds have made together


def test_a_chain_is_issued_for_the_part_whose_inputs_are_there() -> None:
    listed = of_all_folds([chain("bdsl", iterations=2, source="global_oof")])
    queue = queue_of(listed, range(FOLDS), [])
    assert [issued(queue, name) for name in "abc"] == [(fold, 1) for fold in range(FOLDS)]
    for name, one in zip("ab", listed, strict=False):
        queue.stage_done(one.stages[0].key)
        queue.ended(name)
    assert queue.issue("d") is None  # the last fold's iteration 0 is not done
    queue.stage_done(listed[2].stages[0].key)
    queue.ended("c")
    assert {issued(queue, name) for name in "def"} == {(fold, 2) for fold in range(FOLDS)}


def test_folds_that_wait_for_one_that_failed_are_left_over() -> None:
    listed = of_all_folds([chain("bdsl", source="global_oof")])
    queue = queue_of(listed, range(FOLDS), [])
    for name in "abc":
        queue.issue(name)
    for name, one in zip("ab", listed, strict=False):
        queue.stage_done(one.stages[0].key)
        queue.ended(name)
    queue.ended("c")
    assert queue.issue("d") is None
    assert not queue.running
    assert queue.waiting == [0, 1]


def test_a_trial_that_did_not_do_its_part_is_not_issued_again() -> None:
    queue = queue_of([chain("bdsl")], [0], [])
    queue.issue("a")
    queue.ended("a")
    assert queue.issue("b") is None
