"""Fit networks (§VIII-A): Adam, exponential decay, early stopping, best weights; resumable to the same bits."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import nn

from data_prep.arrays import Floats, Ints
from data_prep.errors import UserError
from dsl.segments import Segments
from dsl.settings import TrainingSettings
from dsl.splits import derived_seed
from dsl.steps import Epoch, TrainingRun, resumed, side_by_side

CHECKPOINT_SECONDS = 60.0


class TrainingDivergedError(UserError):
    """The loss became NaN or infinite."""


class Checkpoint(Protocol):
    """Where the state of an unfinished training is kept between epochs."""

    def read(self) -> bytes | None:
        """The state last written; None where there is none, or only a damaged one."""
        ...

    def write(self, content: bytes) -> None:
        """Keep a state in the place of the one before."""


@dataclass(frozen=True)
class Lesson:
    """What a fresh network is to learn: `training` and `validation` are segment indices, of which the latter may be
    none without early stopping; `targets` float32 [S, K] has a row for every segment (Eq. 5)."""

    build: Callable[[], nn.Module]
    segments: Segments
    training: Ints
    validation: Ints
    targets: Floats
    settings: TrainingSettings
    seed: int


@dataclass(eq=False)
class Training:
    """One training under way, epoch by epoch, until validation stops improving.

    One whose checkpoint is there goes on from it and ends with the same bits as one that was never interrupted. A
    checkpoint is written after an epoch that ends `checkpoint_seconds` or more after the last one. `on_batch` is told
    how many batches are done, of how many at most.
    """

    lesson: Lesson
    checkpoint: Checkpoint
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    on_batch: Callable[[int, int], None] = lambda done, of: None

    def __post_init__(self) -> None:
        lesson, device = self.lesson, self.lesson.segments.frames.device
        self._target = torch.from_numpy(lesson.targets).to(device)
        begin = partial(TrainingRun, lesson.build, lesson.settings, lesson.seed, lesson.segments, self._target)
        self.run = resumed(begin, self.checkpoint.read())
        self.resumed_at = len(self.run.history)
        self._held_out = torch.from_numpy(lesson.validation).to(device)
        self._kept = time.monotonic()

    def batches(self) -> Iterator[None]:
        """The next epoch: a batch is learnt from each time the next is asked for."""
        settings, epoch = self.lesson.settings, len(self.run.history)
        an_epoch = math.ceil(len(self.lesson.training) / settings.batch_size)
        batches = self.run.batches(self.lesson.training, derived_seed(self.lesson.seed, epoch))
        for number, batch in enumerate(batches, start=1):
            self.on_batch(epoch * an_epoch + number, settings.epochs * an_epoch)
            yield batch

    def end_epoch(self, rate: float) -> TrainingDivergedError | None:
        """Validate what the epoch came to; `rate` is as in Epoch. Returns why the training cannot go on, or None."""
        loss = self.run.end_epoch(len(self.lesson.training))
        # On the one stream that all trainings share: what evaluation takes of memory is kept for a stream.
        self.run.wait()
        epoch = Epoch(len(self.run.history), loss, *self._validate(), rate)
        losses = {"training": epoch.loss, "validation": epoch.validation_loss}
        known = {part: value for part, value in losses.items() if value is not None}
        if not np.isfinite(list(known.values())).all():
            found = ", ".join(f"{part} {value}" for part, value in known.items())
            return TrainingDivergedError(
                f"loss became NaN or infinite in epoch {epoch.number + 1} ({found}); lower training.learning_rate (now "
                f"{self.lesson.settings.learning_rate})"
            )
        self.run.finish_epoch(epoch)
        if not self.run.finished and time.monotonic() - self._kept >= self.checkpoint_seconds:
            self.checkpoint.write(self.run.state())
            self._kept = time.monotonic()
        self.on_epoch(epoch)
        return None

    def _validate(self) -> tuple[float | None, float | None]:
        """Loss and accuracy on the validation part; None where there is none."""
        if not len(self._held_out):
            return None, None
        return _validation(self.run.predict(self._held_out), self._target[self._held_out])


def train_an_epoch(trainings: Sequence[Training]) -> list[TrainingDivergedError | None]:
    """An epoch of each, side by side on a GPU, in turns on a CPU; why one cannot go on, where it cannot.

    Each comes to the bits that it comes to alone. Epochs, early stopping and checkpoints are its own, and one that
    diverges leaves the others as they are.
    """
    begun = time.perf_counter()
    side_by_side([one.run for one in trainings], [one.batches() for one in trainings])
    for one in trainings:
        one.run.wait()
    rate = sum(len(one.lesson.training) for one in trainings) / (time.perf_counter() - begun)
    return [one.end_epoch(rate) for one in trainings]


def _validation(q: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy, and the share of segments whose most likely class is the target's."""
    loss = -(target * q.clamp_min(1e-30).log()).sum(dim=1).mean()
    accuracy = (q.argmax(dim=1) == target.argmax(dim=1)).float().mean()
    return loss.item(), accuracy.item()
