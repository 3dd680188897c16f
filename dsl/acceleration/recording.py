"""Training steps that a GPU repeats by itself: recorded once as a CUDA graph, then replayed batch after batch.

A step of a small network is hundreds of kernels that end sooner than Python can start the next. Replayed, they are
started by the device. A recording is used only if it comes to the same bits as the step itself, which is tried once for
each kind of training in a process; what cannot be recorded, or comes to other bits, is trained step by step.
"""

import contextlib
import gc
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from dsl.process import is_out_of_memory

SWITCH = "SER_SWEEP_CUDA_GRAPHS"  # 0 in the environment: no step is recorded
WARM_UP_STEPS = 3  # until the optimiser has its moments, and libraries their workspaces
EXACT = "exact"

Step = Callable[[torch.Tensor], None]  # learns from the segments of a batch: their index [n]
Record = Callable[[Callable[[], None]], Callable[[], None]]


@dataclass
class Recorder:
    """Records the steps of a process's trainings, and knows of each kind of them whether that comes to the same bits.

    `found` says of a kind "exact" or "no: CAUSE". After a recording that broke off, the process records no more:
    `stopped` says why.
    """

    record: Record
    found: dict[Hashable, str] = field(default_factory=dict)
    stopped: str | None = None

    def verdict(self, kind: Hashable) -> str | None:
        """What is known of a kind; None where it is still to be tried."""
        return self.stopped or self.found.get(kind)


@dataclass(eq=False)
class RecordedStep:
    """A step that is recorded after a few batches of `size` segments, and replayed from then on.

    `changed` gives all tensors that a step changes, once there was one. Trainings of the same `kind` do the same. With
    `recorder` None every batch is learnt from step by step.
    """

    step: Step
    changed: Callable[[], Sequence[torch.Tensor]]
    size: int
    kind: Hashable
    recorder: Recorder | None
    draws: bool = field(default=False, init=False)  # whether a step draws random numbers, as dropout does
    _warm_up: int = field(default=WARM_UP_STEPS, init=False)
    _index: torch.Tensor | None = field(default=None, init=False)  # of the batch that is learnt from, for the recording
    _replay: Callable[[], None] | None = field(default=None, init=False)
    _addresses: list[int] = field(default_factory=list, init=False)  # of what the recording changes

    @property
    def verdict(self) -> str:
        """`exact` where batches are replayed; else `no`, and why not."""
        if self._replay is not None:
            return EXACT
        if self.recorder is None:
            return "no: not on a GPU" if os.environ.get(SWITCH) != "0" else f"no: {SWITCH}=0"
        return self.recorder.verdict(self.kind) or "no: too few batches to record one"

    def begin_epoch(self) -> None:
        """Forget a recording of tensors that are no longer those that are trained."""
        if self._replay is not None and self._addresses != self._places():
            self._replay, self._warm_up = None, WARM_UP_STEPS

    def __call__(self, index: torch.Tensor) -> None:
        """Learn from segments `index` [n]: by a replay where there is one of n, and else by the step itself."""
        if self._replay is not None and len(index) == self.size:
            assert self._index is not None
            self._index.copy_(index)
            self._replay()
        elif self._warm_up or self.recorder is None or len(index) != self.size:
            self._warm_up = max(0, self._warm_up - 1)
            with self._noting_draws(index.device):
                self.step(index)
        else:
            self._begin_to_replay(index, self.recorder)

    def _begin_to_replay(self, index: torch.Tensor, recorder: Recorder) -> None:
        """Learn from `index`, and record how, where that comes to the same bits."""
        known = recorder.verdict(self.kind)
        if known not in (None, EXACT):
            self.step(index)
            return
        self._index = index.clone()
        before = None if known else [tensor.clone() for tensor in self.changed()]
        step, learnt_from = self.step, self._index
        try:
            replay = recorder.record(lambda: step(learnt_from))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            recorder.stopped = f"no: {_first_line(error)}"
            self.step(index)
            return
        if before is None:
            replay()
        elif not self._is_exact(replay, before):
            recorder.found[self.kind] = "no: a replayed step comes to other bits"
            return
        else:
            recorder.found[self.kind] = EXACT
        self._replay, self._addresses = replay, self._places()

    def _is_exact(self, replay: Callable[[], None], before: Sequence[torch.Tensor]) -> bool:
        """Whether a replay changes what was `before` as the step does; in the end the step has."""
        assert self._index is not None
        draws = _state_of_draws(self._index.device)
        replay()
        replayed = [tensor.clone() for tensor in self.changed()]
        for tensor, value in zip(self.changed(), before, strict=True):
            tensor.copy_(value)
        if draws is not None:
            torch.cuda.set_rng_state(draws, self._index.device)
        self.step(self._index)
        same = [_same_bits(one, other) for one, other in zip(replayed, self.changed(), strict=True)]
        return bool(torch.stack(same).all())

    def _places(self) -> list[int]:
        return [tensor.data_ptr() for tensor in self.changed()]

    @contextlib.contextmanager
    def _noting_draws(self, device: torch.device) -> Iterator[None]:
        before = _state_of_draws(device)
        yield
        if before is not None:
            self.draws = self.draws or not torch.equal(before, torch.cuda.get_rng_state(device))


def recorder_for(device: torch.device) -> Recorder | None:
    """The recorder of this process; None where steps are not recorded."""
    return _cuda_graphs if device.type == "cuda" and os.environ.get(SWITCH) != "0" else None


def record_cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """Record `step` on the current stream, which must not be the default one, with memory of its own.

    Raises OutOfMemoryError, or RuntimeError where the step does what no graph can, such as to wait for the device.
    Either leaves the stream, and the allocator, as they were.
    """
    graph = torch.cuda.CUDAGraph()
    pool = torch.cuda.graph_pool_handle()
    with _no_collection(), _given_up_on_error(graph, pool):
        # Other threads and streams may go on meanwhile.
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            step()
        except BaseException:
            with contextlib.suppress(RuntimeError):
                graph.capture_end()
            raise
        graph.capture_end()
    return graph.replay


@contextlib.contextmanager
def _given_up_on_error(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> Iterator[None]:
    """A block that records. On an error its memory is given up: a recording that torch could not end is still open to
    its allocator, which then gives no memory back at all."""
    try:
        yield
    except BaseException:
        try:
            graph.pool()
        except RuntimeError:
            for end in (torch._C._cuda_endAllocateToPool, torch._C._cuda_releasePool):
                with contextlib.suppress(RuntimeError):
                    end(torch.cuda.current_device(), pool)
        else:
            graph.reset()
        raise


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """What Python's collector frees while a stream is recorded would break the recording."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _state_of_draws(device: torch.device) -> torch.Tensor | None:
    """What dropout is to draw next."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """bool []; on the device, so that nobody waits for it."""
    return torch.eq(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)).all()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_cuda_graphs = Recorder(record_cuda_graph)
