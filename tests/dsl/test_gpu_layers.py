"""Layers for GPUs: their kernels come to what torch's layers do, in float64; where they do not apply, torch computes.

There is no GPU here. A process of its own has Triton interpret the kernels, which it has to know before it is imported;
it is slow, so maps are small. They are ragged: neither their places nor their channels fill a block.
"""

import copy
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn
from torch.nn import functional

from dsl.acceleration.layers import laid_out, use_gpu_layers
from dsl.backbones import BACKBONES

pytest.importorskip("triton")

Interpreted = Callable[..., Any]  # a function and its arguments -> what it returns, where kernels are interpreted
Errors = dict[str, float]  # how far something is from the truth, relative to that

CHANNELS_LAST = torch.channels_last
ACTIVATIONS = (None, nn.ReLU, nn.ReLU6, nn.SiLU)
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 5e-3}
WEIGHTS_ROUNDING = 1e-5  # of sums over all places, in float32 with either precision
AT_ONCE = {"one batch's smallest map": (5, 10, 2, 1), "more maps": (9, 19, 8, 4), "the largest": (32, 5, 8, 4)}
IN_ROWS = {"one place more": (41, 5, 5, 5), "several blocks": (45, 18, 8, 4)}


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Interpreted]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            process.submit(torch.set_num_threads, 1).result()
        yield lambda function, *arguments: process.submit(function, *arguments).result()


# Batch norm, with its activation


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [*AT_ONCE.values(), *IN_ROWS.values()], ids=[*AT_ONCE, *IN_ROWS])
def test_a_batch_norm_and_its_activation_come_to_what_torchs_do(
    interpreted: Interpreted, shape: tuple[int, ...], activation: type[nn.Module] | None
) -> None:
    errors = interpreted(errors_of_normalising, shape, activation, torch.float32)
    assert_small(errors, torch.float32)


@pytest.mark.parametrize("shape", [AT_ONCE["more maps"], IN_ROWS["several blocks"]], ids=["at once", "in rows"])
def test_so_they_do_in_bfloat16(interpreted: Interpreted, shape: tuple[int, ...]) -> None:
    errors = interpreted(errors_of_normalising, shape, nn.SiLU, torch.bfloat16)
    assert_small(errors, torch.bfloat16)


def test_large_maps_are_taken_in_blocks_of_fewer_channels(interpreted: Interpreted) -> None:
    errors = interpreted(errors_of_normalising, (43, 6, 16, 4), nn.ReLU6, torch.float32, {"BLOCKS": 2})
    assert_small(errors, torch.float32)


def test_in_evaluation_torch_normalises(interpreted: Interpreted) -> None:
    assert interpreted(normalises_without_kernels, CHANNELS_LAST, "eval")


def test_maps_that_are_not_channels_last_are_normalised_by_torch(interpreted: Interpreted) -> None:
    assert interpreted(normalises_without_kernels, torch.contiguous_format, "train")


def errors_of_normalising(
    shape: tuple[int, ...],
    activation: type[nn.Module] | None,
    dtype: torch.dtype,
    constants: dict[str, Any] | None = None,
) -> Errors:
    """Of two batches, whose statistics run on."""
    from dsl.acceleration import gpu_layers

    truth = normalising(shape[1], activation).double()
    ours = on_gpu(normalising(shape[1], activation))
    assert isinstance(ours, gpu_layers.NormalisingOnGpu)
    with mock.patch.multiple("dsl.acceleration.gpu_layers", **constants) if constants else nullcontext():
        for seed in (0, 1):
            truth.zero_grad()
            ours.zero_grad()
            errors = errors_beside(ours, truth, shape, dtype, seed)
    assert ours.num_batches_tracked == truth.num_batches_tracked == 2
    running = {name: error(value, dict(truth.named_buffers())[name]) for name, value in ours.named_buffers()}
    return {**errors, **running}


def normalises_without_kernels(layout: torch.memory_format, mode: str) -> bool:
    """Whether a batch norm comes to torch's bits although there are no kernels."""
    from dsl.acceleration import gpu_layers

    truth = normalising(6, nn.SiLU)
    ours = on_gpu(copy.deepcopy(truth))
    input = torch.randn(4, 6, 8, 4).to(memory_format=layout)
    for module in (ours, truth):
        module.train(mode == "train")
    with mock.patch.object(gpu_layers, "kernels", None):
        output = ours(input)
    return torch.equal(output, truth(input)) and same_state(ours, truth)


def normalising(channels: int, activation: type[nn.Module] | None) -> nn.Module:
    torch.manual_seed(0)
    module = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    if activation is not None:
        module = BatchNormAct2d(channels, eps=1e-3, momentum=0.3, act_layer=activation, inplace=False)
    with torch.no_grad():
        module.weight.uniform_(0.5, 2.0)
        module.bias.normal_()
    return module


