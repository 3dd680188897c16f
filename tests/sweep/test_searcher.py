"""Sharing exactly once: which chain may start while others run."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dsl.settings import TrainingSettings
from sweep.searcher import ChainQueue
from sweep.stages import ChainSpec, StageSpec, canonical_updates, distinct, launch_order

STAGE = StageSpec("emodb-0", "tiny", "stratified", 9, 0, 0, None, (), TrainingSettings())


def chain(rule: str, fold: int = 0, alpha: float | None = None, iterations: int = 1) -> ChainSpec:
    updates = canonical_updates(rule, alpha, iterations)
    return ChainSpec(replace(STAGE, fold=fold, updates=updates, label_source="in_fold" if updates else None))


chains = st.lists(
    st.builds(
        chain,
        rule=st.sampled_from(["none", "bdsl", "gsl", "wdsl"]),
        fold=st.integers(0, 2),
        alpha=st.sampled_from([0.0, 0.2]),
        iterations=st.integers(1, 3),
    ),
    min_size=1,
    max_size=20,
).map(lambda listed: launch_order(distinct(listed)))


def sweep(listed: list[ChainSpec], slots: int, failing: float, seed: int) -> list[str]:
    """Run chains on `slots` slots, a stage of a random trial at a time; returns the keys of stages as trained.

    A share `failing` of steps ends its trial instead. Fails where a slot idles beside a chain that could run.
    """
    rng = random.Random(seed)
    queue = ChainQueue(listed, range(len(listed)), [])
    running: dict[str, list[str]] = {}
    done: set[str] = set()
    trained: list[str] = []
    while len(queue) or running:
        while len(running) < slots and (number := queue.issue(f"trial {len(queue)}")) is not None:
            keys = [stage.key for stage in listed[number].stages if stage.key not in done]
            running[f"trial {len(queue) + 1}"] = keys
        assert running, "nothing runs, though chains wait"
        trial = rng.choice(sorted(running))
        if running[trial] and rng.random() >= failing:
            key = running[trial].pop(0)
            trained.append(key)
            done.add(key)
            queue.stage_done(key)
        if not running[trial] or rng.random() < failing:
            del running[trial]
            queue.ended(trial)
    return trained


@given(chains, st.integers(1, 8), st.integers(0, 99))
def test_every_stage_is_trained_exactly_once(listed: list[ChainSpec], slots: int, seed: int) -> None:
    trained = sweep(listed, slots, failing=0, seed=seed)
    assert sorted(trained) == sorted({stage.key for one in listed for stage in one.stages})


@given(chains, st.integers(1, 8), st.integers(0, 99))
def test_failures_hold_nobody_up_and_repeat_nothing(listed: list[ChainSpec], slots: int, seed: int) -> None:
    trained = sweep(listed, slots, failing=0.3, seed=seed)
    assert len(trained) == len(set(trained))


def test_a_sharing_chain_starts_as_soon_as_the_shared_stage_is_done() -> None:
    owner, sharer = chain("bdsl"), chain("gsl")
    queue = ChainQueue([owner, sharer], [0, 1], [])
    assert queue.issue("a") == 0
    assert queue.issue("b") is None
    queue.stage_done(owner.stages[0].key)
    assert queue.issue("b") == 1


def test_when_an_owner_fails_one_that_waited_becomes_the_owner() -> None:
    queue = ChainQueue([chain("none"), chain("bdsl"), chain("gsl")], [0, 1, 2], [])
    assert [queue.issue("a"), queue.issue("b")] == [0, None]
    queue.ended("a")
    assert [queue.issue("b"), queue.issue("c")] == [1, None]


def test_a_chain_that_waits_lets_others_pass() -> None:
    queue = ChainQueue([chain("none", 0), chain("bdsl", 0), chain("none", 1)], [0, 1, 2], [])
    assert [queue.issue("a"), queue.issue("b")] == [0, 2]


def test_stages_in_the_store_hold_nobody_up() -> None:
    listed = [chain("bdsl"), chain("gsl")]
    queue = ChainQueue(listed, [0, 1], [listed[0].stages[0].key])
    assert [queue.issue("a"), queue.issue("b")] == [0, 1]
