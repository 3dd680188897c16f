"""Layers for a GPU whose maps lie channels-last: a few kernels (`gpu_kernels`) in the place of many of torch's.

At the end of a network for small images, maps have two places and a thousand channels. There cuDNN computes depthwise
convolutions with a kernel for each channel, or in ways that no other kernel can run beside. Weights, and their names,
stay as they are; where maps lie otherwise, and in evaluation where that is as good, torch's layers compute.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn
from torch.nn import functional

from dsl.acceleration import gpu_kernels as kernels
from dsl.acceleration.batch_norm import Activation, activation_of, normalise_by

VALUES_AT_ONCE = 8192  # of a tile that a block of threads keeps in registers
ROWS_AT_ONCE = 1024  # of a batch norm whose channels a block of threads takes whole
BLOCKS = 64  # of rows, at most, that moments are taken of one by one
ROWS, CHANNELS = 64, 32  # of a block of a convolution
PLACES_OF_A_PART = 2048  # of the output, over which a block adds up a tap's gradient
VALUES_OF_A_MAP = 2048  # that a block of threads takes of a segment's maps at once


def use_gpu_layer(module: nn.Module) -> None:
    """Turn `module` into the layer of this file that computes the same, where there is one."""
    normalise_by(NormalisingOnGpu, module)
    if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        module.__class__ = ConvolutionOnGpu
    elif type(module) is nn.Linear:
        module.__class__ = LinearOnGpu
    elif type(module) is SqueezeExcite and (type(module.act1), type(module.gate)) == (nn.SiLU, nn.Sigmoid):
        module.__class__ = SqueezeExciteOnGpu


class NormalisingOnGpu(nn.BatchNorm2d):
    """A batch norm, and what timm puts behind it within the same module, in one or two kernels."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Maps [n, C, h, w], normalised and activated; as torch does it in evaluation and for a single row."""
        rows = input.numel() // input.shape[1]
        if not self.training or rows < 2 or not _suits(input):
            return super().forward(input)
        running = self.running_mean, self.running_var, self.num_batches_tracked
        output: torch.Tensor = _Normalised.apply(
            input, self.weight, self.bias, running, self.eps, self.momentum, activation_of(self)
        )
        return output


class _Reducible(nn.Module):
    """A layer that computes with bfloat16 copies of its weights within `reduced_weights`."""

    reduced: tuple[torch.Tensor, ...] | None = None

    @property
    def in_use(self) -> tuple[torch.Tensor, ...]:
        """Its weight and, where it has one, its bias."""
        return self.reduced or tuple(self.parameters(recurse=False))


class ConvolutionOnGpu(nn.Conv2d, _Reducible):
    """A convolution: depthwise ones by kernels of our own, and products of single places as what they are."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Maps [n, C, h, w] to maps [n, C', h', w']."""
        if self._is_depthwise and self.bias is None and _suits(input):
            convolved: torch.Tensor = _Depthwise.apply(input, self.weight, self.stride[0], self.padding[0])
            return convolved
        weight, *biases = self.in_use
        bias = biases[0] if biases else None
        if self._is_of_single_places(input):
            return functional.linear(input.flatten(1), weight.flatten(1), bias)[:, :, None, None]
        output: torch.Tensor = self._conv_forward(input, weight, bias)
        return output

    def _is_of_single_places(self, input: torch.Tensor) -> bool:
        product = self.groups == 1 and self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0)
        return product and input.shape[2:].numel() == 1

    @property
    def _is_depthwise(self) -> bool:
        square = all(len(set(pair)) == 1 for pair in (self.kernel_size, self.stride, self.padding))
        alone = self.groups == self.in_channels == self.out_channels > 1
        return square and alone and self.dilation == (1, 1) and self.padding_mode == "zeros"


class LinearOnGpu(nn.Linear, _Reducible):
    """A dense layer."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Rows [n, in] to rows [n, out]."""
        return functional.linear(input, *self.in_use)


class SqueezeExciteOnGpu(SqueezeExcite):
    """Maps that are weighted by what two dense layers make of their means."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [n, C, h, w] to maps of the same shape."""
        if not _suits(x):
            output: torch.Tensor = super().forward(x)
            return output
        first, second = self.conv_reduce, self.conv_expand
        excited: torch.Tensor = _Excited.apply(
            x, first.weight.flatten(1), first.bias, second.weight.flatten(1), second.bias
        )
        return excited


@contextlib.contextmanager
def reduced_weights(network: nn.Module) -> Iterator[None]:
    """A block in which the network computes with bfloat16 copies of its weights: all of them are made by one kernel,
    where torch's automatic mixed precision takes one for each."""
    layers = [one for one in network.modules() if isinstance(one, _Reducible)]
    inside = {id(each) for one in network.modules() if isinstance(one, SqueezeExciteOnGpu) for each in one.modules()}
    layers = [one for one in layers if id(one) not in inside and not getattr(one, "_is_depthwise", False)]
    weights = [weight for one in layers for weight in one.parameters(recurse=False)]
    reduced = iter(_Reduced.apply(*weights) if weights else ())
    for one in layers:
        one.reduced = tuple(next(reduced) for _ in one.parameters(recurse=False))
    try:
        yield
    finally:
        for one in layers:
            one.reduced = None