# Depthwise convolutions


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("shape", [(6, 33, 2, 1), (3, 10, 8, 4), (2, 5, 7, 5)], ids=["2 x 1", "8 x 4", "7 x 5"])
def test_a_depthwise_convolution_comes_to_what_torchs_does(
    interpreted: Interpreted, shape: tuple[int, ...], kernel: int, stride: int
) -> None:
    assert_small(interpreted(errors_of_convolving, shape, kernel, stride, torch.float32), torch.float32)


def test_so_it_does_in_bfloat16(interpreted: Interpreted) -> None:
    assert_small(interpreted(errors_of_convolving, (3, 10, 8, 4), 5, 2, torch.bfloat16), torch.bfloat16)


def test_the_gradient_of_a_tap_is_added_up_of_parts(interpreted: Interpreted) -> None:
    errors = interpreted(errors_of_convolving, (6, 3, 7, 5), 3, 1, torch.float32, {"PLACES_OF_A_PART": 64})
    assert_small(errors, torch.float32)


@pytest.mark.parametrize(
    ("convolution", "layout"),
    [
        (nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), torch.contiguous_format),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), CHANNELS_LAST),
        (nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, bias=False), CHANNELS_LAST),
        (nn.Conv2d(6, 6, (3, 5), padding=(1, 2), groups=6, bias=False), CHANNELS_LAST),
        (nn.Conv2d(6, 12, 3, padding=1, groups=6, bias=False), CHANNELS_LAST),
        (nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False), CHANNELS_LAST),
        (nn.Conv2d(6, 6, 3, padding=1, bias=False), CHANNELS_LAST),
    ],
    ids=["not channels-last", "with biases", "dilated", "not square", "two of each", "in groups", "not depthwise"],
)
def test_other_convolutions_are_left_to_torch(
    interpreted: Interpreted, convolution: nn.Conv2d, layout: torch.memory_format
) -> None:
    assert interpreted(convolves_without_kernels, convolution, layout)


