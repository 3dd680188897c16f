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
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from typing import Any

from data_prep.checked import parse_json
from data_prep.folders import Folder
from sweep.storage.records import is_event

EVENTS = "events"
UPLOAD_SECONDS = 15.0  # an object is written as a whole


def new_launch() -> str:
    """A name for a launch; names sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{uuid.uuid4().hex[:8]}"


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
        self._appending: FileIO | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        with self._lock:
            self._close()

    def write(self, event: str, **facts: Any) -> None:
        """Note an event with what is known of it; `facts` are JSON values."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
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
        content = _joined(lines)
        try:
            if self._appending is None:
                self._appending = FileIO(self._folder.place(self._file), "ab")
            before = self._appending.tell()
            if self._appending.write(content) != len(content):
                self._appending.truncate(before)
                raise OSError(f"{self._appending.name} could not be written in full")
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        if self._appending is not None:
            with contextlib.suppress(OSError):
                self._appending.close()
            self._appending = None


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


@dataclass(frozen=True)
class LaunchSummary:
    """What a launch's events come to. `reused` are stages that others trained and it found in the store, each once.
    `seconds` is from its first event to its last; `device_seconds` is of its trials, each by its share of a GPU or,
    without one, in full. `running` are trials that have not ended. `limited` is the limit that it ended by."""

    launch: str
    time: str
    grid: str
    user: str
    host: str
    trained: int
    reused: int
    failed: int
    running: int
    seconds: float
    device_seconds: float
    finished: bool
    interrupted: bool
    limited: str = ""

    @property
    def end(self) -> str:
        """How it ended, in words, where that is not the ordinary way."""
        if not self.finished:
            return "runs, or did not end by itself"
        if self.interrupted:
            return "interrupted"
        return f"limited by {self.limited}" if self.limited else ""


def launches_of(events: Mapping[str, list[dict[str, Any]]]) -> list[LaunchSummary]:
    """A summary of each launch that began to log."""
    return [_summary(launch, listed) for launch, listed in events.items() if listed]


def _summary(launch: str, events: list[dict[str, Any]]) -> LaunchSummary:
    first = events[0]
    count = Counter(event["event"] for event in events)
    share = {event.get("trial"): event.get("gpu") or 1.0 for event in events if event["event"] == "issued"}
    ended = [event for event in events if event["event"] == "ended"]
    return LaunchSummary(
        launch=launch,
        time=first["time"],
        grid=first.get("grid", ""),
        user=first.get("user", ""),
        host=first.get("host", ""),
        trained=count["trained"],
        reused=len(_keys(events, "reused") - _keys(events, "trained")),
        failed=count["failed"],
        running=0 if count["finished"] else max(0, count["issued"] - count["ended"]),
        seconds=_seconds(events[-1]["time"]) - _seconds(first["time"]),
        device_seconds=sum(event.get("seconds", 0.0) * share.get(event.get("trial"), 1.0) for event in ended),
        finished=bool(count["finished"]),
        interrupted=any(event.get("interrupted", False) for event in events if event["event"] == "finished"),
        limited=next((str(event.get("limit", "")) for event in events if event["event"] == "limited"), ""),
    )


def _keys(events: list[dict[str, Any]], kind: str) -> set[str]:
    return {event.get("key", "") for event in events if event["event"] == kind}


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def read_events(folder: Folder, launches: Collection[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Launch -> its events, in the order of launches; only of `launches`, if given. A line that a crash cut off is
    passed over, as is one that is no event."""
    listed = [e for e in folder.entries(EVENTS) if launches is None or e.path.stem in launches]
    entries = sorted(listed, key=lambda entry: entry.path.stem)
    contents = folder.read_all(str(entry.path) for entry in entries)
    return {entry.path.stem: _events(content or b"") for entry, content in zip(entries, contents, strict=True)}


def _events(content: bytes) -> list[dict[str, Any]]:
    found = []
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            event = parse_json(line)
            if is_event(event):
                found.append(event)
    return found
