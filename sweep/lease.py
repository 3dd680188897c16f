"""What a running launch is computing, told to the other launches on its store, so that they do something else.

A launch's lease is a file in the store: the keys it computes, and who it is. To take a key, a launch first writes it
down and then looks at the leases of the others: of two that take the same key at the same time, at least one sees the
other and lets go. No lock is needed, and nothing of the storage but that a file that was written can be seen.

A launch that is alone takes all that it is going to compute at its start, and then none of its trials costs a look at
the store. It looks every other second whether it is still alone; when it is not, it keeps only what it computes.

A lease is renewed every few seconds. One that is not renewed for a minute, or whose process on this machine is gone, is
over, and whoever finds it takes it away: trials that the lost launch left behind see that, and stop. Ages are told by
the storage's own clock. A lease saves work and guards nothing: two launches that train a stage come to the same bits.
"""

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Any

from data_prep.checked import parse_json
from data_prep.errors import UserError
from data_prep.folders import Entry, Folder
from sweep.machine import THIS_MACHINE, Machine

LEASES = "leases"
EXPIRES_SECONDS = 60.0
RENEW_SECONDS = 15.0
LOOK_SECONDS = 2.0
CHECK_SECONDS = 5.0


class SupersededError(UserError):
    """The launch that a trial is of is over, and another one has its work."""


class Lease:
    """The lease of `launch` on a store's folder. As a context, it is renewed until the end and then given back.

    `ahead` are the keys to take before they are claimed, as long as the launch is alone on the store.
    """

    def __init__(
        self,
        folder: Folder,
        launch: str,
        on_takeover: Callable[[str], None] = lambda launch: None,
        ahead: Iterable[str] = (),
        machine: Machine = THIS_MACHINE,
    ) -> None:
        self._folder = folder
        self._launch = launch
        self._on_takeover = on_takeover
        self._machine = machine
        self._keys: set[str] = set()  # what it computes
        self._ahead = frozenset(ahead)  # what it took besides; empty as soon as it is not alone
        self._lock = machine.lock()
        self._written = machine.monotonic()
        self._stop_renewing: Callable[[], None] = lambda: None

    def __enter__(self) -> "Lease":
        try:
            self._write()
            self._look()
        except OSError:
            self._ahead = frozenset()
        self._stop_renewing = self._machine.repeat(min(LOOK_SECONDS, RENEW_SECONDS), self._renew)
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Let go of everything, for good."""
        self._stop_renewing()
        with contextlib.suppress(OSError):
            self._folder.delete(_file_of(self._launch))

    def claim(self, keys: Iterable[str]) -> set[str]:
        """Take `keys`; returns those that another launch has, and takes none if there are any.

        Where the store cannot be written they are taken without a lease: it only saves work.
        """
        wanted = set(keys)
        with self._lock, contextlib.suppress(OSError):
            if self._ahead and wanted <= self._ahead:
                self._keys |= wanted
                return set()
            taken = wanted & self._keys_of_others()
            if taken:
                return taken
            self._keys |= wanted
            self._write()
            taken = wanted & self._keys_of_others()
            if taken:
                self._keys -= wanted
                self._write()
            return taken
        return set()

    def release(self, keys: Iterable[str]) -> None:
        """Let go of `keys`; the others see it when the lease is next written."""
        with self._lock:
            self._keys.difference_update(keys)

    def _keys_of_others(self) -> set[str]:
        return set().union(*(lease["keys"] for lease in self._others() if lease is not None))

    def _others(self) -> list[dict[str, Any] | None]:
        """The leases of the other living launches; None for one that says nothing. Those that are over are taken
        away."""
        entries = {entry.path.stem: entry for entry in self._folder.entries(LEASES)}
        own = entries.pop(self._launch, None)
        found = []
        for launch, entry in entries.items():
            lease = _parsed(self._folder.read(str(entry.path)))
            if self._is_over(entry, lease, own):
                self._folder.delete(str(entry.path))
                self._on_takeover(launch)
            else:
                found.append(lease)
        return found

    def _look(self) -> None:
        """Let go of what was taken ahead, if another launch is there."""
        if self._ahead and self._others():
            self._ahead = frozenset()
            self._write()

    def _write(self) -> None:
        keys = sorted(self._keys | self._ahead)
        content = {"launch": self._launch, "process": self._machine.process(), "keys": keys}
        self._folder.write(_file_of(self._launch), json.dumps(content).encode(), durable=False)

    def _renew(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._look()
            if self._machine.monotonic() - self._written >= RENEW_SECONDS:
                self._write()
                self._written = self._machine.monotonic()

    def _is_over(self, entry: Entry, lease: dict[str, Any] | None, own: Entry | None) -> bool:
        if own is not None and own.modified - entry.modified > EXPIRES_SECONDS:
            return True
        return lease is not None and self._machine.has_ended(lease["process"])


class LeaseCheck:
    """Lets a trial ask, now and then, whether its launch goes on: its lease was there, and is no more."""

    def __init__(self, folder: Folder, launch: str, machine: Machine = THIS_MACHINE) -> None:
        self._folder = folder
        self._launch = launch
        self._machine = machine
        self._asked = machine.monotonic()
        self._was_there = self._is_there()

    def __call__(self, now: bool = False) -> None:
        """Raise SupersededError where the lease is gone. Asks the store `now`, or if it was not asked for a while."""
        if not now and self._machine.monotonic() - self._asked < CHECK_SECONDS:
            return
        self._asked = self._machine.monotonic()
        there = self._is_there()
        if self._was_there and there is False:
            raise SupersededError(f"launch {self._launch} is over")
        self._was_there = self._was_there or there

    def _is_there(self) -> bool | None:
        """None where the store does not say."""
        try:
            return self._folder.modified(_file_of(self._launch)) is not None
        except OSError:
            return None


def _file_of(launch: str) -> str:
    return f"{LEASES}/{launch}.json"


def _parsed(content: bytes | None) -> dict[str, Any] | None:
    try:
        found = parse_json(content or b"null")
        return {"keys": list(found["keys"]), "process": dict(found["process"])}
    except (ValueError, KeyError, TypeError):
        return None