class _Reduced(torch.autograd.Function):
    """bfloat16 copies of float32 weights; their gradients are float32 again."""

    @staticmethod
    def forward(ctx: Any, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(_copies(weights, torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(_copies(gradients, torch.float32))


def _copies(tensors: tuple[torch.Tensor, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    """Copies that lie as the tensors do, channels last where these have four dimensions."""
    ways = [(0, 2, 3, 1) if tensor.dim() == 4 else range(tensor.dim()) for tensor in tensors]
    rows = [tensor.permute(*way).contiguous() for tensor, way in zip(tensors, ways, strict=True)]
    copies = [torch.empty_like(row, dtype=dtype) for row in rows]
    torch._foreach_copy_([copy.view(-1) for copy in copies], [row.view(-1) for row in rows])
    return [copy.permute(0, 3, 1, 2) if copy.dim() == 4 else copy for copy in copies]


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
            whole, block = _power_of_two(rows), _channels_at_once(rows)
            kernels.normalise_at_once[(_parts(channels, block),)](
                input, output, weight, bias, means, scales, *running, rows, channels, eps, momentum, low, high,
                SILU=silu, ROWS=whole, BLOCK=block,
            )  # fmt: skip
        else:
            own, count, block = _row_blocks(rows)
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
            whole, block = _power_of_two(rows), _channels_at_once(rows)
            kernels.lead_back_at_once[(_parts(channels, block),)](
                *known, of_input, of_weight, of_bias, rows, channels, low, high, SILU=silu, ROWS=whole, BLOCK=block
            )
        else:
            own, count, block = _row_blocks(rows)
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


class _Excited(torch.autograd.Function):
    """Maps [n, C, h, w] times the sigmoid of two dense layers of their means, SiLU between them; these in float32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        first, first_bias, second, second_bias = weights
        grid, sizes, tiles = _map_blocks(x)
        mean = torch.empty(x.shape[:2], dtype=torch.float32, device=x.device)
        kernels.mean_of_places[grid](x, mean, *sizes, **tiles)
        with torch.autocast(x.device.type, enabled=False):
            hidden = torch.addmm(first_bias, mean, first.T)
            logits = torch.addmm(second_bias, functional.silu(hidden), second.T)
        output = torch.empty_like(x)
        kernels.gate[grid](x, logits, output, *sizes, **tiles)
        ctx.save_for_backward(x, mean, hidden, logits, first, second)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, mean, hidden, logits, first, second = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        grid, sizes, tiles = _map_blocks(x)
        of_logits = torch.empty_like(logits)
        kernels.gate_back[grid](x, logits, gradient, of_logits, *sizes, **tiles)
        of_hidden = torch.ops.aten.silu_backward(of_logits @ second, hidden)
        of_mean = of_hidden @ first
        of_input = torch.empty_like(x)
        kernels.excite_back[grid](logits, gradient, of_mean, of_input, *sizes, **tiles)
        of_first, of_second = of_hidden.T @ mean, of_logits.T @ functional.silu(hidden)
        return of_input, of_first, of_hidden.sum(0), of_second, of_logits.sum(0)


def _map_blocks(maps: torch.Tensor) -> tuple[tuple[int, int], tuple[int, int], dict[str, int]]:
    """The grid of blocks of threads for segments and channels, the sizes of maps, and those of a block."""
    count, channels, places = maps.shape[0], maps.shape[1], maps.shape[2:].numel()
    whole = 1 << (places - 1).bit_length()
    at_once = min(64, whole)
    block = min(_power_of_two(channels), VALUES_OF_A_MAP // at_once)
    return (count, _parts(channels, block)), (places, channels), {"WHOLE": whole, "PLACES": at_once, "BLOCK": block}


def _suits(maps: torch.Tensor) -> bool:
    """Whether the kernels can find their way in them: they count places in 32 bits."""
    return maps.is_contiguous(memory_format=torch.channels_last) and maps.numel() < 2**31


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def _power_of_two(least: int) -> int:
    return max(16, 1 << (least - 1).bit_length())


def _channels_at_once(rows: int) -> int:
    """How many channels a block of threads takes whole."""
    return max(4, min(16, VALUES_AT_ONCE // _power_of_two(rows)))


def _row_blocks(rows: int) -> tuple[int, int, int]:
    """Rows of a block, how many there are, and the channels that a block of threads takes."""
    own = max(256, _power_of_two(_parts(rows, BLOCKS)))
    return own, _parts(rows, own), 16 if own <= 1024 else max(1, 16 * 1024 // own)
