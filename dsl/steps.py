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
from dsl.recording import repeated
from dsl.segments import Segments
from dsl.settings import Precision, TrainingSettings

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


class Learning:
    """How batches are learnt from, one or several networks at a time: a step of their optimiser for each batch.

    `losses_of` gives the mean loss of a batch, or that of each of `networks` networks, as [networks]; `buffers` are
    what else a network changes as it learns.
    """

    def __init__(
        self,
        losses_of: Callable[[torch.Tensor], torch.Tensor],
        optimizer: torch.optim.Optimizer,
        buffers: Iterable[torch.Tensor],
        settings: TrainingSettings,
        device: torch.device,
        networks: int | None = None,
    ) -> None:
        shape = () if networks is None else (networks,)
        total = self._total = torch.zeros(shape, dtype=torch.float64, device=device)
        buffers = list(buffers)

        def learn(index: torch.Tensor) -> None:
            losses = losses_of(index)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            total.add_(losses.detach() * len(index))

        def changed() -> list[list[torch.Tensor]]:
            weights = [weight.detach() for group in optimizer.param_groups for weight in group["params"]]
            moments = [value for state in optimizer.state.values() for value in state.values()]
            return [weights, buffers, moments, [total]]

        # Functions of its own, not methods: what a training holds is large, and to go with its last reference.
        self._step = repeated(learn, changed, settings.batch_size, device)

    def go_through(self, batches: Iterable[torch.Tensor]) -> torch.Tensor:
        """Learn from every batch; the mean loss of all segments."""
        self._total.zero_()
        segments = 0
        for index in batches:
            self._step(index)
            segments += len(index)
        return self._total / segments


class TrainingRun:
    """The state of one training: network, optimiser, history, best weights."""

    def __init__(
        self, build: Callable[[], nn.Module], settings: TrainingSettings, seed: int, device: torch.device
    ) -> None:
        seed_device(seed, device)
        self.settings = settings
        self._device = device
        self._learning: tuple[Segments, torch.Tensor, Learning] | None = None
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
        on_gpu = self._device.type == "cuda"
        # A recorded step reads the learning rate anew each time if it lies on the device.
        rate = torch.tensor(self.settings.learning_rate, device=self._device) if on_gpu else self.settings.learning_rate
        # TensorFlow's default epsilon (§VIII-A), not PyTorch's.
        return torch.optim.Adam(weights, rate, eps=1e-7, fused=True, capturable=on_gpu)

    def train_epoch(self, segments: Segments, training: np.ndarray, goal: torch.Tensor, seed: int) -> float:
        """One pass over segments `training` [n] in the order that `seed` gives; returns the mean loss."""
        self.network.train()
        batches = shuffled_batches(training, self.settings.batch_size, seed, goal.device)
        loss = self._learning_of(segments, goal).go_through(batches).item()
        self.end_epoch()
        return loss

    def _learning_of(self, segments: Segments, goal: torch.Tensor) -> Learning:
        """The same from epoch to epoch, so that a step has to be recorded but once."""
        if self._learning is None or self._learning[0] is not segments or self._learning[1] is not goal:
            network, settings, device = self.network, self.settings, self._device

            def loss_of(index: torch.Tensor) -> torch.Tensor:
                with reduced(settings.precision, device):
                    said = network(segments.batch(index))
                return functional.cross_entropy(said.float(), goal[index])

            learning = Learning(loss_of, self.optimizer, network.buffers(), settings, device)
            self._learning = segments, goal, learning
        return self._learning[2]

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


def reduced(precision: Precision, device: torch.device) -> torch.autocast:
    """A block in which convolutions and products are computed with `precision` (torch's automatic mixed precision)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


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
