"""The state of one training, and how it goes through an epoch: Adam, exponential decay, best weights (§VIII-A)."""

import contextlib
import io
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from inspect import unwrap

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from data_prep.arrays import Ints
from dsl.acceleration.layers import autocast_to, laid_out, use_cpu_layers, use_gpu_layers
from dsl.acceleration.recording import RecordedStep, recorder_for
from dsl.building import batch_norms, built
from dsl.process import bits_depend_on
from dsl.segments import Segments
from dsl.settings import Layout, TrainingSettings

EVALUATION_BATCH = 1024
MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. Losses are mean cross-entropies in nats; those of validation are None where there is no
    validation part. `rate` is training segments a second, of all networks that are trained together."""

    number: int
    loss: float
    validation_loss: float | None
    validation_accuracy: float | None
    rate: float


def kept_epoch(history: Sequence[Epoch], settings: TrainingSettings) -> Epoch:
    """The epoch whose weights a training keeps: with early stopping the best one, and without it, or without
    `restore_best_weights`, the last."""
    return best_epoch(history, settings) if settings.restore_best_weights else history[-1]


def best_epoch(history: Sequence[Epoch], settings: TrainingSettings) -> Epoch:
    """The first epoch of the lowest validation loss, which early stopping counts from; the last without it."""
    known = [(epoch.validation_loss, epoch.number) for epoch in history if epoch.validation_loss is not None]
    return history[min(known)[1] if settings.early_stopping else -1]


def decayed(settings: TrainingSettings, epochs: float) -> float:
    """The learning rate after so many epochs, where it decays continuously: as TensorFlow's ExponentialDecay."""
    return settings.learning_rate * math.pow(settings.decay, epochs / settings.decay_epochs)


class Adam(torch.optim.Adam):
    """torch's, without what its methods are wrapped in for torch.compile, which is not used here: to import that takes
    about as long as to import torch."""

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


@dataclass(frozen=True)
class TrainStep:
    """One step of the optimiser on a batch, with all that it reads and changes: nothing is created between steps.

    `target` is float32 [S, K] (Eq. 5). `total_loss`, float64 [], adds up the loss of each segment that was learnt from.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    segments: Segments
    target: torch.Tensor
    total_loss: torch.Tensor
    settings: TrainingSettings

    def __call__(self, index: torch.Tensor) -> None:
        """Learn from segments `index` [n]."""
        with autocast_to(self.settings.precision, self.network, self.target.device):
            logits = self.network(self.segments.batch(index, self.settings.layout))
        loss = functional.cross_entropy(logits.float(), self.target[index])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.total_loss.add_(loss.detach() * len(index))

    def changed(self) -> list[torch.Tensor]:
        """All tensors that a step changes, once there was one: the optimiser makes its moments in the first."""
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        weights = (weight.detach() for weight in self.network.parameters())
        return [*weights, *self.network.buffers(), *moments, self.total_loss]

    def recorded(self) -> RecordedStep:
        """The step, recorded where the device can. It refers to this object and not the other way round: without a
        cycle, the memory of a training is freed with the last reference to it, not when Python's collector runs."""
        shapes = tuple((name, value.shape) for name, value in self.network.state_dict().items())
        momenta = tuple(norm.momentum for norm in batch_norms(self.network))
        size = self.settings.batch_size
        kind = (shapes, momenta, size, self.settings.precision, self.settings.layout, self.segments.shape)
        return RecordedStep(self, self.changed, size, kind, recorder_for(self.target.device))


