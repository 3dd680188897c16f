"""Several trainings of one architecture as one (as in HFTA): their weights stacked, and a step of all in one pass.

Trainings that differ in their targets alone, as those of the rules and alphas of one fold do, see the same batches in
the same order. On a GPU that one small network leaves idle, a convolution of K networks in K groups costs little more
than one of a single network. Each network comes to what it would alone, within rounding: Adam is elementwise, the
batches are shared, and nothing else flows from one to the other.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.func import functional_call, vmap

from dsl.segments import Segments
from dsl.steps import EVALUATION_BATCH, Learning, TrainingRun, reduced, shuffled_batches

# The pooling at the end of a network is done for one network after the other: it is next to nothing.
warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented the batching rule")


class Stack:
    """The networks of `runs`, all before the same epoch, with one row each in every tensor, until `give_back`."""

    def __init__(self, runs: Sequence[TrainingRun]) -> None:
        self._runs = runs
        self._code = runs[0].network  # how a network of this architecture computes; none of its tensors
        self._weights = _stacked([dict(run.network.named_parameters()) for run in runs])
        self._buffers = _stacked([dict(run.network.named_buffers()) for run in runs])
        for stacked in self._weights.values():
            stacked.requires_grad_()
        self._optimizer = runs[0].new_optimizer(self._weights.values())
        self._optimizer.param_groups[0]["lr"] = runs[0].optimizer.param_groups[0]["lr"]
        for name, stacked in self._weights.items():
            moments = [run.optimizer.state.get(run.network.get_parameter(name), {}) for run in runs]
            if moments[0]:  # after the first epoch
                self._optimizer.state[stacked] = {
                    "step": moments[0]["step"].clone(),
                    **{which: torch.stack([one[which] for one in moments]) for which in ("exp_avg", "exp_avg_sq")},
                }

    def train_epoch(
        self, segments: Segments, training: np.ndarray, goals: Sequence[torch.Tensor], seed: int
    ) -> list[float]:
        """One pass of all over segments `training` [n] with their own targets, each [S, K]; their mean losses."""
        goal, settings = torch.stack(list(goals)), self._runs[0].settings
        self._code.train()

        def losses_of(index: torch.Tensor) -> torch.Tensor:
            with reduced(settings.precision, goal.device):
                said = self._forward(segments.batch(index))
            return -(goal[:, index] * said.float().log_softmax(dim=2)).sum(dim=2).mean(dim=1)

        buffers = self._buffers.values()
        learning = Learning(losses_of, self._optimizer, buffers, settings, goal.device, len(self._runs))
        losses: list[float] = learning.go_through(
            shuffled_batches(training, settings.batch_size, seed, goal.device)
        ).tolist()
        return losses

    @torch.no_grad()
    def predict(self, segments: Segments, index: torch.Tensor) -> list[torch.Tensor]:
        """Class probabilities q (Eq. 1) of segments `index` [n] by each network: float32 [n, K]."""
        self._code.eval()
        parts = index.split(max(1, EVALUATION_BATCH // len(self._runs)))
        return list(torch.cat([self._forward(segments.batch(part)).softmax(dim=2) for part in parts], dim=1))

    @torch.no_grad()
    def give_back(self) -> None:
        """Put what was learnt into the runs, as if each had gone through the epoch alone."""
        for row, run in enumerate(self._runs):
            for name, weight in run.network.named_parameters():
                weight.copy_(self._weights[name][row])
                moments = self._optimizer.state[self._weights[name]]
                run.optimizer.state[weight] = {
                    "step": moments["step"].clone(),
                    **{which: moments[which][row].clone() for which in ("exp_avg", "exp_avg_sq")},
                }
            for name, buffer in run.network.named_buffers():
                buffer.copy_(self._buffers[name][row])
            run.optimizer.step()  # changes nothing without gradients; the schedule wants to have seen one
            run.end_epoch()

    def _forward(self, windows: torch.Tensor) -> torch.Tensor:
        """What each network says to the same `windows` [n, 1, mels, frames]: [N, n, K]."""

        def one(weights: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]) -> torch.Tensor:
            return functional_call(self._code, (weights, buffers), (windows,))

        several: Callable[..., torch.Tensor] = vmap(one, randomness="same")
        return several(self._weights, self._buffers)


def _stacked(tensors: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([each[name].detach() for each in tensors]) for name in tensors[0]}