@pytest.mark.parametrize("bias", [False, True])
def test_a_product_of_single_places_is_what_the_convolution_comes_to(bias: bool) -> None:
    convolution = nn.Conv2d(6, 5, 1, bias=bias).double()
    input = torch.randn(4, 6, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(on_gpu(copy.deepcopy(convolution))(input), convolution(input))


def errors_of_convolving(
    shape: tuple[int, ...], kernel: int, stride: int, dtype: torch.dtype, constants: dict[str, Any] | None = None
) -> Errors:
    from dsl.acceleration import gpu_layers

    torch.manual_seed(0)
    channels = shape[1]
    truth = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    ours = on_gpu(copy.deepcopy(truth))
    assert isinstance(ours, gpu_layers.ConvolutionOnGpu)
    with mock.patch.multiple("dsl.acceleration.gpu_layers", **constants) if constants else nullcontext():
        return errors_beside(ours, truth.double(), shape, dtype)


def convolves_without_kernels(convolution: nn.Conv2d, layout: torch.memory_format) -> bool:
    from dsl.acceleration import gpu_layers

    input = torch.randn(3, 6, 8, 4).to(memory_format=layout)
    with mock.patch.object(gpu_layers, "kernels", None):
        output = on_gpu(copy.deepcopy(convolution))(input)
    return torch.equal(output, convolution(input))


# Maps that are weighted by what two dense layers make of their means


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(3, 10, 2, 1), (2, 37, 9, 8)], ids=["2 x 1", "9 x 8"])
def test_a_squeeze_and_excitation_comes_to_what_torchs_does(
    interpreted: Interpreted, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    assert_small(interpreted(errors_of_exciting, shape, dtype), dtype)


def test_maps_that_are_not_channels_last_are_weighted_by_torch(interpreted: Interpreted) -> None:
    assert interpreted(excites_without_kernels)


def errors_of_exciting(shape: tuple[int, ...], dtype: torch.dtype) -> Errors:
    truth = exciting(shape[1])
    ours = on_gpu(copy.deepcopy(truth))
    assert type(ours) is not type(truth)
    return errors_beside(ours, truth.double(), shape, dtype)


def excites_without_kernels() -> bool:
    from dsl.acceleration import gpu_layers

    truth = exciting(6)
    input = torch.randn(3, 6, 8, 4)
    with mock.patch.object(gpu_layers, "kernels", None):
        output = on_gpu(copy.deepcopy(truth))(input)
    return torch.allclose(output, truth(input), rtol=1e-5)  # its products of single places are torch's dense layers


def exciting(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return SqueezeExcite(channels, rd_channels=3, act_layer=nn.SiLU)


# bfloat16 copies of weights


def test_copies_of_weights_come_to_the_bits_of_torchs_mixed_precision() -> None:
    from dsl.acceleration.gpu_layers import reduced_weights

    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 1, bias=False), nn.Flatten(), nn.Linear(5 * 6 * 2, 4)
    )
    plain = laid_out(layers, CHANNELS_LAST)
    suited = on_gpu(copy.deepcopy(plain))
    input = torch.randn(9, 1, 8, 4)
    outputs = []
    for network, block in ((suited, reduced_weights(suited)), (plain, nullcontext())):
        with torch.autocast("cpu", torch.bfloat16), block:
            outputs.append(network(input))
        outputs[-1].float().square().sum().backward()
    assert outputs[0].dtype == torch.bfloat16 and torch.equal(*outputs)
    for one, other in zip(suited.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None and one.grad.dtype == torch.float32
        assert torch.equal(one.grad, other.grad)
    assert suited(input).dtype == torch.float32  # the block is over


# Networks


def test_weights_and_their_names_stay_as_they_are() -> None:
    for backbone in ("densenet22", "mobilenetv2", "efficientnet_b0"):
        network = BACKBONES[backbone](4)
        suited = use_gpu_layers(copy.deepcopy(network))
        assert list(suited.state_dict()) == list(network.state_dict())
        assert same_state(suited, network), backbone


def test_the_names_of_vgg19_stay_as_they_are() -> None:
    with torch.device("meta"):
        network = BACKBONES["vgg19"](4)
    assert list(use_gpu_layers(copy.deepcopy(network)).state_dict()) == list(network.state_dict())


@pytest.mark.parametrize("backbone", ["mobilenetv2", "efficientnet_b0"])
def test_all_layers_of_a_backbone_that_have_kernels_are_changed(backbone: str) -> None:
    from dsl.acceleration.gpu_layers import ConvolutionOnGpu, NormalisingOnGpu

    modules = list(use_gpu_layers(BACKBONES[backbone](4)).modules())
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    depthwise = [module for module in modules if getattr(module, "groups", 1) > 1]
    assert norms and all(isinstance(module, NormalisingOnGpu) for module in norms)
    assert depthwise and all(isinstance(module, ConvolutionOnGpu) and module._is_depthwise for module in depthwise)
    assert not any(type(module) is SqueezeExcite for module in modules)


def test_a_network_learns_what_it_learns_with_torchs_layers(interpreted: Interpreted) -> None:
    losses, expected = interpreted(losses_of_learning)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert expected[-1] < expected[0]


def losses_of_learning(steps: int = 3) -> tuple[list[float], list[float]]:
    """Of a network as it is on a GPU, and of the same with torch's layers in float64."""
    from dsl.acceleration import gpu_layers

    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1, bias=False),
        normalising(6, nn.ReLU6),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        normalising(6, nn.SiLU),
        exciting(6),
        nn.Conv2d(6, 10, 1, bias=False),
        normalising(10, None),
        nn.Conv2d(10, 10, 5, stride=2, padding=2, groups=10, bias=False),
        normalising(10, nn.ReLU),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(10, 4, 1),
        nn.Flatten(),
    )
    suited = on_gpu(copy.deepcopy(plain))
    assert sum(isinstance(module, gpu_layers.NormalisingOnGpu) for module in suited.modules()) == 4
    input, target = torch.randn(7, 1, 14, 10), torch.arange(7) % 4
    found: list[list[float]] = []
    for network, given in ((suited, input), (plain.double(), input.double())):
        optimizer = torch.optim.Adam(network.parameters(), 0.01)
        found.append([])
        for _ in range(steps):
            loss = functional.cross_entropy(network(given.to(memory_format=CHANNELS_LAST)), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found[-1].append(loss.item())
    return found[0], found[1]


# What they share


def on_gpu(network: nn.Module) -> nn.Module:
    return laid_out(use_gpu_layers(network), CHANNELS_LAST)


def errors_beside(
    ours: nn.Module, truth: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0
) -> Errors:
    """Of the output and all gradients of `ours`, whose maps are of type `dtype`; the truth is in float64."""
    torch.manual_seed(seed)
    maps = (2 * torch.randn(shape) + 3).to(dtype).to(memory_format=CHANNELS_LAST)
    given, known = maps.clone().requires_grad_(), maps.double().requires_grad_()
    output, expected = ours(given), truth(known)
    assert output.dtype == dtype and output.is_contiguous(memory_format=CHANNELS_LAST)
    coming = torch.randn(expected.shape).to(dtype)  # not channels-last
    output.backward(coming)
    expected.backward(coming.double())
    gradients = dict(truth.named_parameters())
    return {
        "output": error(output, expected),
        "input": error(given.grad, known.grad),
        **{name: error(one.grad, gradients[name].grad) for name, one in ours.named_parameters()},
    }


def error(found: torch.Tensor | None, truth: torch.Tensor | None) -> float:
    assert found is not None and truth is not None
    return float((found.detach().double() - truth.detach()).norm() / truth.detach().double().norm())


def assert_small(errors: Errors, dtype: torch.dtype) -> None:
    assert len(errors) > 2
    for name, apart in errors.items():
        assert apart < (ROUNDING[dtype] if name in ("output", "input") else WEIGHTS_ROUNDING), (name, errors)


def same_state(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(value, known) for value, known in pairs)
