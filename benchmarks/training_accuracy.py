"""What the training loops of benchmarks/training.py have learnt after the same epochs: held-out accuracies by seed.

python benchmarks/training_accuracy.py --json benchmarks/results/training_accuracy.json

Both take the paper's optimiser and schedule; how much there is to learn from is as much as a CPU gets through. With few
segments, batches are smaller, so that there are enough steps.
"""

import argparse
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measured import report
from training import CORES, LOOPS, Work, prepare_corpus

from dsl.settings import TrainingSettings

SEEDS = 8
HELD_OUT = 1024  # segments


@dataclass(frozen=True)
class Learning:
    """How much is learnt from: segments of an epoch, and how they are trained with."""

    segments: int
    training: TrainingSettings


LEARNING = {
    "densenet22": Learning(4096, TrainingSettings(epochs=4)),
    "mobilenetv2": Learning(2048, TrainingSettings(epochs=4, batch_size=32)),
    "efficientnet_b0": Learning(2048, TrainingSettings(epochs=4, batch_size=32)),
    "vgg19": Learning(512, TrainingSettings(epochs=2, batch_size=16, learning_rate=1e-4)),
}


def accuracy(loop: Any, learning: Learning) -> float:
    """Share of held-out segments that are recognised after some epochs with the others."""
    order = np.random.default_rng(0).permutation(len(loop))
    for _ in range(learning.training.epochs):
        loop.epoch(order[: learning.segments])
    return float(loop.accuracy(order[-HELD_OUT:]))


def accuracy_of(loop: str, backbone: str, data: Path, seed: int) -> float:
    learning = LEARNING[backbone]
    work = Work(backbone, data, "synthetic", "cpu", 1, seed, learning.training)
    found = accuracy(LOOPS[loop](work), learning)
    print(backbone, loop, seed, f"{found:.3f}", file=sys.stderr, flush=True)
    return found


def measure(backbone: str, data: Path, seeds: int) -> dict[str, Any]:
    """Accuracies by seed, of trainings on one core each."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, context, max_tasks_per_child=1) as cores:
        runs = {loop: cores.map(partial(accuracy_of, loop, backbone, data), range(seeds)) for loop in LOOPS}
        found = {loop: list(each) for loop, each in runs.items()}
    return {"backbone": backbone, **asdict(LEARNING[backbone]), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", choices=LEARNING, default=list(LEARNING))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare_corpus(Path(folder))
        found = [measure(one, Path(folder) / "data", options.seeds) for one in options.backbones]
    report({"backbones": found}, options.json)


if __name__ == "__main__":
    main()
