"""A stand-in for a CUDA graph, as blind as one: it knows addresses and numbers, and nothing of Python.

It logs the operations of a step, each with the tensors that it was given, and repeats them on those. What a step
looked up in Python (a weight, a learning rate, a decision) stays as it was when the step was recorded. To record is not
to do: whatever the step changed is put back. A step that waits for the device cannot be recorded.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dsl import steps
from dsl.acceleration import recording
from dsl.acceleration.layers import use_gpu_layers
from dsl.acceleration.recording import Recorder
from dsl.steps import TrainingRun

Replay = Callable[[], None]
UNSAID = {"running_mean", "running_var"}  # what batch norm writes to although its schema does not say so
WAITS = {"_local_scalar_dense", "nonzero", "unique_dim", "_unique2", "masked_select", "equal", "is_nonzero"}


@dataclass(frozen=True)
class Operation:
    """One that was logged: what it was given, and what came of it."""

    called: torch._ops.OpOverload
    given: tuple[Any, ...]
    named: dict[str, Any]
    made: list[torch.Tensor]

    def repeat(self) -> None:
        """Do it again, into the same places."""
        if self.called.is_view:
            return  # an address
        for place, value in zip(self.made, _tensors(self.called(*self.given, **self.named)), strict=True):
            if place.data_ptr() != value.data_ptr():
                place.copy_(value)


class Log(TorchDispatchMode):
    """Logs operations, and keeps what they write over."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self._own: set[int] = set()  # places that the step itself made
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, called: Any, types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        name = called._schema.name.partition("::")[2]
        if name in WAITS or (
            name.startswith("index") and any(mask.dtype == torch.bool for mask in _tensors(given[1:2]))
        ):
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        named = named or {}
        self._keep(written_over(called, given, named))
        there = {tensor.untyped_storage().data_ptr() for tensor in _tensors((given, named))}
        result = called(*given, **named)
        made = _tensors(result)
        self._own |= {tensor.untyped_storage().data_ptr() for tensor in made} - there
        self.operations.append(Operation(called, given, named, made))
        return result

    def _keep(self, tensors: Sequence[torch.Tensor]) -> None:
        for storage in (tensor.untyped_storage() for tensor in tensors):
            if storage.data_ptr() not in self._own:
                self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))

    def undo(self) -> None:
        for storage, before in self._before.values():
            storage.copy_(before)


def written_over(called: Any, given: tuple[Any, ...], named: dict[str, Any]) -> list[torch.Tensor]:
    """Which of an operation's inputs it writes to."""
    written = []
    for place, argument in enumerate(called._schema.arguments):
        said = argument.alias_info is not None and argument.alias_info.is_write
        if said or argument.name in UNSAID:
            written += _tensors(given[place] if place < len(given) else named.get(argument.name))
    return written


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def record_honestly(step: Callable[[], object]) -> Replay:
    """Raises RuntimeError where the step waits for the device."""
    draws, log = torch.get_rng_state(), Log()
    try:
        with log:
            step()
    finally:
        log.undo()
        torch.set_rng_state(draws)

    @torch.no_grad()
    def replay() -> None:
        for operation in log.operations:
            operation.repeat()

    return replay


class CountingRecorder(Recorder):
    """Records by `record`; `recorded` and `replayed` count."""

    def __init__(self, record: Callable[[Replay], Replay] = record_honestly) -> None:
        super().__init__(self._record)
        self._by = record
        self.recorded = self.replayed = 0

    def _record(self, step: Replay) -> Replay:
        self.recorded += 1
        replay = self._by(step)

        def counted() -> None:
            self.replayed += 1
            replay()

        return counted


class Stream:
    """Stands in for a CUDA stream, of a device that does everything at once."""

    def wait_stream(self, other: object) -> None: ...
    def synchronize(self) -> None: ...


@dataclass
class Device:
    """A CPU that trains as a GPU does: the same optimiser, no kernels that torch does not know of, a stream for each
    run, steps recorded by `recorder`. `turns` are the streams that were given work, in order."""

    recorder: CountingRecorder | None = None
    turns: list[Stream] = field(default_factory=list)

    def stream(self, stream: Stream) -> AbstractContextManager[None]:
        if not self.turns or self.turns[-1] is not stream:
            self.turns.append(stream)
        return nullcontext()


def train_as_on_a_gpu(patch: pytest.MonkeyPatch, record: Callable[[Replay], Replay] | None = None) -> Device:
    """From now on runs are those of `Device`; without `record` step by step."""
    device = Device(None if record is None else CountingRecorder(record))
    begin = TrainingRun.__init__

    def begin_with_a_stream(run: TrainingRun, *rest: Any) -> None:
        begin(run, *rest)
        run._stream = cast(torch.cuda.Stream, Stream())

    def adam(run: TrainingRun) -> torch.optim.Optimizer:
        rate = torch.tensor(run.settings.learning_rate)
        return torch.optim.Adam(run.network.parameters(), rate, eps=1e-7, fused=True)

    patch.setattr(TrainingRun, "__init__", begin_with_a_stream)
    patch.setattr(TrainingRun, "_new_optimizer", adam)
    patch.setitem(sys.modules, "dsl.acceleration.gpu_layers", None)  # its kernels run on a GPU alone
    patch.setattr(steps, "use_cpu_layers", use_gpu_layers)
    patch.setattr(steps, "recorder_for", lambda _: device.recorder)
    patch.setattr(torch.cuda, "stream", device.stream)
    patch.setattr(torch.cuda, "current_stream", lambda _: None)
    patch.setattr(recording, "_state_of_draws", lambda _: torch.get_rng_state())
    patch.setattr(torch.cuda, "get_rng_state", lambda _: torch.get_rng_state())
    patch.setattr(torch.cuda, "set_rng_state", lambda state, _: torch.set_rng_state(state))
    return device


@contextmanager
def a_gpu(record: Callable[[Replay], Replay] | None = record_honestly) -> Iterator[Device]:
    """A block in which a CPU trains as a GPU does."""
    with pytest.MonkeyPatch.context() as patch:
        yield train_as_on_a_gpu(patch, record)
