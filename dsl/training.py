"""Fit one network (§VIII-A): Adam, exponential decay, early stopping, best weights; resumable to the same bits.

The corpus's frames stay on the device and segments are gathered from them by index: there is no loader.
"""

import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl.settings import TrainingSettings
from dsl.splits import derived_seed

EVALUATION_BATCH = 1024


class TrainingDivergedError(UserError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. Losses are mean cross-entropies in nats; `rate` is training segments a second."""

    number: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    rate: float


class Checkpoint(Protocol):
    """Where the state of an unfinished training is kept between epochs."""

    def read(self) -> bytes | None:
        """The state last written; None where there is none, or only a damaged one."""
        ...

    def write(self, content: bytes) -> None: ...


class Segments:
    """A corpus's segments on a device, standardised per Mel band."""

    def __init__(self, corpus: SegmentCorpus, mean: np.ndarray, deviation: np.ndarray, device: torch.device) -> None:
        self.statistics = mean, deviation
        frames = (corpus.frames - mean) / deviation
        self.frames = torch.from_numpy(frames.astype(np.float32)).to(device)
        self.start = torch.from_numpy(corpus.start).to(device)
        self._offset = torch.arange(corpus.segment_frames, device=device)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        """Segments `index` [n] as network input [n, 1, mels, frames], channels last."""
        windows = self.frames[self.start[index, None] + self._offset]
        return windows.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)


def band_statistics(corpus: SegmentCorpus, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each Mel band over the frames of segments `index`: two float64 [mels]."""
    used = np.zeros(len(corpus.frames), dtype=bool)
    used[corpus.start[index, None] + np.arange(corpus.segment_frames)] = True
    frames = corpus.frames[used].astype(np.float64)
    return frames.mean(axis=0), np.maximum(frames.std(axis=0), 1e-6)


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
) -> tuple[nn.Module, list[Epoch]]:
    """Train a fresh network on soft targets (Eq. 5) until validation stops improving; returns it at its best epoch.

    Without early stopping, after all epochs and as it is then.

    `training` and `validation` are segment indices; `targets` float32 [S, K] has a row for every segment. A training
    whose checkpoint is there goes on from it and ends with the same bits as one that was never interrupted.
    Raises TrainingDivergedError.
    """
    device = segments.frames.device
    run = TrainingRun(build, settings, seed, device)
    run.restore(checkpoint.read())
    goal = torch.from_numpy(targets).to(device)
    held_out = torch.from_numpy(validation).to(device)
    while not run.finished:
        number = len(run.history)
        begun = time.perf_counter()
        loss = run.train_epoch(segments, training, goal, derived_seed(seed, number))
        rate = len(training) / (time.perf_counter() - begun)
        q = predict(run.network, segments, held_out)
        epoch = Epoch(number, loss, *_validation(q, goal[held_out]), rate)
        if not np.isfinite([epoch.loss, epoch.validation_loss]).all():
            raise TrainingDivergedError(
                f"loss became NaN or infinite in epoch {number + 1} (training {epoch.loss}, validation "
                f"{epoch.validation_loss}); lower training.learning_rate (now {settings.learning_rate})"
            )
        run.finish_epoch(epoch)
        if not run.finished:
            checkpoint.write(run.state())
        on_epoch(epoch)
    run.network.load_state_dict(run.best_weights)
    return run.network, run.history


@torch.inference_mode()
def predict(network: nn.Module, segments: Segments, index: torch.Tensor) -> torch.Tensor:
    """Class probabilities q (Eq. 1) of segments `index` [n]: float32 [n, K] on the device."""
    network.eval()
    parts = [functional.softmax(network(segments.batch(part)), dim=1) for part in index.split(EVALUATION_BATCH)]
    return torch.cat(parts)


def _validation(q: torch.Tensor, goal: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy, and the share of segments whose most likely class is the target's."""
    loss = -(goal * q.clamp_min(1e-30).log()).sum(dim=1).mean()
    accuracy = (q.argmax(dim=1) == goal.argmax(dim=1)).float().mean()
    return loss.item(), accuracy.item()


class TrainingRun:
    """The state of one training: network, optimiser, history, best weights."""

    def __init__(
        self, build: Callable[[], nn.Module], settings: TrainingSettings, seed: int, device: torch.device
    ) -> None:
        _seed(seed, device)
        self.settings = settings
        self.network = build().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # TensorFlow's default epsilon (§VIII-A), not PyTorch's.
        self.optimizer = torch.optim.Adam(self.network.parameters(), settings.learning_rate, eps=1e-7, fused=True)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, settings.decay_epochs, settings.decay)
        self.history: list[Epoch] = []
        self.best = 0
        self.best_weights: dict[str, torch.Tensor] = {}

    @property
    def finished(self) -> bool:
        waited = len(self.history) - 1 - self.best
        return len(self.history) >= self.settings.epochs or waited >= self.settings.patience

    def train_epoch(self, segments: Segments, training: np.ndarray, goal: torch.Tensor, seed: int) -> float:
        """One pass over `training` in the order that `seed` gives; returns the mean loss."""
        _seed(seed, goal.device)  # dropout, where a backbone has it: the state to resume from is the epoch's number
        order = torch.from_numpy(np.random.default_rng(seed).permutation(training)).to(goal.device)
        total = torch.zeros((), dtype=torch.float64, device=goal.device)
        self.network.train()
        for index in _batches(order, self.settings.batch_size):
            loss = functional.cross_entropy(self.network(segments.batch(index)), goal[index])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(index)
        self.scheduler.step()
        return total.item() / len(order)

    def finish_epoch(self, epoch: Epoch) -> None:
        self.history.append(epoch)
        better = epoch.number == 0 or epoch.validation_loss < self.history[self.best].validation_loss
        if better or not self.settings.early_stopping:
            self.best = epoch.number
            self.best_weights = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def state(self) -> bytes:
        buffer = io.BytesIO()
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
            "best": self.best,
            "best_weights": self.best_weights,
        }
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, content: bytes | None) -> None:
        """Take up the state `content`; a training without one begins anew."""
        if content is None:
            return
        state = torch.load(io.BytesIO(content), map_location=next(self.network.parameters()).device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best, self.best_weights = state["best"], state["best_weights"]


def _seed(seed: int, device: torch.device) -> None:
    """Seed what the device draws from. torch.manual_seed would note, with a stack trace each time and for good, to seed
    the kinds of device that are not in use here."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _batches(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    """`order` cut into batches; a last one of a single segment joins the one before: batch norm needs two."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
