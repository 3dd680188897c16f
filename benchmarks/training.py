"""A training epoch of every backbone: ours against a plain PyTorch loop over the Parquet rows, in turn.

python benchmarks/training.py --json benchmarks/results/training.json

The rival is what one would write: an eager network, a DataLoader that shuffles, torch's Adam with the paper's settings,
the loss read after every batch. Either uses the machine in two ways: one training on all cores, and one on each core at
the same time, as trials of a sweep do. Each measurement has processes of its own, and rival and ours take turns. Beside
the rates stand the limits of the machine: the network's arithmetic at the rate of a large convolution or product, and
the traffic of its activations at the rate of a large copy. The work is doubled, to show how cost grows.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from measured import report
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.flop_counter import FlopCounterMode

from data_prep.arrays import Ints
from data_prep.checked import list_values
from data_prep.data_folder import find_prepared
from data_prep.shards import load_corpus
from dsl.backbones import BACKBONES
from dsl.labels import one_hot
from dsl.process import configure_process
from dsl.segments import Segments, band_statistics
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun, predict

ROOT = Path(__file__).parents[1]
SEGMENTS = {"densenet22": 2048, "mobilenetv2": 512, "efficientnet_b0": 512, "vgg19": 64}  # of the smallest epoch
PAPERS = TrainingSettings()
BATCH = PAPERS.batch_size
ROUNDS = 3
CORES = os.cpu_count() or 1
OPERATORS = {  # what a step is made of -> parts of the names of torch's operators
    "convolution, backward": ("convolution_backward",),
    "convolution, forward": ("mkldnn_convolution", "thnn_conv"),
    "batch norm, and activations in one step with it": ("batch_norm", "_Normalised"),
    "other activations": ("silu", "hardtanh", "threshold", "relu", "clamp", "sigmoid"),
    "depthwise weight gradients, scaling": ("aten::mul", "aten::sum"),
    "optimiser": ("adam", "Adam"),
}


def prepare_corpus(work: Path) -> None:
    from data_prep.corpora import read_manifest
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, write_corpus

    manifest = write_corpus(work / "audio", SyntheticCorpus(speakers=8, texts=6, takes=4))
    prepare("synthetic", read_manifest(manifest), work / "data", inline=True)


@dataclass(frozen=True)
class Work:
    """What a loop is to train, and how."""

    backbone: str
    data: Path
    corpus: str
    device: str
    threads: int
    seed: int = 0
    training: TrainingSettings = PAPERS


class PlainLoop(Dataset[tuple[torch.Tensor, int]]):
    """What one would write: all rows in memory, standardised as they are asked for, and torch as it comes."""

    def __init__(self, work: Work) -> None:
        torch.set_num_threads(work.threads)
        torch.manual_seed(work.seed)
        prepared = find_prepared(work.data, work.corpus)
        shape = prepared.settings.segment_frames, prepared.settings.mels
        table = pq.read_table(Path(str(prepared.folder)) / "shards", columns=["utterance_id", "spectrogram"])
        label_of = prepared.utterances().set_index("id")["label"]
        self._labels = label_of.loc[table["utterance_id"].to_pandas()].to_numpy()
        self._values = list_values(table["spectrogram"]).reshape(len(table), *shape)
        self._mean, self._deviation = self._values.mean(axis=(0, 1)), self._values.std(axis=(0, 1))
        self._device = work.device
        self._network = BACKBONES[work.backbone](len(prepared.classes)).to(work.device)
        training = work.training
        self._batch = training.batch_size
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=training.learning_rate, eps=1e-7)
        self._scheduler = torch.optim.lr_scheduler.StepLR(self._optimizer, training.decay_epochs, training.decay)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        spectrogram = (self._values[index] - self._mean) / self._deviation
        return torch.from_numpy(spectrogram.T.copy()).unsqueeze(0), int(self._labels[index])

    def epoch(self, index: Ints) -> None:
        criterion = nn.CrossEntropyLoss()
        self._network.train()
        total = 0.0
        for inputs, targets in DataLoader(Subset(self, index.tolist()), batch_size=self._batch, shuffle=True):
            self._optimizer.zero_grad()
            loss = criterion(self._network(inputs.to(self._device)), targets.to(self._device))
            loss.backward()
            self._optimizer.step()
            total += loss.item()
        self._scheduler.step()

    @torch.no_grad()
    def accuracy(self, index: Ints) -> float:
        self._network.eval()
        right = 0
        for inputs, targets in DataLoader(Subset(self, index.tolist()), batch_size=BATCH):
            right += int((self._network(inputs.to(self._device)).argmax(dim=1).cpu() == targets).sum())
        return right / len(index)


class SweepLoop:
    """The training loop of a sweep."""

    def __init__(self, work: Work) -> None:
        configure_process(work.threads)
        device = torch.device(work.device)
        found = load_corpus(find_prepared(work.data, work.corpus))
        self.label = found.label
        everything = np.arange(len(found))
        self.segments = Segments(found, *band_statistics(found, everything), device)
        target = torch.from_numpy(one_hot(found.label, len(found.classes))).to(device)
        build = partial(BACKBONES[work.backbone], len(found.classes))
        self.run = TrainingRun(build, work.training, work.seed, self.segments, target)
        self._seed = 1000 * work.seed

    def __len__(self) -> int:
        return len(self.label)

    def epoch(self, index: Ints) -> None:
        self._seed += 1
        self.run.train_epoch(index, self._seed)

    def accuracy(self, index: Ints) -> float:
        q = predict(self.run.network, self.segments, torch.from_numpy(index).to(self.segments.frames.device))
        return float((q.argmax(dim=1).cpu().numpy() == self.label[index]).mean())


LOOPS: dict[str, Any] = {"rival": PlainLoop, "ours": SweepLoop}


def rates(loop: Any, sizes: list[int], wait: Callable[[], Any] = lambda: None) -> list[float]:
    """Segments a second of epochs of `sizes` segments; `wait` is called before each."""
    loop.epoch(np.arange(2 * BATCH))  # the first batches are slower
    found = []
    for size in sizes:
        wait()
        began = time.perf_counter()
        loop.epoch(np.arange(size))
        found.append(size / (time.perf_counter() - began))
    return found


def rates_together(processes: int, loop: str, work: Work, sizes: list[int]) -> list[float]:
    """Segments a second of `processes` processes that train at the same time, all together, each its own loop."""
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_train_beside, args=(loop, work, sizes, together, results)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return [processes * min(each) for each in zip(*found, strict=True)]


def _train_beside(loop: str, work: Work, sizes: list[int], together: Any, results: Any) -> None:
    results.put(rates(LOOPS[loop](work), sizes, together.wait))


def shares_of_a_step(loop: SweepLoop, batches: int = 4) -> dict[str, float]:
    """Which part of a step's time goes to what."""
    index = np.arange(batches * BATCH)
    loop.epoch(index)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        loop.epoch(index)
    spent = dict.fromkeys([*OPERATORS, "other"], 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, names in OPERATORS.items() if any(name in event.key for name in names)), "other")
        spent[kind] += event.self_cpu_time_total
    whole = sum(spent.values())
    return {kind: microseconds / whole for kind, microseconds in spent.items()}


