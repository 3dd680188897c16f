"""A chain's memory in the store, and what it tells the launch of its trainings."""

import json
import platform
import socket
import time
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from data_prep.arrays import Floats
from data_prep.errors import describe_error
from data_prep.shards import SegmentCorpus
from dsl.chain import ChainMemory, StageResult
from dsl.labels import labels_of
from dsl.process import bits_depend_on, float32_means
from dsl.settings import Step
from dsl.steps import Epoch, kept_epoch
from dsl.training import Checkpoint
from sweep.planning.stages import ChainSpec, StageSpec
from sweep.running.task import Task
from sweep.storage.predictions import Predictions
from sweep.storage.provenance import code_revision, versions
from sweep.storage.store import Store, StoreError


@dataclass(frozen=True)
class TrialContext:
    """What the chains of a trial have in common: its task and store, the thinned corpus, and the device.

    `tell` takes an event, {"event": "epoch" | "trained" | ..., ...}. `check` is called with whether a commit is next,
    and raises SupersededError to stop the trial.
    """

    task: Task
    store: Store
    corpus: SegmentCorpus
    device: torch.device
    tell: Callable[[dict[str, Any]], None]
    check: Callable[[bool], None]


class StoreMemory(ChainMemory):
    """A chain's memory in the store (`dsl.chain.ChainMemory`)."""

    def __init__(self, chain: ChainSpec, context: TrialContext) -> None:
        self._chain = chain
        self._context = context
        self._store = context.store
        self._corpus = context.corpus
        self._tell = context.tell
        self.current: StageSpec = chain.stages[0]
        self.is_open = False  # whether the current one was asked for and is still to be done

    def key(self, step: Step) -> Hashable:
        """The key of the stage, the same in all chains that share it."""
        return self._chain.last.at(step.iteration, step.inner_fold).key

    def load(self, step: Step) -> Floats | None:
        """Predictions of the stage where the store has it; the launch is then told that it is reused."""
        self.current = self._chain.last.at(step.iteration, step.inner_fold)
        found = self._read(self.current)
        self.is_open = found is None
        if found is not None:
            self._tell({"event": "reused", "iteration": step.iteration, "key": self.current.key})
        return found

    def out_of_fold(self, iteration: int) -> Floats | None:
        """Each segment's prediction by the fold that tested it, read from the store; None where one is missing."""
        q = None
        for stage in self._chain.last.at(iteration).out_of_fold:
            predictions = self._store.read_predictions(stage.key)
            if predictions is None:
                return None
            q = np.full_like(predictions.q, np.nan) if q is None else q
            q[predictions.test] = predictions.q[predictions.test]
        return q

    def save(self, step: Step, result: StageResult) -> None:
        """Commit the stage to the store, and tell of it."""
        corpus, stage = self._corpus, self.current
        there = ~np.isnan(result.q).any(axis=1)
        predictions = Predictions(corpus.utterance[there], corpus.segment[there], result.test[there], result.q[there])
        device, task = self._context.device, self._context.task
        facts = stage_facts(stage, corpus, result, device, task.gpu)
        weights = _safetensors(stage, corpus, result) if stage.key in task.keep_weights else None
        self._context.check(True)
        said = {"iteration": step.iteration, "key": stage.key, "seconds": result.seconds}
        said["resumed_at_epoch"] = result.resumed_at  # its seconds are of the epochs from there on
        stands = self._store.commit(stage, predictions, facts, weights)
        if device.type == "cuda" and result.recorded.startswith("no: "):
            self._tell({"event": "not_recorded", "cause": result.recorded.removeprefix("no: ")})
        self.is_open = False
        self._tell({"event": "trained" if stands else "reused", **said, "finished": time.time()})

    def note_failure(self, error: BaseException) -> None:
        """Note in the store why the current stage could not be trained, unless it was."""
        if self.is_open:
            self._store.note_failure(self.current.key, describe_error(error))

    def checkpoint(self, step: Step) -> Checkpoint:
        """The checkpoint in the store of the stage under way."""
        return StoredCheckpoint(self._store, self.current.key)

    def on_epoch(self, step: Step, epoch: Epoch) -> None:
        """Tell of the epoch. Raises SupersededError where another trial does this work by now."""
        self._context.check(False)
        self._tell({"event": "epoch", "iteration": step.iteration, "key": self.current.key, **asdict(epoch)})

    def on_batch(self, step: Step, done: int, of: int) -> None:
        """Tell how many steps are done."""
        said = {"iteration": step.iteration, "key": self.current.key}
        self._tell({"event": "steps", **said, "done": done, "of": of})

    def on_resumed(self, step: Step, under: dict[str, tuple[str, str]]) -> None:
        """Tell that the bits will be others."""
        self._tell({"event": "resumed_elsewhere", "key": self.current.key, "under": under})

    def _read(self, stage: StageSpec) -> Floats | None:
        """The predictions of a stage for all segments; NaN where it has none."""
        predictions = self._store.read_predictions(stage.key)
        if predictions is None:
            return None
        q = np.full((len(self._corpus), predictions.q.shape[1]), np.nan, dtype=np.float32)
        own = np.isin(self._corpus.utterance, predictions.utterance)
        if own.sum() != len(predictions.q):
            raise StoreError(
                f"stage {stage.key} in store {self._store.uri} has predictions that are not of its corpus's segments; "
                "repair the store with: ser-sweep store verify --repair"
            )
        q[own] = predictions.q
        return q


