"""Training steps that a GPU repeats by itself: recorded once as a CUDA graph, then replayed batch after batch.

A step of a small network is hundreds of kernels that end sooner than Python can start the next. Replayed, they are
started by the device. What cannot be recorded, or comes to something else when replayed, as a network may whose code
depends on more than its tensors, is trained step by step.
"""

import os
from collections.abc import Callable, Sequence

import torch

SWITCH = "SER_SWEEP_CUDA_GRAPHS"  # 0 in the environment: no step is recorded
WARM_UP_STEPS = 3  # until the optimiser has its moments, and libraries their workspaces
TOLERANCE = 0.01  # of what a step changes

Step = Callable[[torch.Tensor], None]  # learns from the segments of a batch: their index [n]
Tensors = Sequence[torch.Tensor]
Record = Callable[[Callable[[], None]], Callable[[], None]]


def repeated(step: Step, changed: Callable[[], Sequence[Tensors]], size: int, device: torch.device) -> Step:
    """`step`, recorded where that is worth it: on a GPU, for batches of `size` segments.

    `changed` gives all tensors that a step changes, once there was one: those of a kind together, as weights.
    """
    if device.type != "cuda" or os.environ.get(SWITCH) == "0":
        return step
    return RecordedStep(step, changed, size, record_cuda_graph)


class RecordedStep:
    """A step that is recorded after a few batches, tried against itself once, and replayed from then on."""

    def __init__(self, step: Step, changed: Callable[[], Sequence[Tensors]], size: int, record: Record) -> None:
        self._step = step
        self._changed = changed
        self._size = size
        self._record = record
        self._warm_up = WARM_UP_STEPS
        self._index: torch.Tensor | None = None  # of the batch that is learnt from, where the recording finds it
        self._replay: Callable[[], None] | None = None

    def __call__(self, index: torch.Tensor) -> None:
        if len(index) != self._size:
            self._step(index)
        elif self._warm_up:
            self._warm_up -= 1
            self._step(index)
        elif self._index is None:
            self._index = index.clone()
            self._replay = self._recorded(self._index)
        elif self._replay is None:
            self._step(index)
        else:
            self._index.copy_(index)
            self._replay()

    def _recorded(self, index: torch.Tensor) -> Callable[[], None] | None:
        """Learn from `index`, and record how; None where the recording cannot be made, or does something else."""
        before = _put_aside(self._changed())
        try:
            replay = self._record(lambda: self._step(index))
        except RuntimeError:
            self._step(index)
            return None
        draws = _state_of_draws(index.device)
        replay()
        replayed = _put_aside(self._changed())
        for kind, values in zip(self._changed(), before, strict=True):
            for tensor, value in zip(kind, values, strict=True):
                tensor.copy_(value)
        if draws is not None:
            torch.cuda.set_rng_state(draws, index.device)
        self._step(index)
        kinds = zip(before, replayed, self._changed(), strict=True)
        return replay if all(_alike(*kind) for kind in kinds) else None


def record_cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """Raises RuntimeError where the step does what no graph can, such as to wait for the device."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _put_aside(kinds: Sequence[Tensors]) -> list[list[torch.Tensor]]:
    """Copies that take none of a GPU's memory, of which a training has its share and no more."""
    return [[tensor.to("cpu", copy=True) for tensor in kind] for kind in kinds]


def _state_of_draws(device: torch.device) -> torch.Tensor | None:
    """What dropout is to draw next."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _alike(before: Tensors, one: Tensors, other: Tensors) -> bool:
    """Whether two steps from the same state changed tensors of a kind alike: all of them together, as rounding may turn
    the sign of what is next to nothing."""
    apart = changed = 0.0
    for start, replayed, learnt in zip(before, one, other, strict=True):
        apart += float((replayed.to(learnt.device) - learnt).square().sum(dtype=torch.float64))
        changed += float((start.to(learnt.device) - learnt).square().sum(dtype=torch.float64))
    return apart <= TOLERANCE**2 * changed
