"""Processes of a test's own, that are ended with all that they started."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.cluster_files import ROOT
from tests.clusters.processes import Start, end_session


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of processes that find this checkout's code and commands, and one token that lets them into one another's Ray."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(16))
    token.chmod(0o600)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    ray["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"  # nothing is left to wait for
    return {**kept, **ray, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for Ray's sockets, whose paths must be shorter than pytest's folders let them be."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Starts a program in a session of its own; in the end everything in that session is ended, and nothing else."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, log: Path, **more: Any) -> "subprocess.Popen[bytes]":
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                env={**environment, **more.pop("env", {})},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **more,
            )
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        end_session(process)
