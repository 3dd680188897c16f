"""The steps of which a file's whole appearance on a disk is made."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_SECONDS = 2.0  # that a file's swap waits for another's


class Disk:
    """The steps of a write on a disk. A simulation has its own, on which the power may fail between them.

    `named` are the folders (by their identity) whose names are known to be on the disk.
    """

    def __init__(self) -> None:
        self.named: set[Hashable | None] = set()

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        """Write a new file; a `durable` one is on the disk when this returns, though under a name that may be lost."""
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())

    def rename(self, path: Path, target: Path) -> None:
        """Give `path` the name `target`, in one step, over what may have it."""
        path.replace(target)

    def link(self, path: Path, target: Path) -> bool:
        """Give a file the name `target`, too; whether there was none of that name."""
        try:
            target.hardlink_to(path)
        except FileExistsError:
            return False
        except OSError:  # of a file system without links
            if target.exists():
                return False
            path.replace(target)
        return True

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Nobody else has the lock file `path`; where the file system has no locks, somebody may. Raises OSError where
        another does not let go of it."""
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(lock)
            yield
        finally:
            os.close(lock)

    def remove(self, path: Path) -> None:
        """Remove a file, where it is there."""
        path.unlink(missing_ok=True)

    def identity(self, path: Path) -> Hashable | None:
        """What is another for a folder that is made in place of this one; None where there is none."""
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_dev, found.st_ino

    def make_folder(self, path: Path) -> None:
        """Make a folder in one that is there."""
        path.mkdir(exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Have the names in a folder on the disk, where its file system can: some network's cannot."""
        with contextlib.suppress(OSError):
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


DISK = Disk()  # of this process: each trial opens its store anew


def _lock(file: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return None
