"""A training epoch of every backbone: ours against a plain PyTorch loop over the Parquet rows, in turn.

python benchmarks/training.py --json benchmarks/results/training.json

The rival is what one would write: an eager network, a DataLoader that shuffles, torch's Adam as it comes, the loss
read after every batch. Each measurement has a process of its own, and rival and ours take turns. Beside the rates stand
the limits of the machine: the network's arithmetic at the rate of a large matrix product, and the traffic of its
activations at the rate of a large copy. The work is doubled several times, to show how cost grows.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import report

ROOT = Path(__file__).parents[1]
SEGMENTS = {"densenet22": 8192, "mobilenetv2": 2048, "efficientnet_b0": 1024, "vgg19": 256}  # of the smallest epoch
BATCH = 128
ROUNDS = 3


def prepare_corpus(work: Path) -> None:
    from data_prep.corpora import read_manifest
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, write_corpus

    manifest = write_corpus(work / "audio", SyntheticCorpus(speakers=8, texts=6, takes=4))
    prepare("synthetic", read_manifest(manifest), work / "data", inline=True)


def rival(backbone: str, data: Path, sizes: list[int], threads: int) -> list[float]:
    """Segments a second of epochs of `sizes` segments, by a plain loop."""
    import pyarrow.parquet as pq
    import torch
    from torch.utils.data import DataLoader, Dataset, Subset

    from data_prep.shards import find_prepared
    from dsl.backbones import BACKBONES

    torch.set_num_threads(threads)
    prepared = find_prepared(data, "synthetic")
    table = pq.read_table(prepared.folder / "shards", columns=["utterance_id", "spectrogram"])
    label_of = prepared.utterances().set_index("id")["label"]
    labels = label_of.loc[table["utterance_id"].to_pandas()].to_numpy()
    values = table["spectrogram"].combine_chunks().flatten().to_numpy().reshape(len(table), 32, 64)
    mean, deviation = values.mean(axis=(0, 1)), values.std(axis=(0, 1))

    class Segments(Dataset):
        def __len__(self) -> int:
            return len(values)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            spectrogram = (values[index] - mean) / deviation
            return torch.from_numpy(spectrogram.T.copy()).unsqueeze(0), int(labels[index])

    network = BACKBONES[backbone](len(prepared.classes))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    criterion = torch.nn.CrossEntropyLoss()

    def epoch(size: int) -> None:
        network.train()
        total = 0.0
        for inputs, targets in DataLoader(Subset(Segments(), range(size)), batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            loss = criterion(network(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()

    return rates(epoch, sizes)


def ours(backbone: str, data: Path, sizes: list[int], threads: int) -> list[float]:
    """The same by the training loop of a sweep."""
    import numpy as np
    import torch

    from data_prep.shards import find_prepared, load_corpus
    from dsl.backbones import BACKBONES
    from dsl.labels import one_hot
    from dsl.process import settle
    from dsl.segments import Segments, band_statistics
    from dsl.settings import TrainingSettings
    from dsl.steps import TrainingRun

    settle(threads)
    device = torch.device("cpu")
    corpus = load_corpus(find_prepared(data, "synthetic"))
    segments = Segments(corpus, *band_statistics(corpus, np.arange(len(corpus))), device)
    goal = torch.from_numpy(one_hot(corpus.label, len(corpus.classes)))
    run = TrainingRun(lambda: BACKBONES[backbone](len(corpus.classes)), TrainingSettings(batch_size=BATCH), 0, device)
    return rates(lambda size: run.train_epoch(segments, np.arange(size), goal, seed=0), sizes)


def rates(epoch: Any, sizes: list[int]) -> list[float]:
    epoch(2 * BATCH)  # the first batches are slower
    found = []
    for size in sizes:
        began = time.perf_counter()
        epoch(size)
        found.append(size / (time.perf_counter() - began))
    return found


def limits(backbone: str, threads: int) -> dict[str, float]:
    """What a segment takes of a network, and the segments a second that arithmetic and traffic would allow."""
    import torch
    from torch.nn import functional
    from torch.utils.flop_counter import FlopCounterMode

    from dsl.backbones import BACKBONES

    torch.set_num_threads(threads)
    network = BACKBONES[backbone](7)
    activations = 0

    def count(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    hooks = [one.register_forward_hook(count) for one in network.modules() if not list(one.children())]
    batch = torch.randn(8, 1, 64, 32)
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(network(batch), torch.zeros(8, dtype=torch.long)).backward()
    for hook in hooks:
        hook.remove()
    flops = counter.get_total_flops() / 8
    # Each activation is written and read in the forward pass, read again in the backward pass, and its gradient is
    # written and read there.
    traffic = 5 * 4 * activations / 8
    peak, bandwidth = machine_rates()
    return {
        "megaflop_a_segment": flops / 1e6,
        "megabytes_a_segment": traffic / 1e6,
        "arithmetic_limit": peak / flops,
        "traffic_limit": bandwidth / traffic,
    }


def machine_rates() -> tuple[float, float]:
    """Floating point operations a second of a large matrix product, and bytes a second of a large copy."""
    import torch

    size = 2048
    matrix = torch.randn(size, size)
    large = torch.randn(64 * 2**20)
    target = torch.empty_like(large)
    product = best_seconds(lambda: matrix @ matrix)
    copy = best_seconds(lambda: target.copy_(large))
    return 2 * size**3 / product, 2 * 4 * large.numel() / copy


def best_seconds(work: Any, repeats: int = 5) -> float:
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def in_a_process(what: str, *arguments: Any) -> Any:
    command = [sys.executable, __file__, "--only", what, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    print(what, *arguments[:1], said.splitlines()[-1], file=sys.stderr, flush=True)
    return json.loads(said.splitlines()[-1])


def only(what: str, arguments: list[str]) -> Any:
    if what == "limits":
        return limits(arguments[0], int(arguments[1]))
    backbone, data, threads, *sizes = arguments
    return {"rival": rival, "ours": ours}[what](backbone, Path(data), list(map(int, sizes)), int(threads))


def measure(backbone: str, data: Path, threads: int, doublings: int) -> dict[str, Any]:
    sizes = [SEGMENTS[backbone] * 2**n for n in range(doublings + 1)]
    rounds: dict[str, list[list[float]]] = {"rival": [], "ours": []}
    for _ in range(ROUNDS):
        for what, found in rounds.items():
            found.append(in_a_process(what, backbone, data, threads, *sizes))
    medians = {what: [statistics.median(each) for each in zip(*found, strict=True)] for what, found in rounds.items()}
    return {
        "backbone": backbone,
        "segments": sizes,
        **{f"{what}_segments_per_second": found for what, found in medians.items()},
        "ratios": [one / other for one, other in zip(medians["ours"], medians["rival"], strict=True)],
        **in_a_process("limits", backbone, threads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", choices=SEGMENTS, default=list(SEGMENTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--doublings", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--only", choices=["rival", "ours", "limits"], help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(only(options.only, options.arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare_corpus(Path(folder))
        data = Path(folder) / "data"
        found = [measure(one, data, options.threads, options.doublings) for one in options.backbones]
    report({"backbones": found, "threads": options.threads}, options.json)


if __name__ == "__main__":
    main()
