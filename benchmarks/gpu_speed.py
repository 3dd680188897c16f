"""Jobs of gpu_jobs.py that ask how fast a GPU is: layers, layouts, networks side by side, processes."""

import contextlib
import copy
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gpu_ground import (
    BATCH,
    PRECISIONS,
    STARTING_BATCHES,
    Ground,
    Say,
    described,
    forget_peak,
    part,
    peak_memory,
    recording,
    say,
    synchronize,
)
from torch import nn

from dsl.acceleration.layers import autocast_to, laid_out, use_gpu_layers
from dsl.acceleration.recording import record_cuda_graph
from dsl.backbones import BACKBONES
from dsl.process import configure_process
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun

LAYOUTS = ("channels_last", "contiguous")
PROCESSES = (2, 4, 8)
PLAIN_BATCHES = 8  # by which the length of a window is found
COMPILED_WAITS = 250.0  # seconds, for the device to be free
PASSES = 10  # of a layer, in a graph


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
