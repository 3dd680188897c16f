"""What the jobs of gpu_jobs.py share: how a part of a job tells what it found, and what trains."""

import contextlib
import copy
import gc
import json
import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from data_prep.arrays import Ints
from data_prep.data_folder import find_prepared
from data_prep.shards import load_corpus
from dsl.acceleration.recording import SWITCH
from dsl.backbones import BACKBONES
from dsl.labels import one_hot
from dsl.process import is_out_of_memory
from dsl.segments import Segments, band_statistics
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun, side_by_side

BATCH = TrainingSettings().batch_size
PRECISIONS = ("float32", "bfloat16")
STARTING_BATCHES = 8  # until steps are recorded

Say = Callable[..., None]


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


@contextlib.contextmanager
def part(**about: Any) -> Iterator[Say]:
    """A part of a job, with a function to say what it found: an error in it is said, and does not end the job."""
    try:
        yield lambda **facts: say(**about, **facts)
    except Exception as error:
        say(**about, error=described(error), out_of_memory=is_out_of_memory(error))
    finally:
        clean_up()


def clean_up() -> None:
    gc.collect()
    if torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip()[:600]


# What trains


class Ground:
    """A corpus on the device, and runs that learn from it."""

    def __init__(self, ask: Namespace) -> None:
        self.device = torch.device(ask.device)
        self.corpus = load_corpus(find_prepared(ask.data, ask.corpus))
        self.segments = Segments(self.corpus, *band_statistics(self.corpus, np.arange(len(self.corpus))), self.device)
        self.classes = len(self.corpus.classes)
        self.target = torch.from_numpy(one_hot(self.corpus.label, self.classes)).to(self.device)
        self._drawn: dict[tuple[str, int], torch.nn.Module] = {}

    def build(self, backbone: str, seed: int) -> Callable[[], torch.nn.Module]:
        """A function that gives a fresh network; its weights are drawn but once, as VGG19 takes seconds for that."""
        if (backbone, seed) not in self._drawn:
            torch.manual_seed(seed)
            self._drawn[backbone, seed] = BACKBONES[backbone](self.classes)
        return lambda: copy.deepcopy(self._drawn[backbone, seed])

    def run(self, backbone: str, seed: int = 0, **settings: Any) -> TrainingRun:
        return TrainingRun(self.build(backbone, seed), TrainingSettings(**settings), seed, self.segments, self.target)

    def index(self, batches: int, rest: int = 0) -> Ints:
        """So many batches and `rest` segments, the same each time; repeated where the corpus has not so many."""
        return np.resize(np.random.default_rng(0).permutation(len(self.corpus)), batches * BATCH + rest)

    def train(self, runs: Sequence[TrainingRun], index: Ints, seed: int = 0) -> list[float]:
        """An epoch of each run, side by side; returns their losses."""
        side_by_side(runs, [run.batches(index, seed) for run in runs])
        return [run.end_epoch(len(index)) for run in runs]

    def seconds(self, runs: Sequence[TrainingRun], index: Ints, seed: int = 0) -> float:
        synchronize()
        began = time.perf_counter()
        self.train(runs, index, seed)
        synchronize()
        return time.perf_counter() - began

    def rate(self, runs: Sequence[TrainingRun], window: float) -> float:
        """Segments a second of all runs together, over about `window` seconds; a first epoch says how many that are."""
        trial = self.seconds(runs, self.index(2 * STARTING_BATCHES), seed=1)
        batches = max(2, round(2 * STARTING_BATCHES * window / trial))
        return len(runs) * batches * BATCH / self.seconds(runs, self.index(batches), seed=2)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """A block in which runs that begin record their steps, or do not."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1" if on else "0"
    try:
        yield
    finally:
        os.environ.pop(SWITCH) if before is None else os.environ.update({SWITCH: before})


def peak_memory() -> dict[str, int] | None:
    """Bytes of the GPU since `forget_peak`."""
    if not torch.cuda.is_available():
        return None
    return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}


def forget_peak() -> None:
    clean_up()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
