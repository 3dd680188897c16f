"""A simulated storage: a disk whose power may fail, or an object store that errs, and the `Folder` that lies on it."""

import errno
import io
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from pyarrow import fs

from data_prep.conditional import ConditionalWrites
from data_prep.disk import LOCK_SECONDS, Disk
from data_prep.folders import Folder
from tests.simulation.world import Process, World

ROOT = "/store"
LOCK_TRIES = 5
LOST_LISTING_SECONDS = 5.0  # how far behind a stale listing may be


@dataclass(frozen=True)
class Blob:
    """A file as it is: `number` is another one each time that it is written."""

    content: bytes
    modified: float
    number: int
    synced: bool = True


@dataclass
class Storage:
    """What is stored, by name, and the faults that are upon it: kind -> until when.

    `local` is a disk: a write is several steps there, and what is not synced is lost or torn when the power fails. Else
    it is an object store, which writes whole objects. `watch` is told of every change, by whom, before and after.
    """

    world: World
    local: bool
    swaps: bool = True
    skew: float = 0.0
    watch: Callable[[str, Blob | None, Blob | None, str], None] = lambda name, before, after, by: None
    files: dict[str, Blob] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=lambda: {"": 0})
    faults: dict[str, float] = field(default_factory=dict)
    locks: dict[str, Process] = field(default_factory=dict)
    arrives_late: bool = False  # what is being changed
    _kept: dict[str, Blob] = field(default_factory=dict)  # what a power failure leaves of the names
    _kept_folders: set[str] = field(default_factory=lambda: {""})
    _changes: list[tuple[float, str, Blob | None]] = field(default_factory=list)
    _numbers: int = 0

    @property
    def now(self) -> float:
        return self.world.now + self.skew

    def is_on(self, fault: str) -> bool:
        return self.faults.get(fault, 0.0) > self.world.now

    def put(self, name: str, content: bytes, by: str, synced: bool = True) -> None:
        self._numbers += 1
        self.set(name, Blob(content, self.now, self._numbers, synced), by)

    def set(self, name: str, blob: Blob | None, by: str) -> None:
        """Change what lies under a name."""
        before = self.files.get(name)
        if blob is None:
            self.files.pop(name, None)
        else:
            self.files[name] = blob
        if before is blob:
            return
        self._changes.append((self.world.now, name, before))
        self.watch(name, before, blob, by)

    def listing(self, behind: float = 0.0) -> dict[str, Blob]:
        """The files as they were so many seconds ago."""
        seen = dict(self.files)
        for at, name, before in reversed(self._changes):
            if at < self.world.now - behind:
                break
            if before is None:
                seen.pop(name, None)
            else:
                seen[name] = before
        return seen

    # A disk

    def make_folder(self, name: str) -> None:
        self._numbers += 1
        self.folders.setdefault(name, self._numbers)

    def sync(self, folder: str) -> None:
        """Have the names in a folder on the disk."""
        kept = {name: blob for name, blob in self._kept.items() if _folder_of(name) != folder}
        self._kept = kept | {name: blob for name, blob in self.files.items() if _folder_of(name) == folder}
        self._kept_folders |= {name for name in self.folders if name and _folder_of(name) == folder}

    def power_fails(self) -> None:
        """Of each change that was not synced, it is there or not; what was not synced of a content may be torn."""
        random = self.world.random
        lost = {name for name in self.folders if name not in self._kept_folders and random.random() < 0.5}
        self.folders = {name: number for name, number in self.folders.items() if not _is_below(name, lost)}
        for name in sorted(self.files.keys() | self._kept.keys()):
            there, kept = self.files.get(name), self._kept.get(name)
            left = there if there is kept or random.random() < 0.5 else kept
            if left is not None and _is_below(_folder_of(name), lost):
                left = None
            if left is not None and not left.synced and random.random() < 0.7:
                left = Blob(left.content[: random.randrange(len(left.content) + 1)], left.modified, left.number)
            if left is not there:
                self.set(name, left, "power failure")
        self._kept, self._kept_folders = dict(self.files), set(self.folders)


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def _is_below(name: str, folders: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in folders)