class StoredCheckpoint:
    """A stage's epoch checkpoint in the store (`dsl.training.Checkpoint`)."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key

    def read(self) -> bytes | None:
        """The state, None where there is none that is whole."""
        return self._store.read_checkpoint(self._key)

    def write(self, content: bytes) -> None:
        """Keep a state in the place of the one before."""
        self._store.write_checkpoint(self._key, content)


def _safetensors(stage: StageSpec, corpus: SegmentCorpus, result: StageResult) -> bytes:
    """The network, and the statistics of Mel bands that its input is standardised by, as safetensors."""
    from safetensors.numpy import save

    mean, deviation = result.band_statistics
    tensors = {f"network.{name}": value for name, value in result.weights.items()}
    tensors |= {"input.mean": mean.astype(np.float32), "input.deviation": deviation.astype(np.float32)}
    about = {"backbone": stage.backbone, "corpus": stage.corpus, "classes": json.dumps(corpus.classes)}
    return save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, about)


def stage_facts(
    stage: StageSpec, corpus: SegmentCorpus, result: StageResult, device: torch.device, gpu: float
) -> dict[str, Any]:
    """What stage.json says beyond identity: metrics, history, timing, device, versions, code revision. What is measured
    on validation utterances is null where there are none."""
    kept = kept_epoch(result.history, stage.training)
    decided = result.q[result.test].argmax(axis=1)
    label = labels_of(corpus.utterances, stage.labels, stage.seed)[corpus.utterance[result.test]]
    return {
        "classes": list(corpus.classes),
        "segments": len(corpus),
        "metrics": {
            "test_segment_accuracy": float((decided == label).mean()),
            "validation_loss": kept.validation_loss,
            "validation_wa": result.validation_wa,
            "targets_right": result.targets_right,
            "training_segments": result.training_segments,
            "kept_epoch": kept.number,
            "epochs": len(result.history),
        },
        "history": [asdict(epoch) for epoch in result.history],
        "timing": {
            "seconds": result.seconds,
            "resumed_at_epoch": result.resumed_at,
            "segments_per_second": float(np.median([epoch.rate for epoch in result.history])),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
        "device": {
            "type": device.type,
            "name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
            "threads": torch.get_num_threads(),
            "host": socket.gethostname(),
            "gpu_share": gpu if device.type == "cuda" else 0.0,
            "fused": result.beside,
            "recorded": result.recorded,
            "float32": float32_means(device),
            "bits_depend_on": bits_depend_on(device),
            "resumed_under": result.resumed_under,
            "peak_memory_bytes": result.peak_memory,
        },
        "versions": versions(),
        "revision": code_revision(),
    }
