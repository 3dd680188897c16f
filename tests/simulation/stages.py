"""Small grids, the corpus they are of, and trainings that take a few steps and come to what their key says."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import torch

from data_prep import folders
from data_prep.shards import SegmentCorpus
from dsl.chain import MissingInputsError, StageResult
from dsl.labels import LabelUpdate
from dsl.settings import TrainingSettings
from dsl.steps import Epoch
from sweep.planning.stages import ChainSpec, StageSpec
from sweep.running import store_memory
from sweep.running.store_memory import StoreMemory, TrialContext
from sweep.running.task import Task
from sweep.storage import files, lease, store, upkeep
from sweep.storage.predictions import Predictions, encode_predictions
from sweep.storage.store import Store
from tests.simulation.world import Process

FOLDS, EPOCHS, UTTERANCES = 2, 2, 4
CORPUS = SegmentCorpus(
    name="simulated-0",
    classes=("calm", "angry"),
    utterances=pd.DataFrame({"id": list("abcd"), "speaker": list("ABAB"), "emotion": "calm", "label": 0}),
    frames=np.zeros((UTTERANCES, 1), np.float32),
    utterance=np.arange(UTTERANCES, dtype=np.int32),
    segment=np.zeros(UTTERANCES, np.int32),
    start=np.arange(UTTERANCES),
    segment_frames=1,
)
REMEMBERED = 1000
CPU = torch.device("cpu")


def chain(source: str | None, fold: int, rules: str = "", seed: int = 0) -> ChainSpec:
    updates = tuple(LabelUpdate({"b": "bdsl", "g": "gsl"}[rule]) for rule in rules)
    inner = 2 if source == "cross_fit" else None
    settings = CORPUS.name, "tiny", "stratified", FOLDS, fold, seed, source, updates, TrainingSettings(epochs=EPOCHS)
    return ChainSpec(StageSpec(*settings, inner_folds=inner))


GRIDS = (  # they share stages, within and between one another
    tuple(chain(None, fold) for fold in range(FOLDS)),
    tuple(chain("in_fold", 0, rules) for rules in ("b", "g", "bb")),
    tuple(chain("in_fold", fold, rules) for fold in range(FOLDS) for rules in ("b", "g")),
    tuple(chain("global_oof", fold, "bb") for fold in range(FOLDS)),
    tuple(chain("global_oof", fold, rules) for fold in range(FOLDS) for rules in ("b", "g")),
    (chain("cross_fit", 0, "b"), chain("cross_fit", 0, "g")),
)


def keys_of(grid: Iterable[ChainSpec]) -> dict[str, StageSpec]:
    return {stage.key: stage for one in grid for stage in one.stages}


@cache
def result_of(stage: StageSpec) -> StageResult:
    """What the training of a stage comes to."""
    random = np.random.default_rng(int(stage.key, 16))
    test = CORPUS.utterance % FOLDS == stage.fold
    history = [Epoch(number, 1.0, 1.0, 0.5, 1.0) for number in range(EPOCHS)]
    q = random.dirichlet(np.ones(len(CORPUS.classes)), UTTERANCES).astype(np.float32)
    statistics = np.zeros(1), np.ones(1)
    return StageResult(q, test, history, 1.0, 0, UTTERANCES, 0.5, None, {}, statistics, None)


@cache
def predictions_of(stage: StageSpec) -> bytes:
    """The file of predictions that a commit of the stage writes."""
    result = result_of(stage)
    return encode_predictions(Predictions(CORPUS.utterance, CORPUS.segment, result.test, result.q))


def train(
    task: Task,
    opened: Store,
    report: Callable[[dict[str, Any]], None],
    check: Callable[[bool], None],
    process: Process,
    training: Callable[[str, bool], None],
    saved: Callable[[str], None],
) -> None:
    """`sweep.running.trial.run_trial` without networks: the stages of a task, an epoch being some time that goes by.

    `training` is told when a stage's training begins (True) and ends, and `saved` when the stage is in the store.
    """
    within = {stage.key for stage in task.bundle.stages[: task.stages]}

    def say(event: dict[str, Any]) -> None:
        report({"events": [event]})

    context = TrialContext(task, opened, CORPUS, CPU, say, check)
    for one in task.bundle.chains:
        memory = StoreMemory(one, context)
        for step in one.last.steps:
            stage = one.last.at(step.iteration, step.inner_fold)
            if stage.key not in within or memory.load(step) is not None:
                continue
            leaks = stage.label_source == "global_oof" and step.iteration
            if leaks and memory.out_of_fold(step.iteration - 1) is None:
                raise MissingInputsError(
                    f"iteration {step.iteration} needs iteration {step.iteration - 1} of all folds"
                )
            training(stage.key, True)
            try:
                checkpoint = memory.checkpoint(step)
                read = checkpoint.read()
                for number in range(int(read or b"0"), EPOCHS):
                    process.sleep(0.5 + 10 * process.world.random.random() ** 2)
                    checkpoint.write(b"%d" % (number + 1))
                    memory.on_epoch(step, result_of(stage).history[number])
                memory.save(step, replace(result_of(stage), seconds=process.world.now))
                saved(stage.key)
            except Exception as error:
                memory.note_failure(error)
                raise
            finally:
                training(stage.key, False)
    say({"event": "ended", "began": 0.0, "seconds": 1.0})


# A world is to take milliseconds. What these come to depends on their arguments alone, so it is computed once.


@cache
def remember() -> None:
    """Have pure functions of the product remember what they came to, in this process, for good."""
    folders.PurePosixPath = cache(PurePosixPath)
    folders.Folder.local_path = cache(folders.Folder.local_path)
    store.decode_predictions = upkeep.decode_predictions = cache(store.decode_predictions)
    store.encode_predictions = _remembered(
        store.encode_predictions, lambda predictions: predictions.q.tobytes() + predictions.test.tobytes()
    )
    store.parsed = files.parsed = lru_cache(REMEMBERED)(files.parsed)
    lease._parsed = lru_cache(REMEMBERED)(lease._parsed)
    store.is_record = _remembered(store.is_record, id)
    StageSpec.at = cache(StageSpec.at)
    facts = _remembered(store_memory.stage_facts, lambda stage, *_: stage.key)

    def facts_of(stage: StageSpec, corpus: SegmentCorpus, result: StageResult, *device: Any) -> dict[str, Any]:
        return {**facts(stage, corpus, result, *device), "timing": {"seconds": result.seconds}}

    store_memory.stage_facts = facts_of


def _remembered(function: Callable[..., Any], what: Callable[..., Hashable]) -> Callable[..., Any]:
    known: dict[Hashable, tuple[Any, Any]] = {}

    def remembering(*arguments: Any) -> Any:
        asked = what(*arguments)
        if asked not in known:
            known[asked] = function(*arguments), arguments  # which are kept, so that no other gets their id
        return known[asked][0]

    return remembering
