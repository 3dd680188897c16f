"""One trial: a bundle of chains run against the store. The same function for Ray Tune and for a run in this process."""

import json
import platform
import socket
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from data_prep.errors import describe_error
from data_prep.shards import SegmentCorpus
from dsl.chain import MissingInputsError, StageResult
from dsl.company import Company
from dsl.labels import labels_of
from dsl.process import bits_depend_on, float32_means, give_memory_back, is_out_of_memory, settle
from dsl.settings import Step
from dsl.steps import Epoch, kept_epoch
from dsl.training import CHECKPOINT_SECONDS, Checkpoint
from sweep.planning.stages import Bundle, ChainSpec, StageSpec
from sweep.running.resources import cap_memory
from sweep.storage.lease import SupersededError
from sweep.storage.provenance import code_revision, versions
from sweep.storage.store import Predictions, Store, StoreError

Report = Callable[[dict[str, Any]], None]
SECONDS_BETWEEN_REPORTS = 2.0


class OutOfMemory(Exception):  # noqa: N818
    """A training needs more memory than its share of the GPU has."""

    def __init__(self, stage: StageSpec, cause: str) -> None:
        super().__init__(cause)
        self.stage = stage


def run_trial(
    bundle: Bundle,
    corpora: Mapping[str, SegmentCorpus],
    store: Store,
    report: Report,
    *,
    threads: int,
    gpu: float,
    stages: int | None = None,
    at_once: int | None = None,
    keep_weights: Collection[str] = (),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    check: Callable[[bool], None] = lambda now: None,
) -> None:
    """Train what the store does not hold of `bundle`, on `threads` CPU threads and `gpu` of a GPU, where there is one,
    `at_once` of its networks (all, if None) side by side.

    Only the first `stages` of it, where that is given: the others need what other folds have not trained yet.
    `corpora` maps full names to corpora in memory. `report` is told what happened since it was last told, as
    {"events": [{"event": "steps" | "epoch" | "trained" | "reused" | "ended", ...}]}, and the last time, unless an error
    is raised, with "done": True. The networks of the stages `keep_weights` go to the store, too. `check` is called with
    whether a commit is next, and raises SupersededError to stop the trial. On another error the stages that failed are
    noted in the store, and it is raised when the chains that can go on have come to their ends.
    """
    began = time.time()
    settle(threads)
    device = torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")
    cap_memory(gpu)
    settings = [chain.last for chain in bundle.chains]
    corpus = corpora[settings[0].corpus].thinned(settings[0].training.every)
    done = False
    within = dict.fromkeys(stage.key for stage in bundle.stages[:stages])
    reports = _Reports(report, last_key=next(reversed(within)))
    memories = [StoreMemory(store, chain, corpus, device, reports, gpu, keep_weights, check) for chain in bundle.chains]

    def report_epoch(number: int, step: Step, epoch: Epoch) -> None:
        memories[number].report_epoch(step, epoch)

    def report_fewer(at_once: int) -> None:
        reports({"event": "fewer_at_once", "at_once": at_once, "gpu": gpu})

    def report_resumed(number: int, step: Step, under: dict[str, tuple[str, str]]) -> None:
        reports({"event": "resumed_elsewhere", "key": memories[number].current.key, "under": under})

    def report_batches(number: int, step: Step, done: int, of: int) -> None:
        if reports.due:
            key = memories[number].current.key
            reports({"event": "steps", "iteration": step.iteration, "key": key, "done": done, "of": of})

    at_once = at_once or len(settings)
    company = Company(device, at_once, report_epoch, report_fewer, report_resumed, checkpoint_seconds, report_batches)
    steps = [sum(stage.key in within for stage in chain.stages) for chain in bundle.chains]
    try:
        failures = company.run(corpus, settings, memories, steps)
    except (MissingInputsError, SupersededError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            open_one = next((memory.current for memory in memories if memory.is_open), memories[0].current)
            raise OutOfMemory(open_one, describe_error(error)) from error
        for memory in memories:
            memory.note_failure(error)
        raise
    else:
        failed = [(memory, failure) for memory, failure in zip(memories, failures, strict=True) if failure is not None]
        for memory, failure in failed:
            memory.note_failure(failure)
        for _, failure in failed:
            raise failure
        done = True
    finally:
        memories.clear()
        del corpus, company
        give_memory_back()
        reports.end({"event": "ended", "began": began, "seconds": time.time() - began}, done)


class _Reports:
    """A trial's reports, sent together where nobody waits for them: each costs the launch some milliseconds."""

    def __init__(self, send: Report, last_key: str) -> None:
        self._send = send
        self._last_key = last_key
        self._waiting: list[dict[str, Any]] = []
        self._sent = float("-inf")

    @property
    def due(self) -> bool:
        """Whether it is time to send what waits: at once the first time."""
        return time.monotonic() - self._sent >= SECONDS_BETWEEN_REPORTS

    def __call__(self, event: dict[str, Any]) -> None:
        self._waiting.append(event)
        others_wait = event["event"] == "trained" and event["key"] != self._last_key
        if self.due or others_wait:
            self._flush()

    def end(self, event: dict[str, Any], done: bool) -> None:
        """Send the last report. With `done`, Tune ends the trial without asking for more, which would take it as long
        as the report did."""
        self._waiting.append(event)
        self._flush({"done": True} if done else {})

    def _flush(self, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        events, self._waiting = self._waiting, []
        self._sent = time.monotonic()
        self._send({"events": events, **more})


class StoreMemory:
    """A chain's memory in the store (`dsl.chain.ChainMemory`)."""

    def __init__(
        self,
        store: Store,
        chain: ChainSpec,
        corpus: SegmentCorpus,
        device: torch.device,
        report: Report,
        gpu: float,
        keep_weights: Collection[str],
        check: Callable[[bool], None],
    ) -> None:
        self._store = store
        self._chain = chain
        self._corpus = corpus
        self._device = device
        self._report = report
        self._gpu = gpu
        self._keep_weights = keep_weights
        self._check = check
        self.current: StageSpec = chain.stages[0]
        self.is_open = False  # whether the current one was asked for and is still to be done

    def key(self, step: Step) -> Hashable:
        return self._chain.last.at(step.iteration, step.inner_fold).key

    def load(self, step: Step) -> np.ndarray | None:
        self.current = self._chain.last.at(step.iteration, step.inner_fold)
        found = self._read(self.current)
        self.is_open = found is None
        if found is not None:
            self._report({"event": "reused", "iteration": step.iteration, "key": self.current.key})
        return found

    def out_of_fold(self, iteration: int) -> np.ndarray | None:
        q = None
        for stage in self._chain.last.at(iteration).out_of_fold:
            predictions = self._store.read_predictions(stage.key)
            if predictions is None:
                return None
            q = np.full_like(predictions.q, np.nan) if q is None else q
            q[predictions.test] = predictions.q[predictions.test]
        return q

    def save(self, step: Step, result: StageResult) -> None:
        corpus, stage = self._corpus, self.current
        there = ~np.isnan(result.q).any(axis=1)
        predictions = Predictions(corpus.utterance[there], corpus.segment[there], result.test[there], result.q[there])
        facts = stage_facts(stage, corpus, result, self._device, self._gpu)
        weights = _safetensors(stage, corpus, result) if stage.key in self._keep_weights else None
        self._check(True)
        said = {"iteration": step.iteration, "key": stage.key, "seconds": result.seconds}
        stands = self._store.commit(stage, predictions, facts, weights)
        if self._device.type == "cuda" and result.recorded.startswith("no: "):
            self._report({"event": "not_recorded", "cause": result.recorded.removeprefix("no: ")})
        self.is_open = False
        self._report({"event": "trained" if stands else "reused", **said, "finished": time.time()})

    def note_failure(self, error: BaseException) -> None:
        """Note in the store why the current stage could not be trained, unless it was."""
        if self.is_open:
            self._store.record_failure(self.current.key, describe_error(error))

    def checkpoint(self, step: Step) -> Checkpoint:
        return StoredCheckpoint(self._store, self.current.key)

    def report_epoch(self, step: Step, epoch: Epoch) -> None:
        self._check(False)
        self._report({"event": "epoch", "iteration": step.iteration, "key": self.current.key, **asdict(epoch)})

    def _read(self, stage: StageSpec) -> np.ndarray | None:
        """The predictions of a stage for all segments; NaN where it has none."""
        predictions = self._store.read_predictions(stage.key)
        if predictions is None:
            return None
        q = np.full((len(self._corpus), predictions.q.shape[1]), np.nan, dtype=np.float32)
        own = np.isin(self._corpus.utterance, predictions.utterance)
        if own.sum() != len(predictions.q):
            raise StoreError(
                f"stage {stage.key} in store {self._store.uri} has predictions that are not of its corpus's segments; "
                "find and remove such with: ser-sweep store verify --repair"
            )
        q[own] = predictions.q
        return q


class StoredCheckpoint:
    """A stage's epoch checkpoint in the store (`dsl.training.Checkpoint`)."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key

    def read(self) -> bytes | None:
        return self._store.read_checkpoint(self._key)

    def write(self, content: bytes) -> None:
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
