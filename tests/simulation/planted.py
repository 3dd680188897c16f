"""Bugs to plant, one line each, to see that the simulation finds them: python -m tests.simulation --bug NAME

What a bug replaces is a function of the product; nothing of the product knows of them.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from data_prep.folders import Folder
from sweep.machine import THIS_MACHINE, Machine
from sweep.running.chain_queue import ChainQueue
from sweep.storage import upkeep
from sweep.storage.lease import EXPIRES_SECONDS, Lease
from sweep.storage.store import Store
from tests.simulation import storage

write_described, write = Store._write_described, Folder.write


def commit_marker_first() -> None:
    """stage.json is written before the files it names."""

    def _write_described(self: Store, key: str, kind: str, suffix: str, content: bytes) -> Any:
        described = write_described(self, key, kind, suffix, content)
        self.folder.delete(f"stages/{key}/{described['file']}")
        self._late = lambda: self.folder.write(f"stages/{key}/{described['file']}", content)
        return described

    commit_first = Store._commit_first

    def _commit_first(self: Store, key: str, record: bytes, seen: bytes | None) -> bool:
        stands = commit_first(self, key, record, seen)
        self._late()
        return stands

    Store._write_described, Store._commit_first = _write_described, _commit_first


def no_sync_of_the_folder() -> None:
    """A file's new name is not on the disk when its write returns."""
    storage.SimulatedDisk.sync_folder = lambda self, path: None


def no_sync_of_files() -> None:
    """A file's content is not on the disk when its write returns."""
    Folder.write = lambda self, name, content, durable=True: write(self, name, content, durable=False)


def age_by_the_local_clock() -> None:
    """The reading machine's own clock decides that a lease is over."""
    is_over = Lease._is_over

    def _is_over(self: Lease, entry: Any, lease: Any, own: Any) -> bool:
        return self._machine.now() - entry.modified > EXPIRES_SECONDS or is_over(self, entry, lease, None)

    Lease._is_over = _is_over


def release_before_commit() -> None:
    """A launch releases keys when their trial begins."""
    issue = ChainQueue.issue

    def issue_and_release(self: ChainQueue, trial: str) -> Any:
        issued = issue(self, trial)
        if issued is not None:
            self._release(self._running[trial][1])
        return issued

    ChainQueue.issue = issue_and_release


def no_second_look() -> None:
    """A claim looks at other leases before it is written, but not afterwards."""

    def _claim(self: Lease, wanted: set[str]) -> set[str]:
        if self._ahead and wanted <= self._ahead:
            self._keys |= wanted
            return set()
        taken = wanted & self._keys_of_others()
        if not taken:
            self._keys |= wanted
            self._write()
        return taken

    Lease._claim = _claim


def garbage_by_a_stale_listing() -> None:
    """gc does not notice that a launch has begun, because it uses an older listing."""

    @contextlib.contextmanager
    def had_alone(store: Store, machine: Machine = THIS_MACHINE) -> Iterator[None]:
        yield

    upkeep.had_alone = had_alone


def the_last_commit_stands() -> None:
    """A commit overwrites an earlier one."""

    def _commit_first(self: Store, key: str, record: bytes, seen: bytes | None) -> bool:
        self.folder.write(f"stages/{key}/stage.json", record)
        return True

    Store._commit_first = _commit_first


def predictions_are_deleted_first() -> None:
    """Removing a stage deletes its predictions before its stage.json."""

    def delete_stage(self: Store, key: str) -> None:
        self.folder.delete_folder(f"stages/{key}")

    Store.delete_stage = delete_stage


def deletions_that_are_not_synced() -> None:
    """After a power failure, the file deleted first may be back without the one deleted second."""

    def delete_stage(self: Store, key: str) -> None:
        self.folder.delete(f"stages/{key}/stage.json")
        self.folder.delete_folder(f"stages/{key}")

    Store.delete_stage = delete_stage


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        commit_marker_first,
        no_sync_of_the_folder,
        no_sync_of_files,
        age_by_the_local_clock,
        release_before_commit,
        no_second_look,
        garbage_by_a_stale_listing,
        the_last_commit_stands,
        predictions_are_deleted_first,
        deletions_that_are_not_synced,
    )
}
