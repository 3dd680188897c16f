"""Jobs of gpu_jobs.py that ask whether training on a GPU is right: the same bits, and trials with something
in their way."""

import contextlib
import multiprocessing
import os
import platform
import shutil
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_ground import (
    BATCH,
    PRECISIONS,
    STARTING_BATCHES,
    Ground,
    described,
    forget_peak,
    part,
    peak_memory,
    recording,
    say,
    synchronize,
)

from data_prep.arrays import Ints
from data_prep.data_folder import find_prepared
from data_prep.shards import SegmentCorpus, load_corpus
from dsl.backbones import BACKBONES
from dsl.process import configure_process, is_out_of_memory
from dsl.steps import TrainingRun, resumed

CAPS = (100, 300, 600, 1200)  # MiB that a training is to do with


def versions(ask: Namespace) -> None:
    import timm

    kibibytes = Path("/proc/meminfo").read_text().partition("MemTotal:")[2].split()[0]
    on_gpu = torch.cuda.is_available()
    say(
        python=platform.python_version(),
        torch=torch.__version__,
        timm=timm.__version__,
        numpy=np.__version__,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        gpu=torch.cuda.get_device_name() if on_gpu else None,
        gpu_memory=torch.cuda.get_device_properties(0).total_memory if on_gpu else None,
        processors=os.cpu_count(),
        memory=int(kibibytes) * 1024,
        mps=shutil.which("nvidia-cuda-mps-control"),
        tf32={
            "matmul": torch.backends.cuda.matmul.allow_tf32,
            "cudnn": torch.backends.cudnn.allow_tf32,
            "precision": torch.get_float32_matmul_precision(),
        },
    )
    with part() as told:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.used,clocks.sm,compute_mode", "--format=csv"]
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
        told(nvidia_smi=done.stdout.splitlines()[1:])
    for name in ("sweep.running.launch", "sweep.planning.grid", "sweep.running.trial", "sweep.storage.export"):
        with part(module=name) as told:
            __import__(name)


@dataclass(frozen=True)
class Learnt:
    """What a training came to."""

    weights: dict[str, torch.Tensor]  # and buffers, on the CPU
    losses: list[float]
    recorded: str

    @classmethod
    def of(cls, run: TrainingRun, losses: list[float]) -> "Learnt":
        weights = {name: tensor.detach().cpu().clone() for name, tensor in run.network.state_dict().items()}
        return cls(weights, losses, run.recorded)

    def differs(self, other: "Learnt") -> float:
        """0 for the same bits in all weights and buffers; else the largest difference, or NaN."""
        apart = 0.0
        for name, one in self.weights.items():
            if not torch.equal(one.reshape(-1).view(torch.uint8), other.weights[name].reshape(-1).view(torch.uint8)):
                apart = max(apart, float((one.double() - other.weights[name].double()).abs().max()), 1e-300)
        return apart


def parity(ask: Namespace) -> None:
    """Whether recorded training comes to the bits of unrecorded training, networks side by side to those they come to
    alone, and a training that goes on from its state to those of one that was not interrupted."""
    ground = Ground(ask)
    for precision in PRECISIONS:
        work = Work(ground, ask.backbone, precision, ask.batches)
        with part(precision=precision, of="recording") as told:
            (unrecorded,), slow, memory = work.learn([0], recorded=False)
            told(way="unrecorded", losses=unrecorded.losses, ms_a_step=slow, memory=memory)
            (recorded,), fast, memory = work.learn([0], recorded=True)
            told(way="recorded", losses=recorded.losses, ms_a_step=fast, memory=memory, recorded=recorded.recorded)
            told(same_bits=recorded.differs(unrecorded) == 0, largest_difference=recorded.differs(unrecorded))
        with part(precision=precision, of="side_by_side") as told:
            beside, ms, memory = work.learn([0, 1, 2], recorded=True)
            alone = [work.learn([seed], recorded=True)[0][0] for seed in (0, 1, 2)]
            apart = [one.differs(other) for one, other in zip(beside, alone, strict=True)]
            verdicts = [one.recorded for one in beside]
            told(same_bits=not any(apart), apart=apart, recorded=verdicts, ms_a_step=ms, memory=memory)
        with part(precision=precision, of="resume") as told:
            resumed, whole = work.interrupted(), work.learn([0], recorded=True, epochs=3)[0][0]
            told(same_bits=resumed.differs(whole) == 0, apart=resumed.differs(whole), recorded=resumed.recorded)
    for precision, on in product(PRECISIONS, (False, True)):
        with part(precision=precision, of="kernels", way="recorded" if on else "unrecorded") as told:
            told(**Work(ground, ask.backbone, precision, ask.batches).kernels(recorded=on))


