"""The machine that a launch runs on, as far as it decides anything: its clocks, its threads and its processes.

A simulation has machines of its own (tests/simulation).
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


class Machine:
    """This machine."""

    def now(self) -> float:
        """Seconds since 1970, by a clock that others need not share."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds by a clock that nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        time.sleep(seconds)

    def lock(self) -> AbstractContextManager[Any]:
        """A new lock for threads."""
        return threading.Lock()

    def repeat(self, seconds: float, beat: Callable[[], None]) -> Callable[[], None]:
        """Call `beat` every so often, beside everything else, until the function returned is called: it may be called
        again, and returns when no call goes on."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(seconds):
                beat()

        thread = threading.Thread(target=run, name=f"every {seconds:g} s", daemon=True)
        thread.start()

        def stop() -> None:
            over.set()
            thread.join()

        return stop

    def process(self) -> dict[str, Any]:
        """Enough to tell from this machine, and from no other, whether this process is still there."""
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "machine": _this_boot(),
        }

    def has_ended(self, process: Mapping[str, Any]) -> bool:
        """Whether a `process` was one of this machine's, and is no more."""
        if not process.get("started") or process.get("machine") != _this_boot():
            return False
        return bool(_started(process["pid"]) != process["started"])


THIS_MACHINE = Machine()


def _this_boot() -> list[str] | None:
    """This boot of this machine, and the space that its process numbers are of; None where that cannot be told."""
    try:
        return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), str(Path("/proc/self/ns/pid").readlink())]
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks; None where there is none, or it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
