"""Under what the same stage comes to the same bits on one machine: a training repeated under conditions that differ in
one thing each.

python benchmarks/same_bits.py --json benchmarks/results/same_bits.json

Each is a process of its own that trains a stage of a small synthetic corpus and prints a hash of its network and its
predictions. Those that the method promises nothing about, such as another number of threads, are tried as well.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measured import report

ROOT = Path(__file__).parents[1]
BACKBONES = ("densenet22", "mobilenetv2", "efficientnet_b0")


@dataclass(frozen=True)
class Condition:
    """What is other than in the first training."""

    about: str
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()  # of Python
    threads: int = 1
    cores: int | None = None  # that the process may use
    beside: int = 0  # trainings at the same time


def conditions(work: Path) -> list[Condition]:
    (work / "file").write_text("")
    return [
        Condition("nothing"),
        Condition("kernels found in numba's cache", {"NUMBA_CACHE_DIR": str(work / "cache")}),
        Condition("no cache of kernels can be kept", {"NUMBA_CACHE_DIR": str(work / "file" / "cache")}),
        Condition("a single core is visible", cores=1),
        Condition("two other trainings beside it", beside=2),
        Condition("`python -O`", options=("-O",)),
        Condition("another seed of Python's hashes", {"PYTHONHASHSEED": "4711"}),
        Condition("another locale and time zone", {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"}),
        Condition("`OMP_NUM_THREADS=4`, `MKL_NUM_THREADS=4`", {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}),
        Condition("glibc's malloc for all of Python's objects", {"PYTHONMALLOC": "malloc"}),
        Condition("one arena of malloc", {"MALLOC_ARENA_MAX": "1"}),
        Condition("`OPENBLAS_CORETYPE=Haswell`", {"OPENBLAS_CORETYPE": "Haswell"}),
        Condition("two threads", threads=2),
        Condition("without numba", {"WITHOUT_NUMBA": "1"}),
        Condition("`ATEN_CPU_CAPABILITY=avx2`", {"ATEN_CPU_CAPABILITY": "avx2"}),
        Condition("`ONEDNN_MAX_CPU_ISA=AVX2`", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
        Condition("`MKL_ENABLE_INSTRUCTIONS=AVX2`", {"MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
    ]


def train(backbone: str, threads: int) -> str:
    """A hash of what a training of three epochs comes to, and of what it says of all segments."""
    if os.environ.get("WITHOUT_NUMBA"):
        sys.modules["numba"] = None  # type: ignore[assignment]
    import numpy as np
    import pandas as pd
    import torch

    from data_prep.shards import SegmentCorpus
    from dsl.backbones import BACKBONES as BUILD
    from dsl.labels import one_hot
    from dsl.process import configure_process
    from dsl.segments import Segments, band_statistics
    from dsl.settings import TrainingSettings
    from dsl.training import Lesson, Training, train_an_epoch

    class Nowhere:
        def read(self) -> None:
            return None

        def write(self, content: bytes) -> None: ...

    configure_process(threads)
    rng, count = np.random.default_rng(0), 96
    frames = rng.normal(size=(count + 32, 64)).astype(np.float32)
    label = np.arange(7)
    corpus = SegmentCorpus(
        "noise", tuple("abcdefg"), pd.DataFrame({"label": label}), frames, np.arange(count) % 7, np.arange(count),
        np.arange(count), 32,
    )  # fmt: skip
    everything = np.arange(count)
    segments = Segments(corpus, *band_statistics(corpus, everything), torch.device("cpu"))
    lesson = Lesson(
        lambda: BUILD[backbone](7), segments, everything[:72], everything[72:],
        one_hot(corpus.label, 7).astype(np.float32), TrainingSettings(epochs=3, batch_size=16), seed=1,
    )  # fmt: skip
    training = Training(lesson, Nowhere())
    while not training.run.finished:
        train_an_epoch([training])
    network, history = training.run.result()
    digest = hashlib.sha256(repr([(one.loss, one.validation_loss) for one in history]).encode())
    for value in network.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def trained_under(condition: Condition, backbone: str) -> str:
    """The hash of a training under a condition; the last line of what went wrong, where something did."""

    def limit() -> None:
        if condition.cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: condition.cores])

    def start(limit: Callable[[], None]) -> "subprocess.Popen[str]":
        command = [sys.executable, *condition.options, __file__, "--only", backbone, str(condition.threads)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **condition.environment}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit
        )

    beside = [start(lambda: None) for _ in range(condition.beside)]
    said, errors = (one := start(limit)).communicate()
    for other in beside:
        other.communicate()
    return (said if one.returncode == 0 else errors).splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write what was found to")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(train(options.only[0], int(options.only[1])))
        return
    with tempfile.TemporaryDirectory() as work:
        os.environ["NUMBA_CACHE_DIR"] = str(Path(work) / "empty")
        tried = conditions(Path(work))
        trained_under(tried[1], BACKBONES[0])  # fills the cache
        first = {backbone: trained_under(tried[0], backbone) for backbone in BACKBONES}
        found = []
        for condition in tried:
            hashes = {backbone: trained_under(condition, backbone) for backbone in BACKBONES}
            found.append({"other": condition.about, "same": {b: hashes[b] == first[b] for b in BACKBONES}})
            print(condition.about, hashes, file=sys.stderr, flush=True)
    report({"first": first, "conditions": found}, options.json)


if __name__ == "__main__":
    main()
