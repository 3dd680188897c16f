"""The state of one training, and how it goes through an epoch: Adam, exponential decay, best weights (§VIII-A)."""

import io
import pickle
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dsl.layers import suit_cpu
from dsl.segments import Segments
from dsl.settings import TrainingSettings

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. Losses are mean cross-entropies in nats; `rate` is training segments a second,
    of all networks that are trained together."""

    number: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    rate: float


class TrainingRun:
    """The state of one training: network, optimiser, history, best weights."""

    def __init__(
        self, build: Callable[[], nn.Module], settings: TrainingSettings, seed: int, device: torch.device
    ) -> None:
        seed_device(seed, device)
        self.settings = settings
        network = suit_cpu(build()) if device.type == "cpu" else build().to(device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = self.new_optimizer(self.network.parameters())
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, settings.decay_epochs, settings.decay)
        self.history: list[Epoch] = []
        self.best = 0
        self.best_weights: dict[str, torch.Tensor] = {}

    @property
    def finished(self) -> bool:
        waited = len(self.history) - 1 - self.best
        return len(self.history) >= self.settings.epochs or waited >= self.settings.patience

    def new_optimizer(self, weights: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        # TensorFlow's default epsilon (§VIII-A), not PyTorch's.
        return torch.optim.Adam(weights, self.settings.learning_rate, eps=1e-7, fused=True)

    def train_epoch(self, segments: Segments, training: np.ndarray, goal: torch.Tensor, seed: int) -> float:
        """One pass over segments `training` [n] in the order that `seed` gives; returns the mean loss."""
        total = torch.zeros((), dtype=torch.float64, device=goal.device)
        self.network.train()
        for index in shuffled_batches(training, self.settings.batch_size, seed, goal.device):
            loss = functional.cross_entropy(self.network(segments.batch(index)), goal[index])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(index)
        self.end_epoch()
        return total.item() / len(training)

    def end_epoch(self) -> None:
        """Let the learning rate decay."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()

    def finish_epoch(self, epoch: Epoch) -> None:
        self.history.append(epoch)
        better = epoch.number == 0 or epoch.validation_loss < self.history[self.best].validation_loss
        if better or not self.settings.early_stopping:
            self.best = epoch.number
            self.best_weights = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def result(self) -> tuple[nn.Module, list[Epoch]]:
        """The network at its best epoch, and the history."""
        self.network.load_state_dict(self.best_weights)
        return self.network, self.history

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

    @classmethod
    def resumed(
        cls,
        build: Callable[[], nn.Module],
        settings: TrainingSettings,
        seed: int,
        device: torch.device,
        content: bytes | None,
    ) -> "TrainingRun":
        """The run that has the state `content`; a training without one, or with one that is none, begins anew."""
        run = cls(build, settings, seed, device)
        if content is None:
            return run
        try:
            run.restore(content)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError):
            return cls(build, settings, seed, device)
        return run

    def restore(self, content: bytes) -> None:
        """Take up the state `content`. Raises whatever one that is none comes to."""
        state = torch.load(io.BytesIO(content), map_location=next(self.network.parameters()).device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best, self.best_weights = state["best"], state["best_weights"]


@torch.inference_mode()
def predict(network: nn.Module, segments: Segments, index: torch.Tensor) -> torch.Tensor:
    """Class probabilities q (Eq. 1) of segments `index` [n]: float32 [n, K] on the device."""
    network.eval()
    parts = [functional.softmax(network(segments.batch(part)), dim=1) for part in index.split(EVALUATION_BATCH)]
    return torch.cat(parts)


def seed_device(seed: int, device: torch.device) -> None:
    """Seed what the device draws from. torch.manual_seed would note, with a stack trace each time and for good, to seed
    the kinds of device that are not in use here."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def shuffled_batches(index: np.ndarray, size: int, seed: int, device: torch.device) -> list[torch.Tensor]:
    """Segments `index` in the order that `seed` gives, cut into batches, and dropout seeded by the same number.

    A last batch of a single segment joins the one before: batch norm needs two.
    """
    seed_device(seed, device)  # the state to resume from is the epoch's number, from which its seed comes
    order = torch.from_numpy(np.random.default_rng(seed).permutation(index)).to(device)
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
