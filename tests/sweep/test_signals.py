"""Signals that ask a run to end, and Ray's own processes that are gone."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.killing import (
    GRID,
    SECONDS,
    SER_SWEEP,
    TRAINING,
    checksums,
    clear_away,
    descendants,
    in_the_middle,
    is_alive,
    unfinished,
    wait_for,
)

WriteGrid = Callable[..., Path]


# Ctrl-C, and what else a terminal sends, goes to every process in the foreground; SIGTERM mostly to one.
@pytest.mark.parametrize(
    ("number", "flags"),
    [
        (signal.SIGINT, []),
        (signal.SIGTERM, ["--inline"]),
    ],
    ids=["INT, ray", "TERM, inline"],
)
def test_a_signal_stops_cleanly_and_says_how_to_go_on(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
    number: signal.Signals,
    flags: list[str],
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), *flags]
    process = start(*command)
    wait_for(in_the_middle(store), process)
    (os.kill if number == signal.SIGTERM else os.killpg)(process.pid, number)
    below = descendants(process.pid)  # ending them takes longer than looking
    assert_it_was_interrupted(process, store, command)
    assert not [line for pid, line in below.items() if is_alive(pid)]
    again = start(*command)
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert checksums(store) == undisturbed


@pytest.mark.parametrize("name", ["raylet", "agent.py"])
def test_a_signal_while_ray_starts_leaves_none_of_its_processes(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"], name: str
) -> None:
    store = tmp_path / "store"
    process = start("run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store))
    wait_for(lambda: any(f"/{name}" in line for line in descendants(process.pid).values()), process)
    below = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert not [line for pid, line in below.items() if is_alive(pid)]


def assert_it_was_interrupted(process: "subprocess.Popen[str]", store: Path, command: list[str]) -> None:
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert f"ser-sweep {' '.join(command)}" in said
    assert "Traceback" not in said and "***" not in said, "a trace of Ray's own"
    assert last_event(store)["interrupted"] is True
    assert not list((store / "leases").glob("*.json"))


def last_event(store: Path) -> dict[str, Any]:
    """That of the only launch."""
    (log,) = (store / "events").iterdir()
    event: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    assert event["event"] == "finished", event
    return event


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as number 1")
def test_sigterm_stops_a_container_s_only_process(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), "--inline"]
    process = start(*command, before=["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
    wait_for(in_the_middle(store), process)
    (number_1,) = (pid for pid, line in descendants(process.pid).items() if "ser_sweep.cli" in line)
    os.kill(number_1, signal.SIGTERM)
    assert_it_was_interrupted(process, store, command)


def test_a_terminal_that_closes_stops_a_run_in_it(small_data: Path, write_grid: WriteGrid, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), "--inline"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*SER_SWEEP, *command])
    deadline = time.monotonic() + SECONDS
    while not in_the_middle(store)():
        assert time.monotonic() < deadline, "nothing happened"
        os.read(terminal, 1 << 16)  # it is stopped where nobody does
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert last_event(store)["interrupted"] is True


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_ray_s_own_processes_are_missed_in_our_words(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"], name: str
) -> None:
    store = tmp_path / "store"
    longer = {**TRAINING, "epochs": 500, "patience": 500}  # than it takes to miss them
    grid = write_grid(**{**GRID, "training": longer, "rules": ["none"]})
    process = start("run", str(grid), "--data", str(small_data), "--store", str(store))
    wait_for(lambda: bool(unfinished(store)), process)
    below = descendants(process.pid)
    (victim,) = (pid for pid, line in below.items() if line.partition(" ")[0].endswith(f"/{name}"))
    os.kill(victim, signal.SIGKILL)
    said, _ = process.communicate(timeout=SECONDS)
    clear_away(below)
    assert process.returncode == 1, said
    assert f"Ray's {name} at" in said and "does not answer any more" in said
    assert name in last_event(store)["cause"]
    assert not list((store / "leases").glob("*.json"))
