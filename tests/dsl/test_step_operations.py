"""A training step on a GPU asks for nothing that waits for it, copies what need not be, or adds up in any order.

What torch documents as not deterministic is in its `torch.use_deterministic_algorithms`. Max pooling is not among it:
on a GPU its backward pass gathers, for each place, from the windows over it, in their order, also where these overlap
as in DenseNet's stem. The convolutions of cuDNN are held to deterministic ways (`dsl.process.configure_process`).
"""

from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional

from dsl.backbones import BACKBONES
from dsl.settings import Layout, Precision

pytest.importorskip("triton")
from tests.dsl.step_operations import Asked, asked_by_a_step

ALLOWED = {
    # what is learnt from, and how
    *("index", "convolution", "convolution_backward", "mm", "addmm"),
    *("native_batch_norm", "native_batch_norm_backward", "cudnn_batch_norm"),
    *("relu", "relu_", "threshold_backward", "hardtanh", "hardtanh_backward"),
    *("silu", "silu_backward", "sigmoid", "sigmoid_backward"),
    *("avg_pool2d", "avg_pool2d_backward", "max_pool2d_with_indices", "max_pool2d_with_indices_backward"),
    *("_log_softmax", "_log_softmax_backward_data", "_foreach_add_", "_fused_adam_"),
    # sums and products of elements
    *("add", "add_", "sub_", "mul", "div", "div_", "neg", "sum", "mean"),
    # places, and what is put there
    *("empty", "empty_like", "new_empty", "new_empty_strided", "new_zeros", "ones_like", "_unsafe_view"),
    *("as_strided_", "copy_", "_foreach_copy_", "_to_copy", "cat", "contiguous"),
}
LAYOUT_COPIES = 4  # of whole tensors, in a step
WAYS = [("float32", "channels_last"), ("bfloat16", "channels_last"), ("float32", "contiguous")]


def refused(asked: Asked) -> set[str]:
    return asked.operations.keys() - ALLOWED


@cache
def asked_by(backbone: str, precision: Precision, layout: Layout) -> Asked:
    return asked_by_a_step(lambda: BACKBONES[backbone](3), precision, layout)


every_step = pytest.mark.parametrize(
    ("backbone", "precision", "layout"), [(backbone, *way) for backbone in BACKBONES for way in WAYS]
)


@every_step
def test_a_step_asks_for_nothing_but_what_is_known_to_be_good(backbone: str, precision: str, layout: str) -> None:
    assert refused(asked_by(backbone, precision, layout)) == set()


@every_step
def test_a_step_copies_hardly_anything_to_another_layout(backbone: str, precision: str, layout: str) -> None:
    assert asked_by(backbone, precision, layout).operations["contiguous"] <= LAYOUT_COPIES


@pytest.mark.parametrize("backbone", ["mobilenetv2", "efficientnet_b0"])
def test_depthwise_convolutions_and_batch_norms_are_kernels_of_our_own(backbone: str) -> None:
    found = asked_by(backbone, "float32", "channels_last")
    depthwise = sum(getattr(module, "groups", 1) > 1 for module in BACKBONES[backbone](3).modules())
    assert found.kernels["convolve"] == found.kernels["convolve_back"] == found.kernels["sum_up_taps"] == depthwise
    assert found.operations.keys() & {"native_batch_norm_backward", "hardtanh_backward"} == set()


def test_torch_computes_what_lies_otherwise_than_the_kernels_want() -> None:
    assert asked_by("efficientnet_b0", "float32", "contiguous").kernels == Counter()


# Someone adds what should not be there

Forward = Callable[[torch.Tensor], torch.Tensor]


class With(nn.Module):
    """A small network with something in its middle."""

    def __init__(self, middle: Forward) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.middle = middle
        self.last = nn.Linear(4, 3)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.middle(self.first(maps)).mean((2, 3)))
        return logits


def waits_for_a_number(maps: torch.Tensor) -> torch.Tensor:
    return maps * maps.abs().max().item()


def decides_by_values(maps: torch.Tensor) -> torch.Tensor:
    return maps if bool(maps.sum() > 0) else -maps


def asks_where(maps: torch.Tensor) -> torch.Tensor:
    return maps * (maps > 0).nonzero().shape[0]


def takes_by_a_mask(maps: torch.Tensor) -> torch.Tensor:
    return maps + maps[maps > 0].mean()


def goes_to_the_host(maps: torch.Tensor) -> torch.Tensor:
    return maps + maps.detach().sum().to("cpu").to(maps.device)


def comes_from_the_host(maps: torch.Tensor) -> torch.Tensor:
    return maps * torch.ones(1, device="cpu").to(maps.device)


def copies(maps: torch.Tensor) -> torch.Tensor:
    return maps.clone()


def changes_in_place(maps: torch.Tensor) -> torch.Tensor:
    return functional.hardtanh(maps, 0, 6, inplace=True)


def pools_to_a_larger_map(maps: torch.Tensor) -> torch.Tensor:
    return functional.adaptive_avg_pool2d(maps, (37, 37))


def interpolates(maps: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(maps, scale_factor=2, mode="bilinear")


def adds_by_index(maps: torch.Tensor) -> torch.Tensor:
    return maps.index_add(1, torch.zeros(4, dtype=torch.int64), maps)


def scatters(maps: torch.Tensor) -> torch.Tensor:
    return maps.scatter_add(1, torch.zeros(maps.shape, dtype=torch.int64), maps)


def sums_up_by_and_by(maps: torch.Tensor) -> torch.Tensor:
    return maps.cumsum(2)


def pads_by_reflection(maps: torch.Tensor) -> torch.Tensor:
    return functional.pad(maps, (1, 1, 1, 1), mode="reflect")


@pytest.mark.parametrize(
    ("middle", "name"),
    [
        (waits_for_a_number, "_local_scalar_dense"),
        (decides_by_values, "_local_scalar_dense"),
        (asks_where, "nonzero"),
        (takes_by_a_mask, "nonzero"),
        (goes_to_the_host, "between host and device"),
        (comes_from_the_host, "between host and device"),
        (copies, "clone"),
        (changes_in_place, "clone"),
        (pools_to_a_larger_map, "_adaptive_avg_pool2d_backward"),
        (interpolates, "upsample_bilinear2d_backward"),
        (adds_by_index, "index_add"),
        (scatters, "scatter_add"),
        (sums_up_by_and_by, "cumsum"),
        (pads_by_reflection, "reflection_pad2d_backward"),
    ],
)
def test_it_is_noticed_when_someone_adds(middle: Forward, name: str) -> None:
    assert refused(asked_by_a_step(lambda: With(lambda maps: maps))) == set()
    assert name in refused(asked_by_a_step(lambda: With(middle)))
