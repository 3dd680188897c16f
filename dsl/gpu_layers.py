"""Layers for a GPU whose maps lie channels-last: a few kernels (`dsl.gpu_kernels`) in the place of many of torch's.

At the end of a network for small images, maps have two places and a thousand channels. There cuDNN computes depthwise
convolutions with a kernel for each channel, or in ways that no other kernel can run beside. Weights, and their names,
stay as they are; where maps lie otherwise, and in evaluation where that is as good, torch's layers compute.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from dsl import gpu_kernels as kernels
from dsl.batch_norm import Activation, activation_of

VALUES_AT_ONCE = 8192  # of a tile that a block of threads keeps in registers
ROWS_AT_ONCE = 1024  # of a batch norm whose channels a block of threads takes whole
BLOCKS = 64  # of rows, at most, that moments are taken of one by one
ROWS, CHANNELS = 64, 32  # of a block of a convolution
PLACES_OF_A_PART = 2048  # of the output, over which a block adds up a tap's gradient


class NormalisingOnGpu(nn.BatchNorm2d):
    """A batch norm, and what timm puts behind it within the same module, in one or two kernels."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        running = self.running_mean, self.running_var, self.num_batches_tracked
        output: torch.Tensor = _Normalised.apply(
            input, self.weight, self.bias, running, self.eps, self.momentum, activation_of(self)
        )
        return output


