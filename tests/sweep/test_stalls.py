"""Trials that make no progress: told, with where and what to do, and ended to be tried again where the grid says so."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.running.stalls import Stalls
from tests.sweep.killing import FOLDS, GRID, SECONDS, TRIAL, checksums, descendants, in_the_middle, is_alive, wait_for

WriteGrid = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]


def stalled_events(store: Path) -> list[dict[str, Any]]:
    lines = [line for log in (store / "events").iterdir() for line in log.read_text().splitlines()]
    return [event for event in map(json.loads, lines) if event["event"] == "stalled"]


@pytest.mark.parametrize("restart", [False, True], ids=["told only", "restarted"])
def test_a_process_that_is_stopped_is_told_and_restarted_where_the_grid_says_so(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Start,
    restart: bool,
) -> None:
    store = tmp_path / "store"
    minutes = 0.25 if restart else 0.1
    resources = {**GRID["resources"], "stalled_after_minutes": minutes, "restart_stalled": restart}  # type: ignore[dict-item]
    grid = write_grid(**{**GRID, "resources": resources})
    process = start("run", str(grid), "--data", str(small_data), "--store", str(store))
    wait_for(in_the_middle(store), process)
    stopped = [pid for pid, line in descendants(process.pid).items() if line.startswith(TRIAL)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: {place_of(event) for event in stalled_events(store)} >= set(stopped), process)
        if restart:
            wait_for(lambda: not any(map(is_alive, stopped)), process)
        else:
            assert all(map(is_alive, stopped))
    finally:
        for pid in filter(is_alive, stopped):
            os.kill(pid, signal.SIGCONT)
    if not restart:
        process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == (0 if restart else 130), said
    assert len(checksums(store)) == 2 * FOLDS or not restart
    event = next(event for event in stalled_events(store) if place_of(event) in stopped)
    assert event["restarted"] is restart
    remedy = "its process was ended; the trial is tried again" if restart else "resources.restart_stalled: true"
    assert re.search(rf"STALLED {event['chain']}: no progress for \d+ s, {re.escape(event['place'])}: .*{remedy}", said)
    assert re.match(r"on node [\d.]+ \(process \d+\)", event["place"])


def place_of(event: dict[str, Any]) -> int:
    return int(re.findall(r"\d+", event["place"])[-1])


def test_one_that_is_heard_of_is_not_told_and_one_that_is_not_again_and_again() -> None:
    told: list[str] = []
    with Stalls(0.2, lambda trial, seconds: told.append(trial)) as stalls:
        for trial in ("lively", "stopped", "over"):
            stalls.heard_of(trial)
        stalls.ended("over")
        deadline = time.monotonic() + SECONDS
        while told.count("stopped") < 3:
            stalls.heard_of("lively")
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "over" not in told
