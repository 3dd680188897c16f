"""Training on a GPU: a plain loop, ours, several trainings side by side, several fused; and what a whole grid costs.

python benchmarks/gpu.py --data DATA --grid configs/emodb_paper.yaml --json benchmarks/results/gpu.json

Needs a prepared corpus, and neither Ray nor librosa nor soundfile: prepare it elsewhere and carry the folder there.
Every measurement has a process of its own. Side by side, each of K processes has the whole device, with MPS where its
daemon runs. Fused, K networks are one (`fuse: K`). The cost of the grid is that of all its epochs at the best rates.
`--device cpu` tries the program out.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import report
from training import BATCH, LOOPS, SweepLoop, limits, rates, rates_together

from dsl.backbones import BACKBONES
from dsl.fusion import Stack
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun
from sweep.cost import Rate, estimate
from sweep.grid import load_grid, resolve_corpora
from sweep.shares import kind_of
from sweep.stages import Plan

PAPER = ("vgg19", "densenet22", "mobilenetv2", "efficientnet_b0")


def loop_rate(loop: str, backbone: str, options: argparse.Namespace) -> float:
    made = LOOPS[loop](backbone, options.data, options.corpus, options.device, options.threads)
    return rates(made, [options.segments])[0]


def fused_rate(backbone: str, networks: int, options: argparse.Namespace) -> float:
    """Segments a second of `networks` networks that are trained as one, together."""
    loop = SweepLoop(backbone, options.data, options.corpus, options.device, options.threads)
    settings = TrainingSettings(batch_size=BATCH)
    classes = loop.goal.shape[1]
    device = torch.device(options.device)
    stack = Stack([TrainingRun(lambda: BACKBONES[backbone](classes), settings, 0, device) for _ in range(networks)])
    goals = [loop.goal] * networks
    stack.train_epoch(loop.segments, np.arange(2 * BATCH), goals, seed=0)
    began = time.perf_counter()
    stack.train_epoch(loop.segments, np.arange(options.segments), goals, seed=1)  # ends by reading the losses
    return networks * options.segments / (time.perf_counter() - began)


def side_by_side_rate(backbone: str, processes: int, options: argparse.Namespace) -> float:
    """Segments a second of all of `processes` processes that train at the same time."""
    made = backbone, options.data, options.corpus, options.device, 1
    return rates_together(processes, "ours", made, [options.segments])[0]


def measure(backbone: str, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"backbone": backbone, **in_a_process("limits", backbone, 0, options)}
    for what in ("rival", "ours"):
        found[what] = in_a_process(what, backbone, 0, options)
    for what in ("side_by_side", "fused"):
        found[what] = {str(count): in_a_process(what, backbone, count, options) for count in options.at_once}
    reached = [rate for what in ("side_by_side", "fused") for rate in found[what].values() if rate is not None]
    found["best"] = max([found["ours"], *reached])
    return found


def in_a_process(what: str, backbone: str, count: int, options: argparse.Namespace) -> Any:
    """What was found; None where it failed, as where so many do not fit into the device's memory."""
    command = [sys.executable, __file__, "--only", what, backbone, str(count), *options.passed_on]
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
    said = (done.stdout if done.returncode == 0 else done.stderr).splitlines()
    print(what, backbone, count or "", said[-1] if said else "", file=sys.stderr, flush=True)
    return json.loads(said[-1]) if done.returncode == 0 else None


def only(options: argparse.Namespace) -> Any:
    what, backbone, count = options.only
    if what == "limits":
        return limits(backbone, options.threads, options.device)
    if what == "fused":
        return fused_rate(backbone, int(count), options)
    if what == "side_by_side":
        return side_by_side_rate(backbone, int(count), options)
    return loop_rate(what, backbone, options)


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
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--segments", type=int, default=65_536, help="segments of a measured epoch")
    parser.add_argument("--at-once", type=int, nargs="+", default=[2, 4, 8], help="trainings side by side, and fused")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that one measurement may take")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu tries the program out")
    options.passed_on = [
        *("--data", str(options.data), "--corpus", options.corpus, "--device", options.device),
        *("--segments", str(options.segments), "--threads", str(options.threads), "--limit", str(options.limit)),
    ]
    if options.only:
        print(json.dumps(only(options)))
        return
    found = [measure(backbone, options) for backbone in options.backbones]
    best = {one["backbone"]: one["best"] for one in found}
    cost = cost_of(options.grid, options.data, best) if options.grid else None
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    report({"device": name, "segments": options.segments, "backbones": found, "cost": cost}, options.json)


if __name__ == "__main__":
    main()
