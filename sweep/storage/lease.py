"""What a running launch is computing, told to the other launches on its store, so that they do something else.

A launch's lease is a file in the store: the keys it computes, and who it is. To take a key, a launch first writes it
down and then looks at the leases of the others: of two that take the same key at the same time, at least one sees the
other and lets go.

A launch that is alone takes all that it is going to compute at its start, and then none of its trials costs a look at
the store. It looks every other second whether it is still alone; when it is not, it keeps only what it computes.

A lease is renewed every few seconds. One that is not renewed for a minute, or whose process on this machine is gone, is
over, and whoever finds it takes it away. Ages are told by the storage's own clock. A lease is only ever written, or
taken away, as it was last seen (`Folder.swap`): a launch that wakes up too late finds that its own is gone, lets go of
all it had, and begins anew under another name. Its trials see that the lease they are under is gone, and stop.
"""

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Any

from data_prep.checked import parse_json
from data_prep.errors import UserError
from data_prep.folders import Entry, Folder
from data_prep.signals import held
from sweep.machine import THIS_MACHINE, Machine

LEASES = "leases"
UPKEEP = "upkeep"  # names of leases that begin so are not a launch's
OVER = b'{"keys": [], "process": {}}'  # what a lease holds before it is taken away
EXPIRES_SECONDS = 60.0
RENEW_SECONDS = 15.0
LOOK_SECONDS = 2.0
CHECK_SECONDS = 5.0


class SupersededError(UserError):
    """The launch that a trial is of is over, and another one has its work."""


class LostError(Exception):
    """A lease was taken away."""


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
        self._name = launch  # another one once it was lost
        self._folder = folder
        self._launch = launch
        self._on_takeover = on_takeover
        self._machine = machine
        self._keys: set[str] = set()  # what it computes
        self._ahead = frozenset(ahead)  # what it took besides; empty as soon as it is not alone
        self._told: bytes | None = None  # what the file holds, as far as is known
        self._count = 0  # how often it was written: no two contents are the same
        self._times_lost = 0
        self._lock = machine.lock()
        self._written = machine.monotonic()
        self._stop_renewing: Callable[[], None] = lambda: None

    @property
    def name(self) -> str | None:
        """The name that trials are to look for; None where the storage did not let it be written."""
        return None if self._told is None else self._name

    def __enter__(self) -> "Lease":
        try:
            self._begin()
            return self
        except BaseException:  # a signal among them
            self.give_back()
            raise

    def _begin(self) -> None:
        try:
            self._write()
            self._look()
        except LostError:
            with contextlib.suppress(OSError):
                self._begin_anew()
        except OSError:
            self._ahead = frozenset()
        self._stop_renewing = self._machine.repeat(min(LOOK_SECONDS, RENEW_SECONDS), self._renew)

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Let go of everything, for good."""
        with held(), contextlib.suppress(OSError):
            self._stop_renewing()
            self._folder.delete(_file_of(self._name))

    def claim(self, keys: Iterable[str]) -> set[str]:
        """Take `keys`; returns those that another launch has, and takes none if there are any.

        Where the storage does not say for a minute, they are taken without a lease: it may not keep results either.
        """
        wanted = set(keys)
        with self._lock:
            try:
                return self._claim(wanted)
            except LostError:
                with contextlib.suppress(OSError):
                    self._begin_anew()
                return wanted
            except OSError:
                if self._machine.monotonic() - self._written < EXPIRES_SECONDS:
                    self._keys -= wanted
                    return wanted
                return set()

    def release(self, keys: Iterable[str]) -> None:
        """Let go of `keys`; the others see it when the lease is next written."""
        with self._lock:
            self._keys.difference_update(keys)

    def others(self) -> list[str]:
        """The leases of others that are there. Raises OSError."""
        with self._lock:
            return list(self._others())

    def _claim(self, wanted: set[str]) -> set[str]:
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

    def _keys_of_others(self) -> set[str]:
        return set().union(*(lease["keys"] for lease in self._others().values() if lease is not None))

    def _others(self) -> dict[str, dict[str, Any] | None]:
        """The leases of the other living launches; None for one that says nothing. Those that are over are taken
        away."""
        entries = self._entries()
        own = entries.pop(self._name, None)
        found = {}
        for name, entry in entries.items():
            content = self._folder.read(str(entry.path))
            lease = _parsed(content)
            if content is None:
                continue
            if self._is_over(entry, lease, own) and self._take_away(name, entry, content):
                self._on_takeover(name)
            else:
                found[name] = lease
        return found

    def _entries(self) -> dict[str, Entry]:
        return {entry.path.stem: entry for entry in self._folder.entries(LEASES)}

    def _take_away(self, name: str, entry: Entry, content: bytes) -> bool:
        """Take a lease away unless it was renewed since it was listed as `entry`; whether it is gone."""
        if self._entries().get(name) != entry or not self._folder.swap(_file_of(name), OVER, content, durable=False):
            return False
        self._folder.delete(_file_of(name))
        return True

    def _look(self) -> None:
        """Let go of what was taken ahead, if another launch is there."""
        if self._ahead and self._others():
            self._ahead = frozenset()
            self._write()

    def _write(self) -> None:
        """Raises LostError where the lease is not there any more, and OSError where the storage does not say."""
        self._count += 1
        keys = sorted(self._keys | self._ahead)
        said = {"launch": self._launch, "process": self._machine.process(), "keys": keys, "written": self._count}
        content, file = json.dumps(said).encode(), _file_of(self._name)
        if not self._folder.swap(file, content, self._told, durable=False):
            found = self._folder.read(file)  # perhaps what was written before, and was thought to have failed
            if found is None or found == OVER:
                raise LostError
            if not self._folder.swap(file, content, found, durable=False):
                raise OSError(f"{file} is written by another")
        self._told = content
        self._written = self._machine.monotonic()

    def _begin_anew(self) -> None:
        self._keys.clear()
        self._ahead = frozenset()
        self._told = None
        self._times_lost += 1
        self._name = f"{self._launch}~{self._times_lost}"
        self._write()

    def _renew(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            try:
                self._look()
                if self._machine.monotonic() - self._written >= RENEW_SECONDS:
                    self._write()
            except LostError:
                self._begin_anew()

    def _is_over(self, entry: Entry, lease: dict[str, Any] | None, own: Entry | None) -> bool:
        if own is not None and own.modified - entry.modified > EXPIRES_SECONDS:
            return True
        return lease is not None and self._machine.has_ended(lease["process"])


class LeaseCheck:
    """Lets a trial ask, now and then, whether the lease that it is under is gone; it may be under none.

    Raises SupersededError, also at once, where it is.
    """

    def __init__(self, folder: Folder, lease: str | None, machine: Machine = THIS_MACHINE) -> None:
        self._folder = folder
        self._lease = lease
        self._machine = machine
        self._asked = float("-inf")
        self()

    def __call__(self, now: bool = False) -> None:
        """Ask the store `now`, or if it was not asked for a while. What it does not say is no reason to stop."""
        if self._lease is None or not (now or self._machine.monotonic() - self._asked >= CHECK_SECONDS):
            return
        self._asked = self._machine.monotonic()
        with contextlib.suppress(OSError):
            if self._folder.modified(_file_of(self._lease)) is None:
                raise SupersededError(f"the lease {self._lease} is over")


def _file_of(launch: str) -> str:
    return f"{LEASES}/{launch}.json"


def _parsed(content: bytes | None) -> dict[str, Any] | None:
    try:
        found = parse_json(content or b"null")
        return {"keys": list(found["keys"]), "process": dict(found["process"])}
    except (ValueError, KeyError, TypeError):
        return None
