"""Whether VGG19 begins to learn at the paper's rate: the network of before version 2 and that of now, by training seed;
and, with a single seed, what changes one thing at a time.

python benchmarks/vgg19_begins.py --data DATA --json benchmarks/results/vgg19_begins.json
python benchmarks/vgg19_begins.py --data DATA --factors --json benchmarks/results/vgg19_factors.json

DATA is where `ser-sweep prepare emodb` wrote to; with `--device cuda --every 8` it takes a minute or two. All learn
from a fold of a thinned Emo-DB as a stage of a sweep does, by the paper's optimiser, rate, decay and batches. A network
that knows no more than how frequent the classes are has their entropy as its loss, and the share of the most frequent
one as its accuracy: one has begun to learn where its training loss of an epoch is BELOW nats lower, and its validation
accuracy is higher.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measured import report
from scipy.stats import entropy
from torch import nn
from training import CORES

from data_prep.data_folder import find_prepared
from data_prep.shards import SegmentCorpus, load_corpus
from dsl.backbones import build_vgg19
from dsl.fold_parts import FoldPart
from dsl.labels import one_hot
from dsl.process import configure_process
from dsl.segments import Segments, band_statistics
from dsl.settings import ChainSettings, Step, TrainingSettings
from dsl.splits import training_seed
from dsl.training import Lesson, Training, train_an_epoch

SEEDS = 5
BELOW = 0.1
EPOCHS = 3

Facts = dict[str, Any]


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


def lesson_of(network: str, seed: int, corpus: SegmentCorpus, settings: TrainingSettings, device: str) -> Lesson:
    """What iteration 0 of the first fold learns."""
    chain = ChainSettings(corpus.name, "vgg19", "stratified", 10, 0, seed, None, (), settings)
    part = FoldPart.of(corpus, chain)
    segments = Segments(corpus, *band_statistics(corpus, part.training), torch.device(device))
    targets = one_hot(corpus.label, len(corpus.classes))
    build = partial(NETWORKS[network], len(corpus.classes))
    seed = training_seed(chain, Step(0))
    return Lesson(build, segments, part.training, part.validation, targets, settings, seed)


def begin(network: str, seeds: Sequence[int], data: Path, settings: TrainingSettings, device: str) -> list[Facts]:
    """Trainings side by side: their epochs, and which is the first that has begun to learn (None where none has)."""
    configure_process(1)
    corpus = load_corpus(find_prepared(data, "emodb")).thinned(settings.every)
    trainings = [Training(lesson_of(network, seed, corpus, settings, device), NoCheckpoint()) for seed in seeds]
    while not trainings[0].run.finished:
        for failure in train_an_epoch(trainings):
            if failure is not None:
                raise failure
        for seed, one in zip(seeds, trainings, strict=True):
            print(network, seed, one.run.history[-1], file=sys.stderr, flush=True)
    return [begun(network, seed, one) for seed, one in zip(seeds, trainings, strict=True)]


def begun(network: str, seed: int, training: Training) -> Facts:
    lesson = training.lesson
    shares = lesson.targets[lesson.training].mean(axis=0)
    loss_limit, accuracy_limit = float(entropy(shares)) - BELOW, float(shares.max())
    epochs = training.run.history
    learning = [
        one.number for one in epochs if one.loss < loss_limit and (one.validation_accuracy or 0) > accuracy_limit
    ]
    return {
        "network": network,
        "seed": seed,
        "training_segments": len(lesson.training),
        "validation_segments": len(lesson.validation),
        "loss_limit": loss_limit,
        "accuracy_limit": accuracy_limit,
        "epochs": [asdict(one) for one in epochs],
        "begins": learning[0] + 1 if learning else None,
        "recorded": training.run.recorded,
    }


def all_begun(
    networks: Sequence[str], seeds: int, data: Path, settings: TrainingSettings, device: str
) -> Iterator[list[Facts]]:
    """On CPUs a training on each core at a time, on a GPU those of a network side by side."""
    if device == "cuda":
        for network in networks:
            yield begin(network, range(seeds), data, settings, device)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, context, max_tasks_per_child=1) as cores:
        asked = [
            cores.submit(begin, network, [seed], data, settings, device)
            for seed in range(seeds)
            for network in networks
        ]
        for one in asked:
            yield one.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with Emo-DB, prepared")
    parser.add_argument("--factors", action="store_true", help="what lies between the two, with one seed")
    parser.add_argument("--every", type=int, default=32, help="of so many segments one (default: 32)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, help="file to write the figures to, as soon as a network's are there")
    options = parser.parse_args()
    compared, factors = list(NETWORKS)[:2], list(NETWORKS)[2:]
    networks, seeds = (factors, 1) if options.factors else (compared, SEEDS)
    settings = TrainingSettings(epochs=EPOCHS, every=options.every, early_stopping=False)
    card = torch.cuda.get_device_name() if options.device == "cuda" else None
    runs: list[Facts] = []
    for found in all_begun(networks, seeds, options.data, settings, options.device):
        runs += found
        report({"training": asdict(settings), "card": card, "runs": runs}, options.json)


if __name__ == "__main__":
    main()