class TrainingRun:
    """The state of one training: network, optimiser, history, best weights. What is made of the backbone's network is
    told by `dsl.building`.

    It learns `target`, float32 [S, K], of `segments`, on the device where these lie. On a GPU its work has a stream of
    its own, so that several runs can be at work side by side.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        settings: TrainingSettings,
        seed: int,
        segments: Segments,
        target: torch.Tensor,
    ) -> None:
        device = target.device
        seed_device(seed, device)
        self.settings = settings
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._segments = segments
        network = built(build, settings)
        network = use_cpu_layers(network) if device.type == "cpu" else use_gpu_layers(network)
        with self.on_stream():
            self.network = laid_out(network.to(device), MEMORY_FORMATS[settings.layout])
            self.optimizer = self._new_optimizer()
            self._total_loss = torch.zeros((), dtype=torch.float64, device=device)
        self._step = TrainStep(self.network, self.optimizer, segments, target, self._total_loss, settings).recorded()
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, settings.decay_epochs, settings.decay)
        self.history: list[Epoch] = []
        self.best = 0
        self.resumed_under: dict[str, tuple[str, str]] = {}  # what bits depend on: as it was, and as it is
        self._best_weights: dict[str, torch.Tensor] = {}  # none where they are the network's own

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or as many as `patience` without a better one."""
        waited = len(self.history) - 1 - self.best
        return len(self.history) >= self.settings.epochs or waited >= self.settings.patience

    @property
    def _keeps_best(self) -> bool:
        return self.settings.early_stopping and self.settings.restore_best_weights

    @property
    def recorded(self) -> str:
        """Whether steps are replayed: `exact`, to the same bits, or `no: CAUSE`."""
        return self._step.verdict

    def on_stream(self) -> contextlib.AbstractContextManager[object]:
        """A block whose work on a GPU comes after what this run did, and all else that was begun before the block."""
        if self._stream is None:
            return contextlib.nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        return torch.cuda.stream(self._stream)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        on_gpu = self._device.type == "cuda"
        # A recorded step reads the learning rate anew each time if it lies on the device.
        rate = torch.tensor(self.settings.learning_rate, device=self._device) if on_gpu else self.settings.learning_rate
        # TensorFlow's default epsilon (§VIII-A), not PyTorch's.
        return Adam(self.network.parameters(), rate, eps=1e-7, fused=True, capturable=on_gpu)

    def train_epoch(self, training: Ints, seed: int) -> float:
        """One pass over segments `training` [n] in the order that `seed` gives; returns the mean loss."""
        for _ in self.batches(training, seed):
            pass
        return self.end_epoch(len(training))

    def batches(self, training: Ints, seed: int) -> Iterator[None]:
        """The same as a step for each time the next is asked for; `end_epoch` is to follow the last one."""
        with self.on_stream():
            self.network.train()
            self._total_loss.zero_()
            self._step.begin_epoch()
            batches = shuffled_batches(training, self.settings.batch_size, seed, self._device)
        for number, index in enumerate(batches):
            with self._stream_alone():
                if not self.settings.staircase:
                    self._set_rate(decayed(self.settings, self.scheduler.last_epoch + number / len(batches)))
                self._step(index)
            yield

    def _set_rate(self, rate: float) -> None:
        """Let the next step have this learning rate, also one that is replayed: that finds it in its place."""
        (group,) = self.optimizer.param_groups
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def _stream_alone(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def end_epoch(self, segments: int) -> float:
        """Let the learning rate decay in a staircase; returns the mean loss of an epoch of so many segments."""
        with self.on_stream():
            loss = self._total_loss.item() / segments  # waits for the device
            self.optimizer.zero_grad(set_to_none=True)
            self.scheduler.step()
        return loss

    def wait(self) -> None:
        """Until the device has done what the run asked of it."""
        if self._stream is not None:
            self._stream.synchronize()

    def predict(self, index: torch.Tensor) -> torch.Tensor:
        """Class probabilities q (Eq. 1) of segments `index` [n]: float32 [n, K] on the device."""
        return predict(self.network, self._segments, index, self.settings.layout)

    def finish_epoch(self, epoch: Epoch) -> None:
        """Take note of an epoch, and keep its weights where early stopping finds them the best."""
        self.history.append(epoch)
        self.best = best_epoch(self.history, self.settings).number
        if self._keeps_best and self.best == epoch.number:
            with self.on_stream():
                self._best_weights = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def result(self) -> tuple[nn.Module, list[Epoch]]:
        """The network as of the epoch that is kept (`kept_epoch`), and the history."""
        with self.on_stream():
            if self._best_weights:
                self.network.load_state_dict(self._best_weights)
        self.wait()
        return self.network, self.history

    def state(self) -> bytes:
        """All of the run. The best weights are left out where they are the newest."""
        buffer = io.BytesIO()
        newest = self.best == len(self.history) - 1
        with self.on_stream():
            state = {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "history": [asdict(epoch) for epoch in self.history],
                "best": self.best,
                "best_weights": {} if newest else self._best_weights,
                "under": bits_depend_on(self._device),
            }
            torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, content: bytes) -> None:
        """Take up the state `content`. Raises whatever one that is none comes to."""
        with self.on_stream():
            state = torch.load(io.BytesIO(content), map_location=self._device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            best = state["best_weights"] or {name: value.clone() for name, value in self.network.state_dict().items()}
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best = state["best"]
        self._best_weights = best if self._keeps_best else {}
        now = bits_depend_on(self._device)
        began = state.get("under", now).items()
        self.resumed_under = {name: (was, now.get(name, "none")) for name, was in began if was != now.get(name)}


def resumed(begin: Callable[[], TrainingRun], content: bytes | None) -> TrainingRun:
    """The run that `begin` makes, in the state `content`; without one, or with one that is none, it begins anew."""
    run = begin()
    if content is None:
        return run
    try:
        run.restore(content)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError):
        return begin()
    return run


def side_by_side(runs: Sequence[TrainingRun], epochs: Sequence[Iterator[None]]) -> None:
    """Go through an epoch of each run (`TrainingRun.batches`): on a GPU a batch of each in turn, so that the device has
    work of all of them at a time; on a CPU, and for runs that draw random numbers, one after the other."""
    under_way = []
    for run, epoch in zip(runs, epochs, strict=True):
        begun = next(epoch, epoch) is not epoch  # a run knows from its first batch whether it draws
        if begun and run._stream is not None and not run._step.draws:
            under_way.append(epoch)
        else:
            for _ in epoch:
                pass
    while under_way:
        under_way = [epoch for epoch in under_way if next(epoch, epoch) is not epoch]


@torch.inference_mode()
def predict(
    network: nn.Module, segments: Segments, index: torch.Tensor, layout: Layout = "channels_last"
) -> torch.Tensor:
    """Class probabilities q (Eq. 1) of segments `index` [n]: float32 [n, K] on the device."""
    network.eval()
    parts = [functional.softmax(network(segments.batch(part, layout)), dim=1) for part in index.split(EVALUATION_BATCH)]
    return torch.cat(parts)


def seed_device(seed: int, device: torch.device) -> None:
    """Seed what the device draws from. torch.manual_seed would note, with a stack trace each time and for good, to seed
    the kinds of device that are not in use here."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def shuffled_batches(index: Ints, size: int, seed: int, device: torch.device) -> list[torch.Tensor]:
    """Segments `index` in the order that `seed` gives, cut into batches, and dropout seeded by the same number.

    A last batch of a single segment joins the one before: batch norm needs two.
    """
    seed_device(seed, device)  # the state to resume from is the epoch's number, from which its seed comes
    order = torch.from_numpy(np.random.default_rng(seed).permutation(index)).to(device)
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