class Access:
    """How a process gets at the storage: each call takes time, and may meet a fault."""

    def __init__(self, storage: Storage, process: Process) -> None:
        self.storage = storage
        self.process = process

    def step(self, what: str, name: str) -> None:
        """Wait for the storage's answer; what follows happens at once."""
        world, storage = self.process.world, self.storage
        chance = world.random.random()
        self.process.sleep(0.002 + 0.1 * chance * chance if chance < 0.95 else 60 * (chance - 0.95))
        world.note(self.process.name, what, name)
        if not storage.faults:
            return
        if storage.is_on("silence"):
            self.process.sleep(20.0)
            self.fail("no answer", name)
        if storage.is_on("errors") and world.random.random() < 0.4:
            self.fail("503", name)

    def fail(self, what: str, name: str, code: int = errno.EIO) -> None:
        self.process.errors += 1
        self.process.world.note(self.process.name, f"  error: {what}")
        raise OSError(code, what, name)

    def change(self, name: str, change: Callable[[], None]) -> None:
        """Do something to an object: the answer may be lost, and the request may come late, or twice."""
        storage, random = self.storage, self.process.world.random
        if not storage.faults:
            return change()
        if storage.is_on("late") and random.random() < 0.5:
            self._later(name, change)
            self.fail("timed out, and comes late", name)
        change()
        if storage.is_on("twice") and random.random() < 0.5:
            self._later(name, change)
        if storage.is_on("lost answers") and random.random() < 0.5:
            self.fail("the answer was lost", name)
        return None

    def _later(self, name: str, change: Callable[[], None]) -> None:
        world = self.process.world
        network = Process(world, "network", self.process.host)
        seconds = 30.0 * world.random.random()

        def arrive() -> None:
            network.sleep(seconds)
            world.note("network", f"comes late: {name}")
            self.storage.arrives_late = True
            change()
            self.storage.arrives_late = False

        network.start(arrive)


class SimulatedDisk(Disk):
    """The steps of a write on the simulated disk."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access
        self._storage = access.storage
        self._by = access.process.name

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        self._access.step("create", str(path)[: len(ROOT) + 30])
        if self._storage.is_on("full"):
            self._storage.put(_name(path), content[: len(content) // 2], self._by, False)
            self._access.fail("No space left on device", str(path), errno.ENOSPC)
        self._storage.put(_name(path), content, self._by, durable)

    def rename(self, path: Path, target: Path) -> None:
        self._access.step("rename to", _name(target))
        blob = self._there(path)
        self._storage.set(_name(path), None, self._by)
        self._storage.set(_name(target), Blob(blob.content, blob.modified, blob.number, blob.synced), self._by)

    def link(self, path: Path, target: Path) -> bool:
        self._access.step("link to", _name(target))
        if _name(target) in self._storage.files:
            return False
        self._storage.set(_name(target), self._there(path), self._by)
        return True

    def _there(self, path: Path) -> Blob:
        blob = self._storage.files.get(_name(path))
        if blob is None:  # somebody has deleted it
            raise FileNotFoundError(errno.ENOENT, "gone", str(path))
        return blob

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        locks, me = self._storage.locks, self._access.process
        for _ in range(LOCK_TRIES):
            self._access.step("lock", _name(path))
            holder = locks.get(_name(path))
            if holder is None or not holder.alive:
                break
            me.sleep(LOCK_SECONDS / LOCK_TRIES)
        else:
            self._access.fail("locked by another", _name(path), errno.EAGAIN)
        locks[_name(path)] = me
        try:
            yield
        finally:
            locks.pop(_name(path), None)

    def remove(self, path: Path) -> None:
        self._access.step("remove", str(path)[: len(ROOT) + 30])
        self._storage.set(_name(path), None, self._by)

    def identity(self, path: Path) -> Hashable | None:
        return self._storage.folders.get(_name(path)) if str(path).startswith(ROOT) else str(path)

    def make_folder(self, path: Path) -> None:
        self._access.step("mkdir", _name(path))
        if _folder_of(_name(path)) not in self._storage.folders:
            raise FileNotFoundError(errno.ENOENT, "gone", str(path))
        self._storage.make_folder(_name(path))

    def sync_folder(self, path: Path) -> None:
        self._access.step("sync", _name(path))
        self._storage.sync(_name(path))


BELOW = len(ROOT) + 1


def _name(path: Path | str) -> str:
    return str(path)[BELOW:]


class Info(NamedTuple):
    """What `pyarrow.fs.FileInfo` says."""

    path: str
    type: Any
    size: int = 0
    mtime_ns: int = 0

    @property
    def base_name(self) -> str:
        return self.path.rpartition("/")[2]


class SimulatedConditions:
    """Conditional writes, which the server judges when they arrive."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._storage = access.storage

    def swap(self, name: str, content: bytes, seen: bytes | None) -> bool:
        self._access.step("swap", name)
        swapped = False

        def swap() -> None:
            nonlocal swapped
            blob = self._storage.files.get(name)
            if (None if blob is None else blob.content) == seen:
                self._storage.put(name, content, self._access.process.name)
                swapped = True

        self._access.change(name, swap)
        if swapped:
            return True
        self._access.step("read", name)
        blob = self._storage.files.get(name)
        return blob is not None and blob.content == content


