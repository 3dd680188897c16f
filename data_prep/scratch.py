"""Folders among the temporary ones for what is of use only while a process runs.

One goes at an orderly end. A process that is killed leaves its own behind, and one that ends in an error, for a look at
the logs in it: those go when the same user's next one is made. Whether a folder is in use is told by a lock on a file
in it, which the kernel gives up with the last process that has it open; what has no such file is another's, and stays.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PREFIX = "ser-sweep-"
LOCK = "in-use"
GONE_SECONDS = 10.0  # that a process which was killed has for being gone


class Scratch(NamedTuple):
    """A folder of one's own, and the open file of its lock, for child processes that are to hold it, too."""

    folder: Path
    lock: int


@contextmanager
def scratch_folder(among: Path | None = None) -> Iterator[Scratch]:
    """A new folder in `among` (by default where the system keeps temporary files)."""
    place = among or Path(tempfile.gettempdir())
    remove_left_over(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    stays = False
    descriptor = os.open(folder / f".{LOCK}", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        (folder / f".{LOCK}").rename(folder / LOCK)  # a lock that can be seen is held
        yield Scratch(folder, descriptor)
    except Exception:
        stays = True
        raise
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def end_holders(scratch: Scratch) -> None:
    """Kill the other processes that hold the lock, and wait until they are gone."""
    import psutil

    name, holders = str(scratch.folder / LOCK), []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone meanwhile, or another user's
            if one.pid != os.getpid() and any(file.path == name for file in one.open_files()):
                one.kill()
                holders.append(one)
    psutil.wait_procs(holders, timeout=GONE_SECONDS)


def remove_left_over(place: Path) -> None:
    """Remove this user's folders that no process has any more."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # held, another's, or gone meanwhile
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
