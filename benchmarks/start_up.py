"""From the command to the first training step, and to the end of commands that only look; beside plain Ray Tune.

    python benchmarks/start_up.py --against ../before --json benchmarks/results/start_up.json
    python docs/figures.py

What is waited for is the end of the first step of any optimiser, in any process that the command starts: a
`sitecustomize` on their path notes when that is. `ser-sweep run` is tried inline and on Ray, over an empty store of a
tiny corpus; plain Ray Tune has one trial that imports torch, makes the same network and takes one step. `tables` is
tried twice: where decisions are still to be made, and where the store has them. All are tried in turn, again and again,
and the medians count. `--against` is a checkout of other code, which is tried beside this one's. CPU seconds are of
the command and all below it, until then; unlike the others, what else the machine does hardly changes them.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from measured import report

ROOT = Path(__file__).parents[1]
GRID = {
    "corpora": ["synthetic"],
    "backbones": ["tiny"],
    "rules": ["none", "bdsl"],
    "folds": 2,
    "training": {"epochs": 2, "every": 16},
}
LOOK_SECONDS, SECONDS = 0.01, 300.0
NOTES_THE_FIRST_STEP = """
import importlib.abc, importlib.util, os, sys, time

class Noting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torch.optim.optimizer":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def load_and_listen(module):
            load(module)
            module.register_optimizer_step_post_hook(note)
        spec.loader.exec_module = load_and_listen
        return spec

def note(*_):
    try:
        os.close(os.open(os.environ["FIRST_STEP"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass

sys.meta_path.insert(0, Noting())
"""
PLAIN_TUNE = """
from ray import tune

def trial(config):
    import torch
    from dsl.backbones import BACKBONES
    network = BACKBONES["tiny"](4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    loss = torch.nn.functional.cross_entropy(network(torch.randn(128, 1, 32, 64)), torch.randint(4, (128,)))
    loss.backward()
    optimizer.step()
    tune.report({"loss": loss.item()})

tune.Tuner(tune.with_resources(trial, {"cpu": 1}), run_config=tune.RunConfig(storage_path=PLACE, verbose=0)).fit()
"""


@dataclass(frozen=True)
class Place:
    """Where it is tried: a grid, its data, a store that is complete, and what notes the first step."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path) -> "Place":
        place = cls(folder)
        (folder / "grid.json").write_text(json.dumps(GRID))
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(NOTES_THE_FIRST_STEP)
        for command in (["prepare", "synthetic", "--out", str(folder / "data")], [*place.run("complete"), "--inline"]):
            subprocess.run([*ser_sweep(*command)], check=True, capture_output=True, env=place.environment(ROOT))
        return place

    @property
    def first_step(self) -> Path:
        return self.folder / "first step"

    def run(self, store: str) -> list[str]:
        return self.of_grid("run", store)

    def of_grid(self, command: str, store: str) -> list[str]:
        folder = self.folder
        return [command, f"{folder}/grid.json", "--data", f"{folder}/data", "--store", f"{folder}/{store}"]

    def environment(self, code: Path) -> dict[str, str]:
        path = f"{self.folder / 'hook'}{os.pathsep}{code}"
        return {**os.environ, "PYTHONPATH": path, "FIRST_STEP": str(self.first_step)}

    def renewed(self) -> None:
        """No step was taken, the store of runs is empty, and the complete one has no decisions."""
        self.first_step.unlink(missing_ok=True)
        for gone in ("store", "tune", "complete/decisions"):
            shutil.rmtree(self.folder / gone, ignore_errors=True)


def ser_sweep(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ser_sweep.cli", *arguments]


def plain_tune(place: Place) -> list[str]:
    return [sys.executable, "-c", PLAIN_TUNE.replace("PLACE", repr(f"{place.folder}/tune"))]


WAYS: dict[str, Callable[[Place], list[str]]] = {
    "inline": lambda place: ser_sweep(*place.run("store"), "--inline"),
    "ray": lambda place: ser_sweep(*place.run("store")),
    "plain_tune": plain_tune,
    "plan": lambda place: ser_sweep(*place.of_grid("plan", "store")),
    "tables": lambda place: ser_sweep(*place.of_grid("tables", "complete")),
    "tables_again": lambda place: ser_sweep(*place.of_grid("tables", "complete")),
}
STEPS = ("inline", "ray", "plain_tune")  # ways whose first step is waited for; of the others it is the end


def timed(way: str, place: Place, code: Path) -> dict[str, float]:
    """Seconds to the first step or the end, and those that CPUs worked for it."""
    if way != "tables_again":
        place.renewed()
    began = time.perf_counter()
    process = subprocess.Popen(
        WAYS[way](place), env=place.environment(code), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=code
    )
    while process.poll() is None and not (way in STEPS and place.first_step.exists()):
        time.sleep(LOOK_SECONDS)
        if time.perf_counter() - began > SECONDS:
            process.kill()
            raise TimeoutError(way)
    seconds = time.perf_counter() - began
    worked = cpu_seconds(process.pid) if way in STEPS and process.poll() is None else 0.0
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    if way not in STEPS:
        return {"seconds": seconds}
    assert place.first_step.exists(), way
    return {"seconds": seconds, "cpu_seconds": worked}


def cpu_seconds(pid: int) -> float:
    """Of a process and all below it, those that have ended left out."""
    total = 0.0
    for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is tried (default: 7)")
    whose = "a checkout of other code, with a ser_sweep/ in it, to try beside this one's"
    parser.add_argument("--against", type=Path, help=whose)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    codes = {"ours": ROOT, **({"before": options.against.resolve()} if options.against else {})}
    found: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="start-up-") as folder:
        place = Place.prepare(Path(folder))
        for number in range(1, options.rounds + 1):
            for way in WAYS:
                for name, code in codes.items():
                    if way == "plain_tune" and name != "ours":
                        continue
                    found[way][name].append(timed(way, place, code))
                    print(number, way, name, found[way][name][-1], file=sys.stderr, flush=True)
            report({"rounds": number, "ways": summary(found), "load": os.getloadavg()[2]}, options.json)


def summary(found: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, Any]:
    """Way -> code -> medians and the least; and how many times as long as ours the other code, and plain Tune, take."""
    told: dict[str, Any] = {}
    for way, of_codes in found.items():
        told[way] = {
            name: {
                "seconds": median(tries, "seconds"),
                "least_seconds": min(one["seconds"] for one in tries),
                **({"cpu_seconds": median(tries, "cpu_seconds")} if way in STEPS else {}),
            }
            for name, tries in of_codes.items()
        }
        if "before" in of_codes:
            told[way]["before_ratio"] = told[way]["before"]["seconds"] / told[way]["ours"]["seconds"]
    if "plain_tune" in told:
        told["ray"]["plain_tune_ratio"] = told["plain_tune"]["ours"]["seconds"] / told["ray"]["ours"]["seconds"]
    return told


def median(tries: list[dict[str, float]], what: str) -> float:
    return statistics.median(one[what] for one in tries)


if __name__ == "__main__":
    main()
