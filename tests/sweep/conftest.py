"""Runs in processes of their own."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_prep.cluster import ray_session
from tests.sweep.killing import FOLDS, GRID, SECONDS, SER_SWEEP, checksums


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> dict[str, str]:
    """Key -> checksum of the predictions of an uninterrupted run of GRID."""
    folder = tmp_path_factory.mktemp("undisturbed")
    grid = {"corpora": ["synthetic"], "backbones": ["tiny"], "folds": FOLDS, **GRID}
    (folder / "grid.yaml").write_text(json.dumps(grid))
    command = [*SER_SWEEP, "run", str(folder / "grid.yaml"), "--data", str(small_data), "--store", str(folder / "s")]
    subprocess.run([*command, "--inline"], check=True, timeout=SECONDS, capture_output=True)
    return checksums(folder / "s")


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One local Ray runtime for a file."""
    with ray_session():
        yield


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a `ser-sweep` process in a session of its own; whatever is left of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, before: Sequence[str] = (), **environment: str) -> "subprocess.Popen[str]":
        pipes: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            "env": os.environ | environment,
        }
        command = [*before, *SER_SWEEP, *arguments]
        started.append(subprocess.Popen(command, start_new_session=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=SECONDS)
