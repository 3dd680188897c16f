"""What the tests of chains share: how a chain is set up and run, and what it should have come to."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_prep.shards import SegmentCorpus
from dsl.chain import StageResult
from dsl.company import run_chain
from dsl.labels import RULES, LabelUpdate, one_hot, updated_targets
from dsl.settings import ChainSettings, Step
from dsl.splits import stratified_folds
from dsl.steps import Epoch
from tests.dsl.dsl_toys import CPU, SETTINGS, MemoryStages

FOLDS = 3
QUICK = replace(SETTINGS, epochs=2)
CROSS_FIT: dict[str, Any] = {"label_source": "cross_fit", "inner_folds": 2}
LEAK_FREE: dict[str, dict[str, Any]] = {"in_fold": {}, "cross_fit": CROSS_FIT}  # label source -> settings of a chain
every_rule = pytest.mark.parametrize("rule", RULES)
every_leak_free_source = pytest.mark.parametrize("source", LEAK_FREE)
WARNINGS_OF_RULES = ("ignore::UserWarning:cleanlab", "ignore::UserWarning:sklearn")


def folds_of(corpus: SegmentCorpus) -> np.ndarray:
    return stratified_folds(corpus.utterances["label"].to_numpy(), FOLDS, 0)


def update(rule: str) -> LabelUpdate:
    return LabelUpdate(rule, 0.2 if RULES[rule].takes_alpha else None)


def settings_of(*updates: LabelUpdate, **settings: Any) -> ChainSettings:
    """A chain of `tiny` networks with some of its settings replaced."""
    source = "in_fold" if updates else None
    return replace(ChainSettings("toy", "tiny", "stratified", FOLDS, 0, 0, source, updates, QUICK), **settings)


def run(
    corpus: SegmentCorpus,
    *updates: LabelUpdate,
    memory: MemoryStages | None = None,
    on_epoch: Callable[[Step, Epoch], None] = lambda step, epoch: None,
    steps: int | None = None,
    **settings: Any,
) -> MemoryStages:
    """Run a chain of `settings_of`, with a checkpoint after each epoch; returns what it left in its memory."""
    memory = memory or MemoryStages()
    memory.hear = on_epoch
    run_chain(corpus, settings_of(*updates, **settings), CPU, memory, steps, checkpoint_seconds=0)
    return memory


def targets_of(
    corpus: SegmentCorpus, test: np.ndarray, updates: Sequence[LabelUpdate], predictions: Sequence[np.ndarray]
) -> np.ndarray:
    """Targets after `updates` by `predictions` of iterations 0, 1...: NaN for the segments `test`."""
    learnt = np.flatnonzero(~test)
    y = g = one_hot(corpus.label[learnt], 3)
    for used, q in zip(updates, predictions, strict=True):
        g = updated_targets(used, q[learnt], y, g, corpus.utterance[learnt])
    targets = np.full((len(corpus), 3), np.nan, dtype=np.float32)
    targets[learnt] = g
    return targets


def put_together(memory: MemoryStages, iteration: int) -> np.ndarray:
    """What the inner networks of an iteration say, each of the segments it did not learn; NaN for the others."""
    q = np.full((len(memory.q[iteration]), 3), np.nan, dtype=np.float32)
    for step, result in memory.trained.items():
        if step.iteration == iteration and step.inner_fold is not None:
            q[result.test] = result.q[result.test]
    return q


def timeless(result: StageResult) -> tuple[list[Epoch], float | None]:
    """What a result says of its training but for the clock."""
    return [replace(epoch, rate=0) for epoch in result.history], result.validation_wa


def assert_same_networks(found: MemoryStages, expected: MemoryStages) -> None:
    assert list(found.trained) == list(expected.trained)
    for step, result in expected.trained.items():
        np.testing.assert_array_equal(found.trained[step].q, result.q)
        assert timeless(found.trained[step]) == timeless(result)