def limits(backbone: str, threads: int, device: str = "cpu") -> dict[str, float]:
    """What a segment takes of a network, and the segments a second that arithmetic and traffic would allow."""
    torch.set_num_threads(threads)
    network = BACKBONES[backbone](7)
    activations = 0

    def count(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    hooks = [one.register_forward_hook(count) for one in network.modules() if not list(one.children())]
    batch = torch.randn(8, 1, 64, 32)
    with FlopCounterMode(display=False) as counter:
        network(batch)
    for hook in hooks:
        hook.remove()
    flops = 3 * counter.get_total_flops() / 8  # the backward pass takes two products for each of the forward pass
    # Each activation is written and read in the forward pass, read again in the backward pass, and its gradient is
    # written and read there.
    traffic = 5 * 4 * activations / 8
    peak, bandwidth = machine_rates(device)
    return {
        "megaflop_a_segment": flops / 1e6,
        "megabytes_a_segment": traffic / 1e6,
        "arithmetic_limit": peak / flops,
        "traffic_limit": bandwidth / traffic,
    }


def machine_rates(device: str) -> tuple[float, float]:
    """Floating point operations a second of a large convolution or matrix product, the faster of them, and bytes a
    second of a large copy."""
    size = 2048 if device == "cpu" else 8192
    matrix = torch.randn(size, size, device=device)
    large = torch.randn(64 * 2**20, device=device)
    target = torch.empty_like(large)
    maps = torch.randn(BATCH, 256, 16, 8, device=device).to(memory_format=torch.channels_last)
    kernels = torch.randn(256, 256, 3, 3, device=device).to(memory_format=torch.channels_last)
    product = best_seconds(lambda: matrix @ matrix, device)
    convolution = best_seconds(lambda: torch.conv2d(maps, kernels, padding=1), device)
    copy = best_seconds(lambda: target.copy_(large), device)
    arithmetic = max(2 * size**3 / product, 2 * maps.numel() * 256 * 9 / convolution)
    return arithmetic, 2 * 4 * large.numel() / copy


def best_seconds(work: Any, device: str, repeats: int = 5) -> float:
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def in_a_process(what: str, *arguments: Any) -> Any:
    command = [sys.executable, __file__, "--only", what, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    print(what, *arguments[:2], said.splitlines()[-1], file=sys.stderr, flush=True)
    return json.loads(said.splitlines()[-1])


def only(what: str, arguments: list[str]) -> Any:
    if what == "limits":
        return limits(arguments[0], int(arguments[1]))
    loop, backbone, data, threads, *more = arguments
    work = Work(backbone, Path(data), "synthetic", "cpu", int(threads))
    if what == "rates":
        return rates_together(CORES // int(threads), loop, work, list(map(int, more)))
    return shares_of_a_step(SweepLoop(work))


def measure(backbone: str, data: Path, doublings: int) -> dict[str, Any]:
    sizes = [SEGMENTS[backbone] * 2**n for n in range(doublings + 1)]
    ways = {"all_cores": CORES, "each_core": 1}
    rounds: dict[tuple[str, str], list[list[float]]] = {(way, loop): [] for way in ways for loop in LOOPS}
    for _ in range(ROUNDS):
        for (way, loop), found in rounds.items():
            found.append(in_a_process("rates", loop, backbone, data, ways[way], *sizes))
    medians = {each: [statistics.median(one) for one in zip(*found, strict=True)] for each, found in rounds.items()}
    return {
        "backbone": backbone,
        "segments": sizes,
        **{way: {loop: medians[way, loop] for loop in LOOPS} for way in ways},
        **in_a_process("limits", backbone, CORES),
        "shares": in_a_process("shares", "ours", backbone, data, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", choices=SEGMENTS, default=list(SEGMENTS))
    parser.add_argument("--doublings", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--only", choices=["rates", "shares", "limits"], help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(only(options.only, options.arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare_corpus(Path(folder))
        data = Path(folder) / "data"
        found = [measure(one, data, options.doublings) for one in options.backbones]
    report({"backbones": found}, options.json)


if __name__ == "__main__":
    main()
