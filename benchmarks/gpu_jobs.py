"""The jobs of benchmarks/rented_gpu.py: each finds something out in a process of its own.

python benchmarks/gpu_jobs.py '{"what": "rates", "backbone": "tiny", "data": "DATA", "corpus": "emodb", ...}'

What a job has found it prints as JSON, a line as soon as it knows something. A part that fails is a line with an
`error`, and the next one begins.
"""

import contextlib
import copy
import gc
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from data_prep.arrays import Ints
from data_prep.data_folder import find_prepared
from data_prep.shards import SegmentCorpus, load_corpus
from dsl.acceleration.layers import autocast_to, laid_out, use_gpu_layers
from dsl.acceleration.recording import SWITCH, record_cuda_graph
from dsl.backbones import BACKBONES
from dsl.labels import one_hot
from dsl.process import configure_process, is_out_of_memory
from dsl.segments import Segments, band_statistics
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun, side_by_side

BATCH = TrainingSettings().batch_size
PRECISIONS = ("float32", "bfloat16")
LAYOUTS = ("channels_last", "contiguous")
PROCESSES = (2, 4, 8)
STARTING_BATCHES = 8  # until steps are recorded
PLAIN_BATCHES = 8  # by which the length of a window is found
COMPILED_WAITS = 250.0  # seconds, for the device to be free
PASSES = 10  # of a layer, in a graph
CAPS = (100, 300, 600, 1200)  # MiB that a training is to do with
PARTS = (("none", ""), ("bdsl", ""), ("wdsl", "0.2"), ("gsl", ""), ("hdl", ""))  # of a grid, the cheapest answer first

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


# Is it right


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
            again = TrainingRun.resumed(build, settings, 0, self.ground.segments, self.ground.target, run.state())
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


# How fast is it


def layers(ask: Namespace) -> None:
    """Each batch norm and depthwise convolution of a backbone as `use_gpu_layers` makes it, beside torch's own: how far
    both are from the same in float64, and microseconds of a forward and backward pass, replayed."""
    if ask.device == "cpu":
        say(skipped="kernels of our own are a GPU's")
        return
    network, device = BACKBONES[ask.backbone](7), torch.device(ask.device)
    seen: dict[str, tuple[torch.nn.Module, torch.Size]] = {}

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen[f"{module} {tuple(inputs[0].shape)}"] = module, inputs[0].shape

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) or getattr(module, "groups", 1) > 1:
            module.register_forward_hook(note)
    with torch.device("meta"):
        network.to("meta")(torch.empty(BATCH, 1, 64, 32))
    for name, (module, shape) in seen.items():
        for precision in PRECISIONS:
            with part(layer=name.replace("\n", " ")[:120], shape=list(shape), precision=precision) as told:
                timed = ask.timed and device.type == "cuda"
                told(**beside_torch(module, shape, getattr(torch, precision), device, timed))


def beside_torch(
    module: torch.nn.Module, shape: torch.Size, dtype: torch.dtype, device: torch.device, timed: bool
) -> dict[str, Any]:
    generator = torch.Generator(device).manual_seed(0)
    own = copy.deepcopy(module).to_empty(device=device)
    own._forward_hooks.clear()
    with torch.no_grad():
        for weight in own.parameters():
            weight.uniform_(0.5, 1.5, generator=generator)
        for name, buffer in own.named_buffers():
            buffer.fill_(1 if name.endswith("var") else 0)
    truth = copy.deepcopy(own).double()
    ours = laid_out(use_gpu_layers(copy.deepcopy(own)), torch.channels_last)
    theirs = laid_out(own, torch.channels_last)
    input = torch.randn(shape, device=device, generator=generator).to(dtype, memory_format=torch.channels_last)
    gradient: Any = None
    found: dict[str, Any] = {}
    said = {}
    for name, one, given in (("truth", truth, input.double()), ("ours", ours, input), ("torch", theirs, input)):
        given = given.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        with autocast_to("bfloat16" if dtype == torch.bfloat16 and name != "truth" else "float32", one, device):
            output = one(given)
        if gradient is None:
            gradient = torch.randn(output.shape, device=device, generator=generator).to(dtype).double()
        output.backward(gradient.to(output.dtype))
        said[name] = [output.detach(), given.grad, *(weight.grad for weight in one.parameters())]
    for name in ("ours", "torch"):
        pairs = zip(said[name], said["truth"], strict=True)
        found[f"{name}_error"] = max(float((a.double() - b).norm() / b.norm()) for a, b in pairs)
    if timed:
        for name, one in (("ours", ours), ("torch", theirs)):
            found[f"{name}_us"] = microseconds(one, input, gradient.to(dtype), dtype)
    return found


