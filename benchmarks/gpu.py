"""Training on a GPU: a plain loop, ours, several trainings side by side, several fused; and what a whole grid costs.

python benchmarks/gpu.py --data DATA --grid configs/emodb_paper.yaml --json benchmarks/results/gpu.json

Needs a prepared corpus, and neither Ray nor librosa nor soundfile: prepare it elsewhere and carry the folder there.
Every measurement has a process of its own. One network is trained step by step, with steps recorded as CUDA graphs (as
a sweep does), and compiled; each in float32 and in bfloat16. Beside its rate stand the seconds until it is reached, and
those of a stage of the paper's length, both together. Side by side, each of K processes has the whole device, with MPS
where its daemon runs. Fused, K networks are one (`fuse: K`). The cost of the grid is that of all its epochs at the best
rates. Last, what either precision has learnt, over seeds. `--device cpu` tries the program out.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import report
from training import BATCH, PAPERS, PlainLoop, SweepLoop, Work, limits, rates, rates_together
from training_accuracy import LEARNING, SEEDS, Learning, accuracy

from dsl.backbones import BACKBONES
from dsl.fusion import Stack
from dsl.recording import SWITCH
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun
from sweep.cost import Rate, estimate
from sweep.grid import load_grid, resolve_corpora
from sweep.shares import kind_of
from sweep.stages import Plan

PAPER = ("vgg19", "densenet22", "mobilenetv2", "efficientnet_b0")
PRECISIONS = ("float32", "bfloat16")
WAYS = ("step_by_step", "recorded", "compiled")
STARTING_BATCHES = 8  # until steps are recorded
STAGE_UPDATES = 12 * 106_000  # of Emo-DB: twelve epochs of what a fold trains with

Job = dict[str, Any]


def plain_rate(job: Job, options: argparse.Namespace) -> float:
    return rates(PlainLoop(work_of(job, options)), [options.segments])[0]


def one_network(job: Job, options: argparse.Namespace) -> dict[str, float]:
    """Segments a second of a way to train one network, and the seconds until then."""
    began = time.perf_counter()
    loop = SweepLoop(work_of(job, options))
    if job["way"] == "compiled":
        loop.run.network = torch.compile(loop.run.network)
    loop.epoch(np.arange(STARTING_BATCHES * BATCH))
    started = time.perf_counter() - began
    began = time.perf_counter()
    loop.epoch(np.arange(options.segments))  # ends by reading the loss
    rate = options.segments / (time.perf_counter() - began)
    return {"rate": rate, "start_seconds": started, "stage_seconds": started + STAGE_UPDATES / rate}


def fused_rate(job: Job, options: argparse.Namespace) -> float:
    """Segments a second of networks that are trained as one, together."""
    work = work_of(job, options)
    loop = SweepLoop(work)
    classes, device, networks = loop.goal.shape[1], torch.device(options.device), job["networks"]
    runs = [TrainingRun(lambda: BACKBONES[job["backbone"]](classes), work.training, 0, device) for _ in range(networks)]
    stack = Stack(runs)
    goals = [loop.goal] * networks
    stack.train_epoch(loop.segments, np.arange(2 * BATCH), goals, seed=0)
    began = time.perf_counter()
    stack.train_epoch(loop.segments, np.arange(options.segments), goals, seed=1)
    return networks * options.segments / (time.perf_counter() - began)


def side_by_side_rate(job: Job, options: argparse.Namespace) -> float:
    """Segments a second of all networks of as many processes that train at the same time."""
    work = replace(work_of(job, options), threads=1)
    return rates_together(job["networks"], "ours", work, [options.segments])[0]


def learnt(job: Job, options: argparse.Namespace) -> list[float]:
    """Held-out accuracies by seed."""
    learning = LEARNING.get(job["backbone"], Learning(4096, TrainingSettings(epochs=4)))
    work = work_of(job, options, learning.training)
    return [accuracy(SweepLoop(replace(work, seed=seed)), learning) for seed in range(options.seeds)]


def work_of(job: Job, options: argparse.Namespace, training: TrainingSettings = PAPERS) -> Work:
    training = replace(training, precision=job.get("precision", training.precision))
    return Work(job["backbone"], options.data, options.corpus, options.device, options.threads, training=training)


JOBS = {
    "limits": lambda job, options: limits(job["backbone"], options.threads, options.device),
    "plain": plain_rate,
    "one": one_network,
    "side_by_side": side_by_side_rate,
    "fused": fused_rate,
    "learnt": learnt,
}


def measure(backbone: str, options: argparse.Namespace) -> dict[str, Any]:
    def of(what: str, **more: Any) -> Any:
        return in_a_process({"what": what, "backbone": backbone, **more}, options)

    found: dict[str, Any] = {"backbone": backbone, **of("limits"), "rival": of("plain")}
    for precision in options.precisions:
        ways = {way: of("one", precision=precision, way=way) for way in options.ways}
        several = {
            what: {str(count): of(what, precision=precision, networks=count) for count in options.at_once}
            for what in ("side_by_side", "fused")
        }
        reached = [each["rate"] for each in ways.values() if each is not None]
        reached += [rate for rates in several.values() for rate in rates.values() if rate is not None]
        found[precision] = {**ways, **several, "best": max(reached)}
        if backbone in options.accuracy_of:
            found[precision]["accuracies"] = of("learnt", precision=precision)
    return found


def in_a_process(job: Job, options: argparse.Namespace) -> Any:
    """What was found; None where it failed, as where so many do not fit into the device's memory, or took too long."""
    command = [sys.executable, __file__, "--only", json.dumps(job), *options.passed_on]
    environment = {**os.environ, SWITCH: "0"} if job.get("way") == "step_by_step" else None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, env=environment)
    except subprocess.TimeoutExpired:
        print(*job.values(), f"not within {options.limit:g} s", file=sys.stderr, flush=True)
        return None
    said = (done.stdout if done.returncode == 0 else done.stderr).splitlines()
    print(*job.values(), said[-1] if said else "", file=sys.stderr, flush=True)
    return json.loads(said[-1]) if done.returncode == 0 else None