class SimulatedFiles:
    """What `Folder` asks of a `pyarrow.fs.FileSystem`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._storage = access.storage
        self._by = access.process.name

    def get_file_info(self, asked: Any) -> Any:
        if isinstance(asked, str):
            self._access.step("ask for", _name(asked))
            blob = self._storage.files.get(_name(asked))
            return Info(asked, fs.FileType.NotFound) if blob is None else _info(_name(asked), blob)
        base = _name(asked.base_dir)
        self._access.step("list", base)
        stale = self._storage.is_on("stale")
        behind = LOST_LISTING_SECONDS * self._access.process.world.random.random() if stale else 0.0
        files = self._storage.listing(behind) if stale else self._storage.files
        start = f"{base}/" if base else ""
        below = sorted(name for name in files if name.startswith(start))
        found = [_info(name, files[name]) for name in below if asked.recursive or "/" not in name[len(start) :]]
        folders = sorted({name[len(start) :].partition("/")[0] for name in below if "/" in name[len(start) :]})
        return [*found, *(Info(f"{ROOT}/{start}{name}", fs.FileType.Directory) for name in folders)]

    def open_input_stream(self, path: str) -> io.BytesIO:
        self._access.step("read", _name(path))
        blob = self._storage.files.get(_name(path))
        if blob is None:
            raise FileNotFoundError(errno.ENOENT, "not there", path)
        return io.BytesIO(blob.content)

    def open_output_stream(self, path: str) -> "Upload":
        return Upload(self, path)

    def upload(self, path: str, content: bytes) -> None:
        name = _name(path)
        self._access.step("put", name)
        self._access.change(name, lambda: self._storage.put(name, content, self._by))

    def delete_file(self, path: str) -> None:
        name = _name(path)
        self._access.step("delete", name)
        if name not in self._storage.files:
            raise FileNotFoundError(errno.ENOENT, "not there", path)
        self._access.change(name, lambda: self._storage.set(name, None, self._by))

    def delete_dir(self, path: str) -> None:
        start = _name(path)
        for name in sorted(name for name in self._storage.files if name.startswith(f"{start}/")):
            self._access.step("delete", name)
            self._storage.set(name, None, self._by)
        for one in [one for one in self._storage.folders if _is_below(one, {start})]:
            del self._storage.folders[one]


class Upload(io.BytesIO):
    """An object that is written as a whole when it is closed without an error."""

    def __init__(self, files: SimulatedFiles, path: str) -> None:
        super().__init__()
        self._files = files
        self._path = path

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._files.upload(self._path, self.getvalue())


def _info(name: str, blob: Blob) -> Info:
    return Info(f"{ROOT}/{name}", fs.FileType.File, len(blob.content), int(blob.modified * 1e9))


class SimulatedFolder(Folder):
    """`Folder` as it is, on the simulated storage, as one process sees it."""

    def __init__(self, storage: Storage, process: Process) -> None:
        access = Access(storage, process)
        self.uri = "simulated"
        self._lies_at(ROOT)
        self._files = SimulatedFiles(access)
        self._disk = SimulatedDisk(access)
        self._conditional = cast(ConditionalWrites, SimulatedConditions(access)) if storage.swaps else None
        self._storage = storage

    @property
    def is_local(self) -> bool:
        return self._storage.local

    def folders(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self._storage.files if "/" in name})

    def each(self, function: Any, items: Iterable[Any], at_once: int = 1) -> Iterator[Any]:
        return map(function, items)

    def _share(self, path: Path) -> None: ...

    def _leads_out(self, path: Path) -> bool:
        return False
