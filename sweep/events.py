"""The event log of a launch: a line of JSON for everything that happened, in the store (events/<launch>.jsonl).

    {"time": "2026-05-04T10:11:12.345Z", "event": "launched", "grid": ..., "user": ..., "host": ..., ...}
    {"time": ..., "event": "issued" | "trained" | "reused" | "failed" | "out_of_memory" | "superseded" | "ended", ...}

docs/store.md lists the events. What a sweep has cost can be told from them afterwards (`launches_of`).
"""

import contextlib
import getpass
import json
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any

from data_prep.folders import Folder

EVENTS = "events"
UPLOAD_SECONDS = 15.0  # an object is written as a whole


def new_launch() -> str:
    """A name for a launch; names sort by time."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}"


def user() -> str:
    """Who launches, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


class EventLog:
    """The log of one launch. On a disk every event is there at once; in an object store, within seconds.

    A log that cannot be written, as on a full disk, stops nothing: its lines are kept for the next time.
    """

    def __init__(self, folder: Folder, launch: str) -> None:
        self._folder = folder
        self._file = f"{EVENTS}/{launch}.jsonl"
        self._lines: list[str] = []
        self._written = 0
        self._uploaded = float("-inf")
        self._lock = threading.Lock()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def write(self, event: str, **facts: Any) -> None:
        """Note an event with what is known of it; `facts` are JSON values."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        with self._lock:
            self._lines.append(json.dumps({"time": stamp, "event": event, **facts}, ensure_ascii=False))
        if self._folder.is_local or time.monotonic() - self._uploaded >= UPLOAD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet, if the store can be written."""
        with self._lock, contextlib.suppress(OSError):
            waiting = self._lines[self._written :]
            if not waiting:
                return
            if self._folder.is_local:
                self._append(waiting)
            else:
                self._uploaded = time.monotonic()
                self._folder.write(self._file, _joined(self._lines))
            self._written = len(self._lines)

    def _append(self, lines: list[str]) -> None:
        path = self._folder.local_path(self._file)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _joined(lines)
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            if file.write(content) != len(content):
                file.truncate(before)
                raise OSError(f"{path} could not be written in full")


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def read_events(folder: Folder) -> dict[str, list[dict[str, Any]]]:
    """Launch -> its events, in the order of launches. A line that a crash cut off is passed over."""
    entries = sorted(folder.entries(EVENTS), key=lambda entry: entry.path.stem)
    contents = folder.read_all(str(entry.path) for entry in entries)
    return {entry.path.stem: _events(content or b"") for entry, content in zip(entries, contents, strict=True)}


def _events(content: bytes) -> list[dict[str, Any]]:
    found = []
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                found.append(event)
    return found
