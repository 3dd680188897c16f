"""The simulation in its short form, and that it would notice. The long form is `make simulate`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.planted import BUGS

ROOT = Path(__file__).parents[2]
SEEDS = 600  # measured to take about half a minute on a core
ENOUGH = 100  # seeds that find each planted bug


def simulate(*arguments: str, hashes: str = "0") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hashes}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)


def test_no_world_breaks_a_promise() -> None:
    done = simulate("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} seeds, 0 violations" in done.stdout


def test_every_planted_bug_is_found() -> None:
    done = simulate("--planted", "--seeds", str(ENOUGH))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(BUGS)


def test_a_seed_is_the_same_world_each_time() -> None:
    first, second = (simulate("--seed", "1", hashes=hashes) for hashes in ("1", "2"))
    assert first.stdout == second.stdout and len(first.stdout.splitlines()) > 100


def test_a_seed_that_fails_is_told_with_a_short_history_and_how_to_replay_it() -> None:
    bug = "no_sync_of_the_folder"
    done = simulate("--seeds", "20", "--bug", bug)
    assert done.returncode == 1
    *_, last = done.stdout.splitlines()
    assert last.startswith("to replay it: python -m tests.simulation --seed ")
    replayed = simulate(*last.partition("tests.simulation ")[2].split())
    assert replayed.returncode == 1 and "lost: " in replayed.stdout


@pytest.mark.parametrize("seed", [44, 82])
def test_a_stage_that_was_taken_out_is_not_there_by_halves_after_a_power_failure(seed: int) -> None:
    assert simulate("--seed", str(seed), "--bug", "deletions_that_are_not_synced").returncode == 1
    assert simulate("--seed", str(seed)).returncode == 0
