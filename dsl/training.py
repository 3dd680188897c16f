"""Fit networks (§VIII-A): Adam, exponential decay, early stopping, best weights; resumable to the same bits."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from data_prep.errors import UserError
from dsl.fusion import Stack
from dsl.segments import Segments
from dsl.settings import TrainingSettings
from dsl.splits import derived_seed
from dsl.steps import Epoch, TrainingRun, predict

Fitted = tuple[nn.Module, list[Epoch]]  # a network, and how it came about


class TrainingDivergedError(UserError):
    """The loss became NaN or infinite."""


class Checkpoint(Protocol):
    """Where the state of an unfinished training is kept between epochs."""

    def read(self) -> bytes | None:
        """The state last written; None where there is none, or only a damaged one."""
        ...

    def write(self, content: bytes) -> None: ...


@dataclass(frozen=True)
class Learner:
    """What one of several trainings has for itself: targets float32 [S, K], its checkpoint, who hears of its epochs."""

    targets: np.ndarray
    checkpoint: Checkpoint
    on_epoch: Callable[[Epoch], None] = lambda epoch: None


def fit(
    build: Callable[[], nn.Module],
    segments: Segments,
    training: np.ndarray,
    validation: np.ndarray,
    targets: np.ndarray,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Checkpoint,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fitted:
    """Train a fresh network on soft targets (Eq. 5) until validation stops improving; returns it at its best epoch.

    Without early stopping, after all epochs and as it is then.

    `training` and `validation` are segment indices; `targets` float32 [S, K] has a row for every segment. A training
    whose checkpoint is there goes on from it and ends with the same bits as one that was never interrupted.
    Raises TrainingDivergedError.
    """
    learner = Learner(targets, checkpoint, on_epoch)
    (fitted,) = fit_together(build, segments, training, validation, [learner], settings, seed)
    if isinstance(fitted, TrainingDivergedError):
        raise fitted
    return fitted


def fit_together(
    build: Callable[[], nn.Module],
    segments: Segments,
    training: np.ndarray,
    validation: np.ndarray,
    learners: Sequence[Learner],
    settings: TrainingSettings,
    seed: int,
) -> list[Fitted | TrainingDivergedError]:
    """`fit` for several trainings that differ in nothing but their targets; those at the same epoch as one network.

    Each comes to what `fit` would make of it, within rounding. Epochs, early stopping and checkpoints are its own, and
    one that diverges leaves the others as they are.
    """
    device = segments.frames.device
    runs = [TrainingRun.resumed(build, settings, seed, device, learner.checkpoint.read()) for learner in learners]
    goals = [torch.from_numpy(learner.targets).to(device) for learner in learners]
    held_out = torch.from_numpy(validation).to(device)
    diverged: dict[int, TrainingDivergedError] = {}
    while unfinished := [n for n, run in enumerate(runs) if n not in diverged and not run.finished]:
        number = min(len(runs[n].history) for n in unfinished)
        together = [n for n in unfinished if len(runs[n].history) == number]
        learning = _Alone(runs[together[0]]) if len(together) == 1 else Stack([runs[n] for n in together])
        begun = time.perf_counter()
        losses = learning.train_epoch(segments, training, [goals[n] for n in together], derived_seed(seed, number))
        rate = len(together) * len(training) / (time.perf_counter() - begun)
        validated = learning.predict(segments, held_out)
        learning.give_back()
        for n, loss, q in zip(together, losses, validated, strict=True):
            epoch = Epoch(number, loss, *_validation(q, goals[n][held_out]), rate)
            if not np.isfinite([epoch.loss, epoch.validation_loss]).all():
                diverged[n] = TrainingDivergedError(
                    f"loss became NaN or infinite in epoch {number + 1} (training {epoch.loss}, validation "
                    f"{epoch.validation_loss}); lower training.learning_rate (now {settings.learning_rate})"
                )
                continue
            runs[n].finish_epoch(epoch)
            if not runs[n].finished:
                learners[n].checkpoint.write(runs[n].state())
            learners[n].on_epoch(epoch)
    return [diverged[n] if n in diverged else run.result() for n, run in enumerate(runs)]


class _Alone:
    """One run, as a stack of one."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run

    def train_epoch(
        self, segments: Segments, training: np.ndarray, goals: Sequence[torch.Tensor], seed: int
    ) -> list[float]:
        return [self._run.train_epoch(segments, training, goals[0], seed)]

    def predict(self, segments: Segments, index: torch.Tensor) -> list[torch.Tensor]:
        return [predict(self._run.network, segments, index)]

    def give_back(self) -> None:
        """The run is what was trained."""


def _validation(q: torch.Tensor, goal: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy, and the share of segments whose most likely class is the target's."""
    loss = -(goal * q.clamp_min(1e-30).log()).sum(dim=1).mean()
    accuracy = (q.argmax(dim=1) == goal.argmax(dim=1)).float().mean()
    return loss.item(), accuracy.item()
