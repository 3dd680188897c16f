"""Batch norm and activation in one step: what torch's come to, and NaN that stays NaN."""

import copy
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from dsl.acceleration import kernels
from dsl.acceleration.layers import use_cpu_layers
from dsl.acceleration.normalising import Normalising
from dsl.backbones import BACKBONES

ACTIVATIONS = [nn.Identity, nn.ReLU, nn.ReLU6, nn.SiLU]
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def norm(channels: int, activation: type[nn.Module]) -> BatchNormAct2d:
    torch.manual_seed(channels)
    made = BatchNormAct2d(channels, act_layer=activation, inplace=False)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


@given(
    activation=st.sampled_from(ACTIVATIONS),
    shape=st.tuples(st.integers(2, 9), st.integers(1, 70), st.integers(1, 6), st.integers(1, 6)),
    offset=st.sampled_from([0.0, 100.0]),
    channels_last=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_values_gradients_and_running_statistics_are_torchs(
    activation: type[nn.Module], shape: tuple[int, int, int, int], offset: float, channels_last: bool
) -> None:
    ours = norm(shape[1], activation)
    exact = copy.deepcopy(ours).double()
    use_cpu_layers(ours)
    assert isinstance(ours, Normalising)
    maps = 3 * torch.randn(shape) + offset
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    direction = torch.randn(shape)
    mine, its = maps.clone().requires_grad_(), maps.double().requires_grad_()
    found, expected = ours(mine), exact(its)
    found.backward(direction)
    expected.backward(direction.double())
    assert mine.grad is not None and its.grad is not None
    assert ours.weight.grad is not None and ours.bias.grad is not None
    # float32 resolves 3 / 100 of a large offset's last places
    close: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3} if offset else CLOSE
    torch.testing.assert_close(found.double(), expected, **close)
    # Near a bound of the activation, rounding decides whether there is a gradient; that of a few rows is a small
    # difference of large numbers.
    if not offset and shape[0] * shape[2] * shape[3] >= 8:
        torch.testing.assert_close(mine.grad.double(), its.grad, **CLOSE)
        torch.testing.assert_close(ours.weight.grad.double(), exact.weight.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.bias.grad.double(), exact.bias.grad, rtol=1e-4, atol=1e-4)
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer.double(), exact.get_buffer(name).double(), rtol=1e-4, atol=1e-4)


def test_large_maps_are_summed_as_precisely() -> None:
    ours = use_cpu_layers(norm(24, nn.SiLU))
    exact = copy.deepcopy(norm(24, nn.SiLU)).double()
    maps = torch.randn(128, 24, 32, 16) + 5
    torch.testing.assert_close(ours(maps).double(), exact(maps.double()), **CLOSE)


def test_sigmoids_are_those_of_float32_for_all_that_comes() -> None:
    y = np.concatenate([np.linspace(-120, 120, 20_001), [-np.inf, np.inf, np.nan, -0.0]]).astype(np.float32)
    found = np.array([kernels._sigmoid(one) for one in y])
    expected = torch.from_numpy(y).double().sigmoid().numpy()
    np.testing.assert_allclose(found, expected, rtol=5e-7, atol=2e-38)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_value_that_is_none_is_not_lost(activation: type[nn.Module]) -> None:
    maps = torch.randn(4, 3, 2, 2)
    maps[1, 2, 0, 0] = torch.nan
    found = use_cpu_layers(norm(3, activation))(maps)
    assert found[:, 2].isnan().all() and found[:, :2].isfinite().all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_says_what_torchs_says(backbone: str) -> None:
    torch.manual_seed(0)
    plain = BACKBONES[backbone](4)
    for module in plain.modules():
        if isinstance(module, nn.Dropout) or hasattr(module, "drop_prob"):
            module.eval()
    suited = use_cpu_layers(copy.deepcopy(plain))
    norms = [module for module in suited.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(isinstance(module, Normalising) for module in norms)
    assert list(suited.state_dict()) == list(plain.state_dict())
    windows = torch.randn(16, 1, 64, 32)
    torch.testing.assert_close(suited(windows), plain(windows), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(suited.eval()(windows), plain.eval()(windows), rtol=1e-3, atol=1e-3)


def test_several_threads_and_other_precisions_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("called")

    monkeypatch.setattr(kernels, "normalise", never)
    ours = use_cpu_layers(norm(4, nn.ReLU))
    maps = torch.randn(2, 4, 3, 3)
    with pytest.raises(AssertionError):
        ours(maps)
    ours.double()(maps.double())
    torch.set_num_threads(2)
    ours.float()(maps)


def test_without_numba_networks_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dsl.acceleration.normalising", None)
    assert type(use_cpu_layers(norm(4, nn.ReLU))) is BatchNormAct2d


def test_batch_norms_of_other_kinds_are_left_alone() -> None:
    for kind in (nn.BatchNorm2d(2, affine=False), nn.BatchNorm2d(2, track_running_stats=False), nn.GroupNorm(1, 2)):
        assert not isinstance(use_cpu_layers(kind), Normalising)
    assert not isinstance(use_cpu_layers(norm(2, nn.Tanh)), Normalising)