def cost_of(grid: Path, data: Path, best: dict[str, float]) -> dict[str, Any]:
    """Segment updates of a grid, and hours on the device by backbone, with all epochs."""
    spec = load_grid(grid)
    prepared = resolve_corpora(spec, data)
    plan = Plan.of(spec.expand(prepared), (), {})
    kinds = {stage.backbone: kind_of(stage) for stage in plan.to_train.values()}
    hours = {}
    for backbone in kinds.keys() & best.keys():
        rate = Rate(1 / best[backbone], None, "this program", on_gpu=True)
        found = estimate(plan, prepared.values(), {kinds[backbone]: rate}, gpu_share=1.0)
        hours[backbone] = found.seconds / 3600
    return {"grid": grid.stem, "stages": len(plan.to_train), "segment_updates": found.updates, "device_hours": hours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of prepared corpora")
    parser.add_argument("--corpus", default="emodb")
    parser.add_argument("--grid", type=Path, help="a grid whose cost is to be projected")
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONES), default=list(PAPER))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="to train one network")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--segments", type=int, default=65_536, help="segments of a measured epoch")
    parser.add_argument("--at-once", type=int, nargs="+", default=[2, 4, 8], help="trainings side by side, and fused")
    parser.add_argument("--accuracy-of", nargs="*", default=list(LEARNING), help="as benchmarks/training_accuracy.py")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that one measurement may take")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--only", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu tries the program out")
    options.passed_on = [
        *("--data", str(options.data), "--corpus", options.corpus, "--device", options.device),
        *("--segments", str(options.segments), "--threads", str(options.threads), "--seeds", str(options.seeds)),
    ]
    if options.only:
        print(json.dumps(JOBS[options.only["what"]](options.only, options)))
        return
    found = [measure(backbone, options) for backbone in options.backbones]
    cost = {
        precision: cost_of(options.grid, options.data, {one["backbone"]: one[precision]["best"] for one in found})
        for precision in options.precisions
        if options.grid
    }
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    report({"device": name, "segments": options.segments, "backbones": found, "cost": cost}, options.json)


if __name__ == "__main__":
    main()
