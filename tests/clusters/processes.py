"""Processes of a test: ended by the session they were started in, waited for, and given ports of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Start = Callable[..., "subprocess.Popen[bytes]"]
SECONDS_TO_END = 20


def end_session(process: "subprocess.Popen[bytes]") -> None:
    """Ask the leader of a session to end, wait, and kill what is left of the session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=SECONDS_TO_END)
    for pid in in_session(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def in_session(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended meanwhile
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(folder.name))
    return found


def wait_until(
    condition: Callable[[], Any], process: "subprocess.Popen[bytes]", log: Path, seconds: float = 180
) -> None:
    """Wait for `condition`; fails with the log where the process ends before, or it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((host, port)) == 0


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("", 0))
        found: int = server.getsockname()[1]
        return found
