"""The backbones (§VII) are the documented networks, and `dsl` asks for no more of the environment than it needs."""

import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from dsl.backbones import BACKBONES, build_vgg19

ROOT = Path(__file__).parents[2]
SMALL = [name for name in BACKBONES if name != "vgg19"]  # 39 M weights: most is looked at without memory of its own
META = torch.device("meta")
ADAMS_EPSILON = 1e-7  # a gradient that is smaller moves nothing
INPUT = torch.Size([2, 1, 64, 32])


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """Every backbone for seven classes, shapes only."""
    with META:
        return {name: build(7).eval() for name, build in BACKBONES.items()}


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def weighted_layers(network: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_maps_segments_to_a_score_a_class(name: str, networks: dict[str, nn.Module]) -> None:
    assert networks[name](torch.empty(INPUT, device=META)).shape == (2, 7)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_of_a_backbone_takes_part_in_learning(name: str) -> None:
    torch.manual_seed(0)
    network = BACKBONES[name](3)
    loss = nn.functional.cross_entropy(network(torch.randn(INPUT)), torch.tensor([0, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("name", "millions"), [("vgg19", 41.0), ("efficientnet_b0", 4.0), ("mobilenetv2", 2.2), ("densenet22", 0.07)]
)
def test_backbones_have_the_weights_of_the_networks_they_are_named_for(
    name: str, millions: float, networks: dict[str, nn.Module]
) -> None:
    assert weights(networks[name]) / 1e6 == pytest.approx(millions, rel=0.05)


@pytest.mark.parametrize(("name", "layers"), [("vgg19", 19), ("densenet22", 22)])
def test_the_number_in_a_name_is_that_of_weighted_layers(
    name: str, layers: int, networks: dict[str, nn.Module]
) -> None:
    assert weighted_layers(networks[name]) == layers


def test_vgg19_normalises_what_each_of_its_hidden_layers_says(networks: dict[str, nn.Module]) -> None:
    *hidden, _ = pairwise(networks["vgg19"].children())
    behind = [after for before, after in hidden if isinstance(before, nn.Conv2d | nn.Linear)]
    assert [isinstance(layer, nn.BatchNorm2d) for layer in behind] == [True] * 16 + [False] * 2
    assert [isinstance(layer, nn.BatchNorm1d) for layer in behind[-2:]] == [True] * 2


def test_vgg19s_dense_layers_take_the_map_that_its_convolutions_leave(networks: dict[str, nn.Module]) -> None:
    pools = [module for module in networks["vgg19"].modules() if "Pool" in type(module).__name__]
    dense = [module for module in networks["vgg19"].modules() if isinstance(module, nn.Linear)]
    assert [type(pool) for pool in pools] == [nn.MaxPool2d] * 5
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(1024, 4096), (4096, 4096), (4096, 7)]


@pytest.mark.parametrize("narrowed", [1, 16])
def test_vgg19_begins_undecided_and_learns_in_all_its_layers(narrowed: int) -> None:
    torch.manual_seed(0)
    network = build_vgg19(7, narrowed)
    loss = nn.functional.cross_entropy(network(torch.randn(16, 1, 64, 32)), torch.arange(16) % 7)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(7), abs=0.5)
    gradients = [weight.grad for weight in network.parameters()]
    steepest = [0.0 if one is None else one.abs().max().item() for one in gradients]
    assert min(steepest) > ADAMS_EPSILON * 100


@pytest.mark.parametrize("name", BACKBONES)
def test_nothing_is_dropped_at_random(name: str, networks: dict[str, nn.Module]) -> None:
    shares = [getattr(module, "p", getattr(module, "drop_prob", 0)) for module in networks[name].modules()]
    assert not any(shares)


def test_the_same_seed_builds_the_same_network() -> None:
    built = []
    for _ in range(2):
        torch.manual_seed(5)
        built.append(torch.cat([parameter.flatten() for parameter in BACKBONES["densenet22"](3).parameters()]))
    assert torch.equal(*built)


def run_python(program: str) -> str:
    """What `program` prints, run by an interpreter of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_names_of_the_backbones_are_there_without_torch() -> None:
    program = (
        "import sys; from dsl.backbones import BACKBONES; print(len(BACKBONES), {'torch', 'timm'} & {*sys.modules})"
    )
    assert run_python(program) == f"{len(BACKBONES)} set()"


CHAIN_WITHOUT_THE_REST = """
import sys
sys.modules.update(dict.fromkeys(["ray", "librosa", "soundfile"]))  # importing them fails

import importlib, pkgutil
import dsl
for module in pkgutil.iter_modules(dsl.__path__):
    importlib.import_module("dsl." + module.name)

import numpy as np
from tests.dsl.dsl_toys import CPU, MemoryStages, toy_corpus
corpus, memory = toy_corpus(), MemoryStages()
updates = (dsl.labels.LabelUpdate("wdsl", 0.2),)
training = dsl.settings.TrainingSettings(epochs=1)
chain = dsl.settings.ChainSettings("toy", "tiny", "stratified", 3, 0, 0, "in_fold", updates, training)
dsl.company.run_chain(corpus, chain, CPU, memory)
features = dsl.utterances.utterance_features(memory.saved[1].q, corpus.utterance)
print(len(dsl.utterances.mean_pooled(features, 3)))
"""


def test_a_chain_runs_without_ray_and_without_the_readers_of_audio() -> None:
    assert run_python(CHAIN_WITHOUT_THE_REST) == "18"
