"""Layers for CPUs and GPUs: the outputs and gradients of torch's, the same weights, in the places where it matters."""

import copy
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dsl.acceleration.layers import Convolution, depthwise_weight_gradient, use_cpu_layers, use_gpu_layers
from dsl.backbones import BACKBONES

SIDES = st.integers(1, 7)


@given(
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    size=st.tuples(SIDES, SIDES),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_depthwise_weight_gradient_is_autograds(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], size: tuple[int, int]
) -> None:
    sides = [max(side, k - 2 * p) for side, k, p in zip(size, kernel, padding, strict=True)]
    torch.manual_seed(0)
    input = torch.randn(3, 4, *sides, dtype=torch.float64)
    weight = torch.randn(4, 1, *kernel, dtype=torch.float64, requires_grad=True)
    output = nn.functional.conv2d(input, weight, None, stride, padding, groups=4)
    gradient = torch.randn_like(output)
    output.backward(gradient)
    found = depthwise_weight_gradient(gradient, input, weight.shape, stride, padding)
    torch.testing.assert_close(found, weight.grad)


@pytest.mark.parametrize("backbone", ["mobilenetv2", "efficientnet_b0", "densenet22"])
def test_a_backbone_suited_to_cpus_computes_and_learns_the_same(backbone: str) -> None:
    torch.manual_seed(0)
    plain = BACKBONES[backbone](4).double()
    for module in plain.modules():
        if isinstance(module, nn.Dropout) or hasattr(module, "drop_prob"):
            module.eval()
    suited = use_cpu_layers(copy.deepcopy(plain))
    windows = torch.randn(8, 1, 64, 32, dtype=torch.float64)  # 16 places in the last maps: taken as larger ones
    torch.manual_seed(1)
    expected = plain(windows)
    torch.manual_seed(1)
    found = suited(windows)
    torch.testing.assert_close(found, expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    gradients = {name: weight.grad for name, weight in plain.named_parameters()}
    for name, weight in suited.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-6, atol=1e-9)
    assert list(suited.state_dict()) == list(plain.state_dict())


def test_depthwise_convolutions_of_mobilenet_and_efficientnet_are_changed() -> None:
    for backbone in ("mobilenetv2", "efficientnet_b0"):
        depthwise = [m for m in use_cpu_layers(BACKBONES[backbone](4)).modules() if getattr(m, "groups", 1) > 1]
        assert depthwise and all(isinstance(module, Convolution) for module in depthwise)


def test_what_a_convolution_cannot_do_faster_is_left_to_torch() -> None:
    reflecting, named = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), nn.Conv2d(2, 2, 3, padding="same")
    assert type(use_cpu_layers(reflecting)) is nn.Conv2d
    assert type(use_cpu_layers(named)) is nn.Conv2d


@pytest.fixture
def _no_kernels_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """They run on a GPU alone."""
    monkeypatch.setitem(sys.modules, "dsl.acceleration.gpu_layers", None)


@pytest.mark.usefixtures("_no_kernels_of_our_own")
@pytest.mark.parametrize("adapt", [use_cpu_layers, use_gpu_layers])
@pytest.mark.parametrize("backbone", ["mobilenetv2", "efficientnet_b0"])
def test_no_activation_writes_over_what_it_is_given(backbone: str, adapt: Callable[[nn.Module], nn.Module]) -> None:
    """Autograd would keep a copy of it."""
    activations = [
        module for module in adapt(BACKBONES[backbone](4)).modules() if isinstance(module, nn.SiLU | nn.ReLU6)
    ]
    assert activations and not any(module.inplace for module in activations)
