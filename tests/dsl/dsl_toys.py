"""A corpus, settings and memories small enough to train on in a test."""

from collections.abc import Callable, Hashable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from hypothesis import settings

from data_prep.shards import SegmentCorpus
from dsl.chain import ChainMemory, StageResult
from dsl.settings import Step, TrainingSettings
from dsl.steps import Epoch

CPU = torch.device("cpu")
CLASSES = ("anger", "joy", "neutral")
SETTINGS = TrainingSettings(epochs=4, batch_size=16, learning_rate=1e-2)

# Of three classes by six speakers, in five sessions, who say the same four texts.
UTTERANCES = pd.DataFrame(
    [
        (label, f"s{speaker}", f"t{text}", f"d{(4 * speaker + text) % 5}")
        for label in range(3)
        for speaker in range(6)
        for text in range(4)
    ],
    columns=["label", "speaker", "text", "session"],
)

light = settings(max_examples=40, deadline=None)  # for property tests: arrays are slow to draw on a busy machine


class KillError(Exception):
    """The kill that a test simulates."""


def toy_corpus(per_class: int = 6, seed: int = 0) -> SegmentCorpus:
    """Utterances of 3 to 7 overlapping segments, 8 frames x 8 Mel bands; each class is louder in bands of its own."""
    rng = np.random.default_rng(seed)
    label = np.arange(per_class * len(CLASSES)) % len(CLASSES)
    counts = rng.integers(3, 8, len(label))
    length = counts + 7
    frames = rng.normal(5, 2, (length.sum(), 8))
    loud = np.arange(8) // 3 == np.repeat(label, length)[:, None]
    segment = np.concatenate([np.arange(count) for count in counts])
    return SegmentCorpus(
        name="toy",
        classes=CLASSES,
        utterances=pd.DataFrame(
            {
                "id": [f"u{number:02}" for number in range(len(label))],
                "speaker": "s",
                "text": "t",
                "emotion": [CLASSES[k] for k in label],
                "label": label,
            }
        ),
        frames=(frames + 3 * loud).astype(np.float32),
        utterance=np.repeat(np.arange(len(label)), counts),
        segment=segment,
        start=np.repeat(np.cumsum(length) - length, counts) + segment,
        segment_frames=8,
    )


class MemoryCheckpoint:
    """A checkpoint in memory, which can be told to fail at the `fail_at`-th write."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.writes = 0
        self.fail_at: int | None = None

    def read(self) -> bytes | None:
        return self.content

    def write(self, content: bytes) -> None:
        if self.writes == self.fail_at:
            raise KillError
        self.writes += 1
        self.content = content


class MemoryStages(ChainMemory):
    """A chain's memory in memory: what `saved` it, in order, the predictions it knows, and those of other folds. `hear`
    is told of epochs."""

    def __init__(self, known: dict[int, np.ndarray] | None = None, others: dict[int, np.ndarray] | None = None) -> None:
        self._known = {Step(iteration): q for iteration, q in (known or {}).items()}
        self._others = others or {}
        self._checkpoints: dict[Step, MemoryCheckpoint] = {}
        self.trained: dict[Step, StageResult] = {}
        self.hear: Callable[[Step, Epoch], None] = lambda step, epoch: None

    @property
    def saved(self) -> dict[int, StageResult]:
        """What was trained on the fold's whole training part, by iteration."""
        return {step.iteration: result for step, result in self.trained.items() if step.inner_fold is None}

    @property
    def q(self) -> dict[int, np.ndarray]:
        """Predictions by iteration."""
        known = {step.iteration: q for step, q in self._known.items() if step.inner_fold is None}
        return known | {iteration: result.q for iteration, result in self.saved.items()}

    def key(self, step: Step) -> Hashable:
        return id(self), step  # no other memory's training is the same

    def load(self, step: Step) -> np.ndarray | None:
        return self.trained[step].q if step in self.trained else self._known.get(step)

    def out_of_fold(self, iteration: int) -> np.ndarray | None:
        return self._others.get(iteration)

    def save(self, step: Step, result: StageResult) -> None:
        self.trained[step] = result

    def checkpoint(self, step: Step) -> MemoryCheckpoint:
        return self._checkpoints.setdefault(step, MemoryCheckpoint())

    def on_epoch(self, step: Step, epoch: Epoch) -> None:
        self.hear(step, epoch)


def timeless(history: list[Epoch]) -> list[Epoch]:
    """`history` without what depends on the clock."""
    return [replace(epoch, rate=0) for epoch in history]


def distributions(rows: int, classes: int, seed: int = 0) -> np.ndarray:
    """Random predictions, float32 [rows, classes]."""
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows).astype(np.float32)
