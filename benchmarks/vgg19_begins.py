"""Whether VGG19 begins to learn at the paper's rate: the network of before version 2 and that of now, by training seed;
and, with a single seed, what changes one thing at a time.

python benchmarks/vgg19_begins.py --data DATA --json benchmarks/results/vgg19_begins.json
python benchmarks/vgg19_begins.py --data DATA --factors --json benchmarks/results/vgg19_factors.json

DATA is where `ser-sweep prepare emodb` wrote to. All learn from a fold of a thinned Emo-DB as a stage of a sweep does,
by the paper's optimiser, rate, decay and batches. A network that knows no more than how frequent the classes are has
their entropy as its loss, and the share of the most frequent one as its accuracy: one has begun to learn where its
training loss of an epoch is BELOW nats lower, and its validation accuracy is higher.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import report
from scipy.stats import entropy
from torch import nn
from training import CORES

from data_prep.shards import find_prepared, load_corpus
from dsl.backbones import build_vgg19
from dsl.chain import FoldPart
from dsl.labels import one_hot
from dsl.process import settle
from dsl.segments import Segments, band_statistics
from dsl.settings import ChainSettings, Step, TrainingSettings
from dsl.splits import training_seed
from dsl.training import Lesson, Training, train_an_epoch

SEEDS = 5
BELOW = 0.1
LEARNING = TrainingSettings(epochs=3, every=32, early_stopping=False)


def timms(name: str, classes: int) -> nn.Module:
    """timm's VGG19: its dense layers are of a 7 x 7 map, to which that of 2 x 1 is pooled."""
    import timm

    return timm.create_model(name, pretrained=False, in_chans=1, num_classes=classes)


def without_norms(classes: int, *kinds: type[nn.Module]) -> nn.Module:
    """The network of now without batch norms of these kinds, or of all."""
    network = build_vgg19(classes)
    for name, module in list(network.named_children()):
        if isinstance(module, kinds or nn.modules.batchnorm._BatchNorm):
            network.register_module(name, nn.ReLU() if isinstance(module, nn.BatchNorm2d) else nn.Identity())
    return network


def begun_as(network: nn.Module, draw: Callable[[torch.Tensor], object]) -> nn.Module:
    """`network` with other initial weights, save for its last layer."""
    *hidden, _ = (module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    for layer in hidden:
        draw(layer.weight)
    return network


by_inputs = partial(nn.init.kaiming_normal_, nonlinearity="relu")
by_outputs = partial(nn.init.kaiming_normal_, nonlinearity="relu", mode="fan_out")

NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "before": partial(timms, "vgg19"),
    "now": build_vgg19,
    "before, with initial weights as now": lambda classes: begun_as(timms("vgg19", classes), by_inputs),
    "before, with a flattened map": lambda classes: begun_as(without_norms(classes), by_outputs),
    "before, with batch norm behind convolutions": partial(timms, "vgg19_bn"),
    "now, without batch norm behind dense layers": lambda classes: without_norms(classes, nn.BatchNorm1d),
    "now, without batch norm behind convolutions": lambda classes: without_norms(classes, nn.BatchNorm2d),
    "now, without batch norm": without_norms,
    "now, without batch norm, with Keras' initial weights": lambda classes: begun_as(
        without_norms(classes), nn.init.xavier_uniform_
    ),
}


class NoCheckpoint:
    def read(self) -> None: ...
    def write(self, content: bytes) -> None: ...


def lesson_of(network: str, seed: int, data: Path) -> tuple[Lesson, np.ndarray]:
    """What iteration 0 of the first fold learns, and the shares of the classes [K] among its training segments."""
    corpus = load_corpus(find_prepared(data, "emodb")).thinned(LEARNING.every)
    chain = ChainSettings(corpus.name, "vgg19", "stratified", 10, 0, seed, None, (), LEARNING)
    part = FoldPart.of(corpus, chain)
    segments = Segments(corpus, *band_statistics(corpus, part.training), torch.device("cpu"))
    targets = one_hot(corpus.label, len(corpus.classes))
    build = partial(NETWORKS[network], len(corpus.classes))
    seed = training_seed(chain, Step(0))
    lesson = Lesson(build, segments, part.training, part.validation, targets, LEARNING, seed)
    return lesson, targets[part.training].mean(axis=0)


def begins(network: str, seed: int, data: Path) -> dict[str, Any]:
    """The epochs of a training, and which is the first that has begun to learn (None where none has)."""
    settle(1)
    lesson, shares = lesson_of(network, seed, data)
    limit = float(entropy(shares)) - BELOW, float(shares.max())
    training = Training(lesson, NoCheckpoint())
    while not training.finished:
        (failure,) = train_an_epoch([training])
        if failure is not None:
            raise failure
        print(network, seed, training.run.history[-1], file=sys.stderr, flush=True)
    epochs = [asdict(epoch) for epoch in training.run.history]
    begun = [one["number"] for one in epochs if one["loss"] < limit[0] and one["validation_accuracy"] > limit[1]]
    return {
        "network": network,
        "seed": seed,
        "training_segments": len(lesson.training),
        "validation_segments": len(lesson.validation),
        "loss_limit": limit[0],
        "accuracy_limit": limit[1],
        "epochs": epochs,
        "begins": begun[0] + 1 if begun else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with Emo-DB, prepared")
    parser.add_argument("--factors", action="store_true", help="what lies between the two, with one seed")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    compared, factors = list(NETWORKS)[:2], list(NETWORKS)[2:]
    networks, seeds = (factors, 1) if options.factors else (compared, SEEDS)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, context, max_tasks_per_child=1) as cores:
        asked = [cores.submit(begins, network, seed, options.data) for seed in range(seeds) for network in networks]
        found = [one.result() for one in asked]
    report({"training": asdict(LEARNING), "runs": found}, options.json)


if __name__ == "__main__":
    main()
