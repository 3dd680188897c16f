"""Runs that are killed or stopped: what they train, and what is looked at."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# A stage must outlast the seconds in which Ray's workers notice that their driver is gone.
TRAINING = {"epochs": 16, "every": 1, "patience": 16}
GRID = {"rules": ["none", "bdsl"], "training": TRAINING, "resources": {"checkpoint_seconds": 0}}
FOLDS = 2
SECONDS = 180
TRIAL = "ray::ImplicitFunc"  # what Ray calls the processes of trials
SER_SWEEP = [sys.executable, "-m", "ser_sweep.cli"]


def checksums(store: Path) -> dict[str, str]:
    stages = [json.loads(path.read_text()) for path in (store / "stages").glob("*/stage.json")]
    return {stage["key"]: stage["predictions"]["sha256"] for stage in stages}


def committed(store: Path) -> dict[str, int]:
    """stage.json of every committed stage, with the time it was written: rewritten means trained again."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (store / "stages").glob("*/stage.json")}


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def in_the_middle(store: Path) -> Callable[[], bool]:
    """Iteration 0 is committed in all folds, and an iteration 1 has done its first epochs."""
    return lambda: len(committed(store)) >= FOLDS and bool(unfinished(store))


def unfinished(store: Path) -> set[str]:
    """The stages that have a checkpoint; one that was just committed may still have its last."""
    return {path.name for path in (store / "checkpoints").glob("[!.]*")} - committed(store).keys()


def resumed_epochs(store: Path) -> list[int]:
    stages = [json.loads(path.read_text()) for path in (store / "stages").glob("*/stage.json")]
    return [stage["timing"]["resumed_at_epoch"] for stage in stages]


def descendants(pid: int) -> dict[int, str]:
    """Command lines of all processes below `pid`."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):  # it has ended meanwhile
            continue
    found: dict[int, str] = {}
    below = {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= {child: lines.get(child, "") for child in below}
    return found


def clear_away(processes: dict[int, str]) -> None:
    """Wait for a killed driver's trials to end by themselves, then end what else is left of its Ray runtime."""
    deadline = time.monotonic() + SECONDS
    while any(is_alive(pid) for pid, line in processes.items() if line.startswith(TRIAL)):
        assert time.monotonic() < deadline, "trials outlive their driver"
        time.sleep(0.1)
    for pid in filter(is_alive, processes):
        os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()