def microseconds(module: torch.nn.Module, input: torch.Tensor, gradient: torch.Tensor, dtype: torch.dtype) -> float:
    """Of a forward and backward pass, in a graph of many."""
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        module = copy.deepcopy(module)  # weights that were made on another stream would be waited for
        given = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        gradient = gradient.contiguous(memory_format=torch.channels_last)

        def passes() -> None:
            for _ in range(PASSES):
                with autocast_to("bfloat16" if dtype == torch.bfloat16 else "float32", module, given.device):
                    output = module(given)
                torch.autograd.grad(output, [given, *module.parameters()], gradient.to(output.dtype))

        passes()
        torch.cuda.synchronize()
        replay = record_cuda_graph(passes)
        replay()
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        for _ in range(5):
            replay()
        ended.record()
        ended.synchronize()
    return float(round(1000 * begun.elapsed_time(ended) / (5 * PASSES), 2))


def layouts(ask: Namespace) -> None:
    """Memory layout x precision x networks side by side: what the device is fastest with."""
    ground = Ground(ask)
    for networks, precision, layout in product((1, 4), PRECISIONS, LAYOUTS):
        with part(layout=layout, precision=precision, networks=networks) as told:
            told(**side_by_side_rate(ground, ask, networks, ask.window / 3, precision=precision, layout=layout))


def side_by_side_rate(ground: Ground, ask: Namespace, networks: int, window: float, **settings: Any) -> dict[str, Any]:
    """Segments a second of so many networks together, over about `window` seconds; what it took until then."""
    forget_peak()
    began = time.perf_counter()
    runs = [ground.run(ask.backbone, **settings) for _ in range(networks)]
    ground.train(runs, ground.index(STARTING_BATCHES))
    synchronize()
    started = time.perf_counter() - began
    rate = ground.rate(runs, window)
    verdicts = sorted({run.recorded for run in runs})
    return {"rate": rate, "start_seconds": started, "recorded": verdicts, "memory": peak_memory()}


def rates(ask: Namespace) -> None:
    """Segments a second: what one would write; ours step by step; recorded, and networks side by side. Last, what the
    device's arithmetic and memory would allow."""
    with part(way="plain") as told:
        told(rate=plain_rate(ask))
    ground = Ground(ask)
    with part(way="step by step", precision="float32", networks=1) as told, recording(False):
        told(**side_by_side_rate(ground, ask, 1, ask.window / 2))
    for precision, networks in product(PRECISIONS, ask.at_once):
        with part(way="recorded", precision=precision, networks=networks) as told:
            told(**side_by_side_rate(ground, ask, networks, ask.window, precision=precision))
    with part(of="limits") as told:
        from training import limits

        told(**limits(ask.backbone, ask.threads, ask.device))


def plain_rate(ask: Namespace) -> float:
    from training import PlainLoop, Work

    torch.backends.cudnn.deterministic = False  # as torch comes
    loop = PlainLoop(Work(ask.backbone, Path(ask.data), ask.corpus, ask.device, ask.threads))
    loop.epoch(np.arange(2 * BATCH))
    segments = PLAIN_BATCHES * BATCH
    for _ in range(2):  # the first epoch says how long the second is to be
        began = time.perf_counter()
        loop.epoch(np.arange(min(segments, len(loop))))  # reads the loss of each batch: the device is done
        rate = min(segments, len(loop)) / (time.perf_counter() - began)
        segments = max(BATCH, round(rate * ask.window))
    configure_process(ask.threads)
    return rate


def processes(ask: Namespace) -> None:
    """Segments a second of several processes that train at the same time, all together."""
    with part(service="mps") as told, multi_process_service(ask):
        measure_processes(ask, told)
        return
    with part(service="none") as told:
        measure_processes(ask, told)


def measure_processes(ask: Namespace, told: Say) -> None:
    context = multiprocessing.get_context("spawn")
    most = max(PROCESSES)
    together, found = context.Barrier(most), context.Queue()
    workers = [
        context.Process(target=train_beside, args=(ask, number, together, found), daemon=True) for number in range(most)
    ]
    for worker in workers:
        worker.start()
    for several in PROCESSES:
        each = [found.get(timeout=120) for _ in range(several)]
        errors = [one for one in each if isinstance(one, str)]
        if errors:
            raise RuntimeError(errors[0])
        told(processes=several, rate=several * min(each), slowest=min(each), fastest=max(each))
    for worker in workers:
        worker.join()