@dataclass(frozen=True)
class Work:
    """A training that is done again and again: some whole batches an epoch, and a smaller one."""

    ground: Ground
    backbone: str
    precision: str
    batches: int

    @property
    def index(self) -> Ints:
        return self.ground.index(self.batches, rest=BATCH // 2 + 3)

    def run(self, seed: int) -> TrainingRun:
        return self.ground.run(self.backbone, seed, precision=self.precision)

    def learn(self, seeds: Sequence[int], recorded: bool, epochs: int = 2) -> tuple[list[Learnt], float, Any]:
        """What networks that are trained side by side come to, milliseconds of a step of all, and peak memory."""
        forget_peak()
        with recording(recorded):
            runs = [self.run(seed) for seed in seeds]
            losses, seconds = [], 0.0
            for epoch in range(epochs):
                synchronize()
                began = time.perf_counter()
                losses.append(self.ground.train(runs, self.index, seed=epoch))
                seconds = time.perf_counter() - began
        learnt = [Learnt.of(run, list(each)) for run, each in zip(runs, zip(*losses, strict=True), strict=True)]
        return learnt, 1000 * seconds / (self.batches + 1), peak_memory()

    def interrupted(self) -> Learnt:
        """The same training over three epochs, gone on with after the first from its state."""
        with recording(True):
            run = self.run(0)
            losses = self.ground.train([run], self.index, seed=0)
            build, settings = self.ground.build(self.backbone, 0), run.settings
            begin = partial(TrainingRun, build, settings, 0, self.ground.segments, self.ground.target)
            again = resumed(begin, run.state())
            del run
            for epoch in (1, 2):
                losses += self.ground.train([again], self.index, seed=epoch)
        return Learnt.of(again, losses)

    def kernels(self, recorded: bool, batches: int = 4) -> dict[str, float]:
        """What a step starts on the device, by kind, and what of the CPU's time it takes."""
        from torch.profiler import ProfilerActivity, profile

        with recording(recorded):
            run = self.run(0)
            self.ground.train([run], self.ground.index(STARTING_BATCHES))
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            with profile(activities=activities) as profiled:
                self.ground.train([run], self.ground.index(batches), seed=1)
                synchronize()
        device = torch.autograd.DeviceType.CUDA  # type: ignore[attr-defined]  # which torch.autograd exports
        found = [one for one in profiled.events() if one.device_type == device]
        on_device = [one for one in found if not getattr(one, "is_user_annotation", False)]
        copies = [one for one in on_device if one.name.startswith(("Memcpy", "Memset"))]
        spent = sum(one.time_range.elapsed_us() for one in on_device)
        return {
            "kernels_a_step": (len(on_device) - len(copies)) / batches,
            "copies_a_step": len(copies) / batches,
            "device_ms_a_step": spent / 1000 / batches,
            "longest": longest(on_device, batches),
        }


def longest(on_device: Sequence[Any], batches: int, count: int = 14) -> list[tuple[str, float, float]]:
    """The kinds of kernels that take most of a step: name, times a step, and microseconds a step."""
    spent: dict[str, list[float]] = {}
    for one in on_device:
        spent.setdefault(one.name, []).append(one.self_device_time_total)
    ordered = sorted(spent.items(), key=lambda item: -sum(item[1]))[:count]
    return [(name[:110], len(each) / batches, round(sum(each) / batches, 1)) for name, each in ordered]


# Trials with something in their way


@dataclass(frozen=True)
class Trial:
    """A small bundle of two folds, and a store for it."""

    ask: Namespace
    folder: Path

    def run(self, gpu: float) -> dict[str, Any]:
        """What became of the trial: whether its stages were committed, and its last report arrived."""
        from sweep.planning.grid import parse_grid, resolve_corpora
        from sweep.planning.stages import bundled
        from sweep.running.task import Task
        from sweep.running.trial import run_trial
        from sweep.storage.store import Store

        corpus = self.corpus()
        content = {
            "corpora": [self.ask.corpus],
            "backbones": [self.ask.backbone],
            "rules": ["none"],
            "folds": 2,
            "training": {"epochs": 2, "every": max(1, len(corpus) // (4 * STARTING_BATCHES * BATCH))},
        }
        grid = parse_grid(content, "drill")
        prepared = resolve_corpora(grid, self.ask.data)
        (bundle,) = bundled(grid.expand(prepared), 2)
        store = Store(self.folder)
        store.create()
        for one in prepared.values():
            store.add_corpus(one)
        reports: list[dict[str, Any]] = []
        found: dict[str, Any] = {}
        try:
            task = Task(0, bundle, len(bundle.stages), threads=self.ask.threads, gpu=gpu)
            run_trial(task, {corpus.name: corpus}, store, reports.append)
        except Exception as error:
            cause = error.__cause__ or error
            found = {"raised": described(error), "cause": described(cause), "out_of_memory": is_out_of_memory(cause)}
        events = [event["event"] for said in reports for event in said["events"]]
        records = [store.read_stage(stage.key) for stage in bundle.stages]
        return {
            **found,
            "committed": sum(store.has(stage.key) for stage in bundle.stages),
            "stages": len(bundle.stages),
            "ended": events[-1:] == ["ended"],
            "done": bool(reports and reports[-1].get("done")),
            "predictions": [one["predictions"]["sha256"] for one in records if one],
            "recorded": [one["device"].get("recorded") for one in records if one],
            "peak_memory": [one["device"]["peak_memory_bytes"] for one in records if one],
        }

    def corpus(self) -> SegmentCorpus:
        return load_corpus(find_prepared(self.ask.data, self.ask.corpus))


def drill(ask: Namespace) -> None:
    """What becomes of a trial when something goes wrong in it."""
    if ask.fault == "little_memory":
        little_memory(ask)
        return
    with part() as told, tempfile.TemporaryDirectory() as folder:
        with fault_of(ask.fault, ask.backbone):
            found = Trial(ask, Path(folder)).run(gpu=1.0)
        told(**found)


def little_memory(ask: Namespace) -> None:
    """What errors a training comes to that has far too little memory, and how they are understood."""
    total = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 2**40
    for mebibytes in CAPS:
        with part(mebibytes=mebibytes) as told, tempfile.TemporaryDirectory() as folder:
            told(**Trial(ask, Path(folder)).run(gpu=mebibytes * 2**20 / total))


@contextlib.contextmanager
def fault_of(name: str, backbone: str) -> Iterator[None]:
    """A block in which recording goes wrong in a given way: within the network, where a step is being recorded."""
    build, empty_cache = BACKBONES[backbone], torch.cuda.empty_cache

    def disturb(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
            return output
        if name == "capture_raises":
            output.sum().item()  # waits for the device, which no recording may
        if name == "capture_out_of_memory":
            raise torch.OutOfMemoryError("CUDA out of memory, for a drill")
        return output * 1.001 if name == "other_bits" else output

    def build_disturbed(classes: int) -> torch.nn.Module:
        network = build(classes)
        network.register_forward_hook(disturb)
        return network

    def refuse() -> None:
        raise RuntimeError("the allocator has an open pool, for a drill")

    BACKBONES[backbone] = build_disturbed
    if name == "empty_cache_raises":
        torch.cuda.empty_cache = refuse
    try:
        yield
    finally:
        BACKBONES[backbone], torch.cuda.empty_cache = build, empty_cache


def shared(ask: Namespace) -> None:
    """Two processes that train at the same time, half a GPU each, and one alone: whether the bits are the same."""
    context = multiprocessing.get_context("spawn")
    with part() as told:
        with ProcessPoolExecutor(2, context) as processes:
            both = [processes.submit(trial_of_half, ask) for _ in range(2)]
            found = [one.result() for one in both]
        for number, one in enumerate(found):
            told(process=number, **one)
        alone = trial_of_half(ask)
        same = [one["predictions"] == alone["predictions"] and one["committed"] > 0 for one in found]
        told(process="alone", same_bits=all(same), **alone)


def trial_of_half(ask: Namespace) -> dict[str, Any]:
    configure_process(ask.threads)
    with tempfile.TemporaryDirectory() as folder:
        return Trial(ask, Path(folder)).run(gpu=0.5)