class ConvolutionOnGpu(nn.Conv2d):
    """A convolution: depthwise ones by kernels of our own, and products of single places as what they are."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if self._is_of_single_places(input):
            return functional.linear(input.flatten(1), weight.flatten(1), bias)[:, :, None, None]
        if self._is_depthwise and bias is None and input.is_contiguous(memory_format=torch.channels_last):
            convolved: torch.Tensor = _Depthwise.apply(input, weight, self.stride[0], self.padding[0])
            return convolved
        return super()._conv_forward(input, weight, bias)

    def _is_of_single_places(self, input: torch.Tensor) -> bool:
        product = self.groups == 1 and self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0)
        return product and input.shape[2:].numel() == 1

    @property
    def _is_depthwise(self) -> bool:
        square = all(len(set(pair)) == 1 for pair in (self.kernel_size, self.stride, self.padding))
        alone = self.groups == self.in_channels == self.out_channels > 1
        return square and alone and self.dilation == (1, 1) and self.padding_mode == "zeros"


class _Normalised(torch.autograd.Function):
    """The activation of normalised maps [n, C, h, w]; `running` statistics take note of them."""

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        running: tuple[torch.Tensor, ...],
        eps: float,
        momentum: float,
        activation: Activation,
    ) -> torch.Tensor:
        rows, channels = input.numel() // input.shape[1], input.shape[1]
        output = torch.empty_like(input)
        means, scales = (torch.empty_like(weight) for _ in range(2))
        silu, low, high = activation
        if rows <= ROWS_AT_ONCE:
            whole, block = _power_of_two(rows), _channels_at_once(rows, channels)
            kernels.normalise_at_once[(_parts(channels, block),)](
                input, output, weight, bias, means, scales, *running, rows, channels, eps, momentum, low, high,
                SILU=silu, ROWS=whole, BLOCK=block,
            )  # fmt: skip
        else:
            own, count, block = _row_blocks(rows, channels)
            moments = input.new_empty((2, count, channels), dtype=torch.float32)
            grid = (count, _parts(channels, block))
            kernels.sum_up_rows[grid](input, *moments, rows, channels, ROWS=own, BLOCK=block, num_warps=8)
            tile = max(16, VALUES_AT_ONCE // 4 // block)
            kernels.normalise_rows[(_parts(rows, tile), _parts(channels, block))](
                input, output, weight, bias, *moments, means, scales, *running,
                rows, count, channels, eps, momentum, low, high,
                SILU=silu, ROWS=own, BLOCKS=_power_of_two(count), OWN=tile, BLOCK=block,
            )  # fmt: skip
        ctx.save_for_backward(input, weight, bias, means, scales)
        ctx.activation = activation
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight, bias, means, scales = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        rows, channels = input.numel() // input.shape[1], input.shape[1]
        of_input = torch.empty_like(input)
        of_weight, of_bias = torch.empty_like(weight), torch.empty_like(bias)
        silu, low, high = ctx.activation
        known = input, gradient, weight, bias, means, scales
        if rows <= ROWS_AT_ONCE:
            whole, block = _power_of_two(rows), _channels_at_once(rows, channels)
            kernels.lead_back_at_once[(_parts(channels, block),)](
                *known, of_input, of_weight, of_bias, rows, channels, low, high, SILU=silu, ROWS=whole, BLOCK=block
            )
        else:
            own, count, block = _row_blocks(rows, channels)
            sums = input.new_empty((2, count, channels), dtype=torch.float32)
            kernels.sum_up_gradients[(count, _parts(channels, block))](
                *known, *sums, rows, channels, low, high, SILU=silu, ROWS=own, BLOCK=block, num_warps=8
            )
            tile = max(16, VALUES_AT_ONCE // 4 // block)
            kernels.lead_rows_back[(_parts(rows, tile), _parts(channels, block))](
                *known, *sums, of_input, of_weight, of_bias, rows, count, channels, low, high,
                SILU=silu, BLOCKS=_power_of_two(count), OWN=tile, BLOCK=block,
            )  # fmt: skip
        return of_input, of_weight, of_bias, None, None, None, None


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of maps [n, C, h, w] with kernels [C, 1, k, k]."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        count, channels, *size = input.shape
        side = weight.shape[2]
        height, width = ((each + 2 * padding - side) // stride + 1 for each in size)
        output = torch.empty(
            (count, channels, height, width), dtype=input.dtype, device=input.device, memory_format=torch.channels_last
        )
        rows = count * height * width
        kernels.convolve[(_parts(rows, ROWS), _parts(channels, CHANNELS))](
            input, weight.contiguous(), output, rows, channels, *size, height, width, stride, padding,
            K=side, ROWS=ROWS, BLOCK=CHANNELS,
        )  # fmt: skip
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.padding = stride, padding
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        count, channels, *size = input.shape
        to_size, side = gradient.shape[2:], weight.shape[2]
        places = channels, *size, *to_size, ctx.stride, ctx.padding
        of_input = torch.empty_like(input)
        rows = count * size[0] * size[1]
        kernels.convolve_back[(_parts(rows, ROWS), _parts(channels, CHANNELS))](
            gradient, weight.contiguous(), of_input, rows, *places, K=side, ROWS=ROWS, BLOCK=CHANNELS
        )
        rows = count * to_size[0] * to_size[1]
        own = min(PLACES_OF_A_PART, max(ROWS, _power_of_two(rows)))
        parts = _parts(rows, own)
        of_taps = weight.new_empty((parts, *weight.shape), dtype=torch.float32)
        kernels.sum_up_taps[(_parts(channels, CHANNELS), side * side, parts)](
            input, gradient, of_taps, rows, *places, K=side, OWN=own, ROWS=ROWS, BLOCK=CHANNELS
        )
        return of_input, (of_taps.sum(0) if parts > 1 else of_taps[0]).to(weight.dtype), None, None


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def _power_of_two(least: int) -> int:
    return max(16, 1 << (least - 1).bit_length())


def _channels_at_once(rows: int, channels: int) -> int:
    """How many channels a block of threads takes whole."""
    return max(4, min(16, VALUES_AT_ONCE // _power_of_two(rows)))


def _row_blocks(rows: int, channels: int) -> tuple[int, int, int]:
    """Rows of a block, how many there are, and the channels that a block of threads takes."""
    own = max(256, _power_of_two(_parts(rows, BLOCKS)))
    return own, _parts(rows, own), 16 if own <= 1024 else max(1, 16 * 1024 // own)
