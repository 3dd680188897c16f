"""Batch norm, with the activation behind it, as one step: on a CPU, in trainings of one thread each."""

from typing import Any

import numpy as np
import torch
from torch import nn

from data_prep.arrays import Floats
from dsl.acceleration import kernels
from dsl.acceleration.batch_norm import Activation, activation_of


class Normalising(nn.BatchNorm2d):
    """A batch norm, and what timm puts behind it within the same module, that a single thread trains in one step."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Maps [n, C, h, w], normalised and activated; by torch in evaluation, in other types and on more threads."""
        if not self.training or input.dtype != torch.float32 or torch.get_num_threads() > 1:
            return super().forward(input)
        silu, low, high = activation_of(self)
        activation = silu, np.float32(low), np.float32(high)
        output, mean, variance = _Normalised.apply(input, self.weight, self.bias, self.eps, activation)
        assert self.num_batches_tracked is not None and self.momentum is not None
        assert self.running_mean is not None and self.running_var is not None
        values = input.numel() // self.num_features
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.mul_(1 - self.momentum).add_(mean, alpha=self.momentum)
            self.running_var.mul_(1 - self.momentum).add_(variance, alpha=self.momentum * values / (values - 1))
        result: torch.Tensor = output
        return result


class _Normalised(torch.autograd.Function):
    """The activation of normalised maps [n, C, h, w], and the maps' mean and variance [C]."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, activation: Activation
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        output = torch.empty_like(input, memory_format=torch.channels_last)
        mean, variance = torch.empty_like(weight), torch.empty_like(weight)
        kernels.normalise(
            _rows(input), _values(weight), _values(bias), eps, *activation,
            _rows(output), _values(mean), _values(variance),
        )  # fmt: skip
        ctx.eps, ctx.activation = eps, activation
        ctx.mark_non_differentiable(mean, variance)
        ctx.save_for_backward(input, weight, bias, mean, variance)
        return output, mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        input, weight, bias, mean, variance = ctx.saved_tensors
        output = torch.empty_like(input, memory_format=torch.channels_last)
        of_weight, of_bias = torch.empty_like(weight), torch.empty_like(bias)
        kernels.normalise_backward(
            _rows(input), _rows(gradient), _values(weight), _values(bias), ctx.eps, *ctx.activation,
            _values(mean), _values(variance), _rows(output), _values(of_weight), _values(of_bias),
        )  # fmt: skip
        return output, of_weight, of_bias, None, None


def _rows(maps: torch.Tensor) -> Floats:
    """Maps [n, C, h, w] as [n h w, C], in place if they lie channels-last."""
    return maps.detach().permute(0, 2, 3, 1).contiguous().flatten(0, 2).numpy()


def _values(vector: torch.Tensor) -> Floats:
    return vector.detach().numpy()
