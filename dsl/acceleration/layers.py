"""Layers that compute what torch's do, as suits the device. Weights, and their names, stay as they are.

On a GPU: to the same bits each time. On a CPU: faster. Where a convolution's kernel is as large as the map that it
slides over, as at the end of a network for small images, oneDNN has no fast path. For EfficientNet-B0 and segments of
64 x 32, the weight gradients of the depthwise 5 x 5 kernels would take longer than those of all its other convolutions
together. Its products, of 1 x 1 kernels, are twice as fast on maps of eight places or more as on smaller ones.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from dsl.acceleration.batch_norm import normalise_by
from dsl.settings import Precision

LARGE_MAP = 8  # places that oneDNN's products want in a map
LARGE_MAPS = 16  # as few maps as torch leaves to oneDNN, not to MKL


def use_cpu_layers(network: nn.Module) -> nn.Module:
    """`network` itself, its layers changed to those that a CPU is quick at."""
    with contextlib.suppress(ImportError):  # numba is there only to be faster
        from dsl.acceleration.normalising import Normalising

        for module in network.modules():
            normalise_by(Normalising, module)
    for module in network.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = Convolution
    return _without_copies(network)


def use_gpu_layers(network: nn.Module) -> nn.Module:
    """`network` itself, its layers changed to those that a GPU is quick at, to the same bits each time."""
    with contextlib.suppress(ImportError):  # Triton is there only to be faster
        from dsl.acceleration.gpu_layers import use_gpu_layer

        for module in network.modules():
            use_gpu_layer(module)
    return _without_copies(network)


def laid_out(network: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """`network` itself, the weights of its convolutions in `memory_format`."""
    laid: nn.Module = network.to(memory_format=memory_format)  # type: ignore[call-overload]  # documented, yet untyped
    return laid


@contextlib.contextmanager
def autocast_to(precision: Precision, network: nn.Module, device: torch.device) -> Iterator[None]:
    """A block in which convolutions and products of `network` are computed with `precision`."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"), contextlib.ExitStack() as block:
        if precision == "bfloat16" and device.type == "cuda":
            with contextlib.suppress(ImportError):
                from dsl.acceleration.gpu_layers import reduced_weights

                block.enter_context(reduced_weights(network))
        yield


def _without_copies(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.ReLU6 | nn.SiLU):
            module.inplace = False  # autograd would copy the input first, for the backward pass
    return network


class Convolution(nn.Conv2d):
    """A convolution that takes the way that is fast for the size of its input."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        places = input.shape[2:].numel()
        if self._is_a_product and places == 1:
            return functional.linear(input.flatten(1), weight.flatten(1), bias)[:, :, None, None]
        if self._is_a_product and places < LARGE_MAP and len(input) * places % LARGE_MAPS == 0:
            return self._of_larger_maps(input, weight, bias)
        if self._is_depthwise and bias is None and self._is_slow_to_learn(input):
            convolved: torch.Tensor = _Depthwise.apply(input, weight, self.stride, self.padding)
            return convolved
        output: torch.Tensor = super()._conv_forward(input, weight, bias)
        return output

    def _of_larger_maps(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The same product, of fewer and larger maps: where places lie is nothing to a 1 x 1 kernel."""
        larger = input.permute(0, 2, 3, 1).reshape(LARGE_MAPS, -1, 1, self.in_channels).permute(0, 3, 1, 2)
        output: torch.Tensor = super()._conv_forward(larger, weight, bias).permute(0, 2, 3, 1)
        return output.reshape(len(input), *input.shape[2:], self.out_channels).permute(0, 3, 1, 2)

    @property
    def _is_a_product(self) -> bool:
        return self.groups == 1 and self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0)

    @property
    def _is_depthwise(self) -> bool:
        return self.groups == self.in_channels == self.out_channels and self.dilation == (1, 1)

    def _is_slow_to_learn(self, input: torch.Tensor) -> bool:
        return max(self.kernel_size) > 3 or any(
            side < kernel for side, kernel in zip(input.shape[2:], self.kernel_size, strict=True)
        )


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose weight gradient is summed up tap by tap."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> torch.Tensor:
        ctx.stride, ctx.padding = stride, padding
        ctx.save_for_backward(input, weight)
        return functional.conv2d(input, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        input, weight = ctx.saved_tensors
        of_input, _, _ = torch.ops.aten.convolution_backward(
            gradient, input, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight),
            (True, False, False),
        )  # fmt: skip
        return of_input, depthwise_weight_gradient(gradient, input, weight.shape, ctx.stride, ctx.padding), None, None


def depthwise_weight_gradient(
    gradient: torch.Tensor,
    input: torch.Tensor,
    shape: torch.Size,
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> torch.Tensor:
    """Gradient [C, 1, rows, columns] of a depthwise kernel, from that of the output [n, C, h, w] and the input.

    Each tap multiplies the output's gradient with the input shifted. A tap that falls beside the input everywhere, as
    most do where the kernel is larger than the map, is zero and costs nothing.
    """
    channels, _, rows, columns = shape
    above, output = input.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    zero = input.new_zeros(channels)
    taps = []
    for row in range(rows):
        to_rows, from_rows = _overlap(row - padding[0], stride[0], output.shape[1], above.shape[1])
        for column in range(columns):
            to_columns, from_columns = _overlap(column - padding[1], stride[1], output.shape[2], above.shape[2])
            product = above[:, from_rows, from_columns] * output[:, to_rows, to_columns]
            taps.append(product.sum((0, 1, 2)) if product.numel() else zero)
    return torch.stack(taps, dim=1).view(channels, 1, rows, columns)


def _overlap(shift: int, stride: int, outputs: int, inputs: int) -> tuple[slice, slice]:
    """Which of `outputs` places o have their o * stride + shift among `inputs` places, and these."""
    first = max(0, -(shift // stride))
    end = max(first, min(outputs, (inputs - 1 - shift) // stride + 1))
    begin = first * stride + shift
    return slice(first, end), slice(begin, begin + (end - first) * stride, stride)
