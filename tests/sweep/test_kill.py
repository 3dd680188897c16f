"""Kill a run at its worst moment and go on: nothing is lost, nothing is trained twice, the bits are the same."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweep.killing import (
    GRID,
    SECONDS,
    TRIAL,
    checksums,
    clear_away,
    committed,
    descendants,
    in_the_middle,
    resumed_epochs,
    unfinished,
    wait_for,
)

WriteGrid = Callable[..., Path]


def kernels_kept(where: str, folder: Path) -> dict[str, str]:
    """The environment of a process whose kernels are compiled by another one before, by itself, or kept nowhere."""
    if where == "full":
        return {}  # the cache that the undisturbed run has filled
    (folder / "file").touch()
    return {"NUMBA_CACHE_DIR": str(folder / where if where == "empty" else folder / "file" / where)}


@pytest.mark.parametrize(
    ("flags", "before", "after"),
    [([], "empty", "full"), (["--inline"], "full", "unwritable"), (["--inline"], "unwritable", "empty")],
    ids=["ray-empty-full", "inline-full-unwritable", "inline-unwritable-empty"],
)
def test_a_killed_driver_loses_and_repeats_nothing_wherever_kernels_are_kept(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
    flags: list[str],
    before: str,
    after: str,
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), *flags]
    process = start(*command, **kernels_kept(before, tmp_path))
    wait_for(in_the_middle(store), process)
    process.send_signal(signal.SIGSTOP)  # so that the training is not over before its children are known
    below = descendants(process.pid)
    process.kill()
    process.wait()
    clear_away(below)
    there = committed(store)
    assert unfinished(store)

    again = start(*command, **kernels_kept(after, tmp_path))
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert f"{len(undisturbed) - len(there)} trained, {len(there)} were there before" in said
    assert there.items() <= committed(store).items(), "a committed stage was trained again"
    assert max(resumed_epochs(store)) >= 1, "the interrupted training began anew"
    assert checksums(store) == undisturbed
    assert not list((store / "checkpoints").iterdir())


def test_a_killed_worker_is_replaced_and_its_training_goes_on(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
) -> None:
    store = tmp_path / "store"
    process = start("run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store))
    wait_for(in_the_middle(store), process)
    workers = [pid for pid, line in descendants(process.pid).items() if line.startswith(TRIAL)]
    assert workers, descendants(process.pid)
    before = committed(store)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert before.items() <= committed(store).items()
    assert max(resumed_epochs(store)) >= 1
    assert checksums(store) == undisturbed


def test_trials_that_ray_ends_for_want_of_memory_fail_and_the_store_is_good(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    grid = write_grid(**{**GRID, "resources": {"max_failures": 0}})
    command = ["run", str(grid), "--data", str(small_data), "--store", str(store)]
    with monkeypatch.context() as full:  # any machine counts as full, and is looked at every two seconds
        full.setenv("RAY_memory_usage_threshold", "0.01")
        full.setenv("RAY_memory_monitor_refresh_ms", "2000")
        process = start(*command)
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, said
    assert "FAILED" in said
    again = start(*command)
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert checksums(store) == undisturbed