def train_beside(ask: Namespace, number: int, together: Any, found: Any) -> None:
    """One of the processes: trains in the rounds that it is in, each begun by all at the same time."""
    configure_process(threads=1)
    try:
        ground = Ground(ask)
        runs = [ground.run(ask.backbone, number)]
        ground.train(runs, ground.index(STARTING_BATCHES))
        together.wait(90)
        rate = ground.rate(runs, ask.window / 4)  # while all of them train
        for several in PROCESSES:
            together.wait(90)
            if number < several:
                index = ground.index(max(2, round(rate * max(PROCESSES) / several * ask.window / BATCH)))
                found.put(len(index) / ground.seconds(runs, index))
    except Exception as error:
        found.put(described(error))
        together.abort()


@contextlib.contextmanager
def multi_process_service(ask: Namespace) -> Iterator[None]:
    """A block with NVIDIA's, which lets kernels of several processes run at the same time. Raises RuntimeError where
    there is none."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None or ask.device == "cpu":
        raise RuntimeError("no nvidia-cuda-mps-control here")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        places = {f"CUDA_MPS_{name}_DIRECTORY": f"{folder}/{name.lower()}" for name in ("PIPE", "LOG")}
        for place in places.values():
            Path(place).mkdir()
        os.environ.update(places)
        try:
            begun = subprocess.run([control, "-d"], capture_output=True, text=True, check=False, timeout=20)
            if begun.returncode:
                raise RuntimeError((begun.stderr or begun.stdout).strip())
            yield
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for those that still train
                subprocess.run([control], input="quit\n", text=True, check=False, timeout=20, capture_output=True)
            for name in places:
                del os.environ[name]


def compiled(ask: Namespace) -> None:
    """A compiled network. It is compiled while others have the device, and measured when they are done."""
    with part(way="compiled") as told:
        ground = Ground(ask)
        began = time.perf_counter()
        build = ground.build(ask.backbone, 0)
        run = TrainingRun(
            lambda: cast(nn.Module, torch.compile(build())), TrainingSettings(), 0, ground.segments, ground.target
        )
        ground.train([run], ground.index(STARTING_BATCHES))
        synchronize()
        told(start_seconds=time.perf_counter() - began, recorded=run.recorded)
        while not Path(ask.alone).exists() and time.perf_counter() - began < COMPILED_WAITS:
            time.sleep(0.05)
        told(rate=ground.rate([run], ask.window / 2), alone=Path(ask.alone).exists())


# Stages of the grid


def stages(ask: Namespace) -> None:
    """Train a grid's stages of a backbone through the sweep itself, into the store, until there are no more or it is
    interrupted."""
    from sweep.planning.grid import load_grid, resolve_corpora
    from sweep.planning.stages import Plan
    from sweep.running.launch import launch
    from sweep.storage.store import Store

    grid = load_grid(Path(ask.grid)).model_copy(update={"fuse": ask.fuse})
    prepared = resolve_corpora(grid, ask.data)
    store = Store(ask.store)
    chains = [one for one in grid.expand(prepared) if one.last.backbone == ask.backbone]
    for rule, alpha in PARTS[: getattr(ask, "parts", len(PARTS))]:
        wanted = first_iterations(chains, rule, alpha, getattr(ask, "folds", None))
        plan = Plan.of(wanted, store.done_keys(), store.failures())
        outcome = launch(plan, prepared, store, grid, inline=True, quiet=True)
        say(
            part=f"{rule} {alpha}".strip(),
            trained=outcome.trained,
            interrupted=outcome.interrupted,
            failures=outcome.failures,
            training_seconds=outcome.seconds,
        )
        if outcome.interrupted:
            return


def first_iterations(chains: Sequence[Any], rule: str, alpha: str, folds: int | None) -> list[Any]:
    """The stages that tell of a rule first: iteration 0 without one, else iteration 1; of the first `folds` folds."""
    from sweep.planning.stages import ChainSpec, distinct

    lasts = [one.last.at(0 if rule == "none" else 1) for one in chains if one.last.iteration or rule == "none"]
    return distinct(
        ChainSpec(last)
        for last in lasts
        if (last.rule, last.alpha) == (rule, alpha) and (folds is None or last.fold < folds)
    )


# To try the program out


def fail(ask: Namespace) -> None:
    raise RuntimeError("this job fails")


def hang(ask: Namespace) -> None:
    time.sleep(1000)


def run_on(ask: Namespace) -> None:
    """Finds something out, and then has no end, whoever asks for it."""
    say(found=1)
    print("not JSON", flush=True)
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            subprocess.run(["sleep", "1000"], check=False)


WHAT = (versions, layers, parity, drill, shared, layouts, rates, processes, compiled, stages, fail, hang, run_on)


def main() -> None:
    ask = Namespace(**json.loads(sys.argv[1]))
    configure_process(ask.threads)  # before CUDA starts
    try:
        {each.__name__: each for each in WHAT}[ask.what](ask)
    except KeyboardInterrupt:
        sys.exit("interrupted: its time is up")


if __name__ == "__main__":
    main()
