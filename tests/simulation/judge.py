"""What must hold at every step: the judge sees each change of the storage, each claim and each training."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sweep.planning.stages import StageSpec
from sweep.storage.lease import EXPIRES_SECONDS, OVER
from tests.simulation.stages import predictions_of
from tests.simulation.storage import Blob, Storage
from tests.simulation.world import Process, World

POWER = "power failure"
STALE_SECONDS = 40.0  # how long what a fault has done to requests may be felt


@dataclass
class Training:
    """A stage in training: by which launch, in which process, and under which lease."""

    launch: "Running"
    process: Process
    lease: str | None


@dataclass
class Running:
    """A launch as the judge knows it: what its grid needs, and the stages it holds without its lease saying so,
    because the storage failed it while it claimed them."""

    process: Process
    name: str
    needs: frozenset[str]
    unguarded: set[str] = field(default_factory=set)
    lease: str = ""

    @property
    def goes_on(self) -> bool:
        return self.process.alive


class Judge:
    """Holds the promises of docs/reliability.md against what happens."""

    def __init__(self, world: World, storage: Storage, stages: Mapping[str, StageSpec]) -> None:
        self._world = world
        self._storage = storage
        self._stages = stages
        self.committed: dict[str, bytes] = {}  # key -> stage.json
        self.ever: set[str] = set()  # keys that were committed at some time
        self.saved: set[str] = set()  # keys that a trial has been told are in the store
        self.excused: set[str] = set()  # stages that a fault destroyed
        self.damaged: set[str | None] = set()  # launches whose lease a fault has damaged
        self.launches: list[Running] = []
        self.trainings: dict[str, list[Training]] = {}
        self.trained_twice = 0
        self.torn: set[bytes] = set()
        self.mended: dict[str, str] = {}  # stages that had lost their predictions, and who wrote them anew
        self.upkeep: set[str] = set()  # processes that may delete stages
        storage.watch = self.changed

    # The storage

    def changed(self, name: str, before: Blob | None, after: Blob | None, by: str) -> None:
        kind, _, rest = name.partition("/")
        owner, _, file = rest.partition("/")
        if kind == "stages" and not file.startswith("."):
            self._stage_changed(owner, file, by)
        if kind == "leases" and before is not None and before.content != OVER and owner.endswith(".json"):
            self._lease_changed(owner.removesuffix(".json"), before, after, by)

    def _stage_changed(self, key: str, file: str, by: str) -> None:
        described = self._storage.files.get(f"stages/{key}/stage.json")
        whole = described is not None and self._is_whole(key, described.content)
        before = self.committed.get(key)
        if whole and described is not None:
            self.ever.add(key)
            if file != "stage.json":
                self.mended[key] = by
            if key in self.excused and before == described.content:  # mended, and to be committed anew
                return
            another = before is not None and before != described.content and self.mended.get(key) != by
            if another and key not in self.excused and self._storage.swaps:
                self._world.violated("changed", f"stage {key} was committed before, and is another now, by {by}")
            self.committed[key] = described.content
            self.excused.discard(key)
            return
        if key in self.excused:
            return
        if before is not None:
            if by not in self.upkeep and (by != POWER or key in self.saved):
                self._world.violated("lost", f"stage {key} was committed and is not there any more, by {by}")
            needing = [one.name for one in self.launches if key in one.needs and self._has_lease(one)]
            if needing and not self._was_on("stale"):
                self._world.violated("garbage", f"stage {key} was removed by {by}, and {needing[0]} needs it")
            del self.committed[key]
            self.saved.discard(key)
        # A write may arrive late, when gc has taken the stage out, and what a fault left be there again.
        if described is not None and not self._storage.arrives_late and described.content not in self.torn:
            self._world.violated("half-written", f"stage {key} is there, and is not whole, by {by}")

    def _has_lease(self, launch: Running) -> bool:
        """Whether a launch goes on, and its lease can be seen by all."""
        return launch.goes_on and any(self._is_good(n) for n in self._storage.files if _launch_of(n) == launch.lease)

    def _is_good(self, lease: str) -> bool:
        blob = self._storage.files.get(lease)
        return blob is not None and blob.content != OVER and self._storage.now - blob.modified <= EXPIRES_SECONDS

    def _is_whole(self, key: str, content: bytes) -> bool:
        record = _parsed(content)
        if record is None or key not in self._stages:
            return False
        named = record["predictions"]
        file = self._storage.files.get(f"stages/{key}/{named['file']}")
        if file is None or hashlib.sha256(file.content).hexdigest() != named["sha256"]:
            return False
        if file.content != predictions_of(self._stages[key]):
            self._world.violated("predictions", f"stage {key} has those of another")
        return True

    def destroyed(self, key: str, torn: bytes | None = None) -> None:
        """A fault that no storage should have is about to take a stage away, or to leave this of a file of it."""
        if torn is not None:
            self.torn.add(torn)
        self.excused.add(key)
        self.saved.discard(key)

    def unreadable(self, lease: str) -> None:
        """A fault that no storage should have is about to damage a lease, or to take it away."""
        self.damaged.add(_launch_of(lease))

    def _lease_changed(self, lease: str, before: Blob, after: Blob | None, by: str) -> None:
        owner = next((one for one in self.launches if one.lease == lease.partition("~")[0]), None)
        if owner is None or not owner.goes_on or not self._storage.swaps or self._storage.is_on("stale"):
            return
        taken = by != owner.process.name and by in {one.process.name for one in self.launches}
        if taken and self._storage.now - before.modified <= EXPIRES_SECONDS:
            self._world.violated("lease", f"{by} took the lease of {lease} away, which was still good")

    # Launches

    @contextmanager
    def needing(self, launch: Running) -> Iterator[None]:
        """A launch that has its lease needs what its grid needs."""
        self.launches.append(launch)
        yield
        self.launches.remove(launch)

    def claimed(self, launch: Running, keys: set[str], answered: bool) -> None:
        """A launch was given `keys`; perhaps although the storage had not answered, or not with what is there."""
        late = self._was_on("late") or self._was_on("twice")
        if answered and not self._was_on("stale") and (self._storage.swaps or not late):
            launch.unguarded -= keys
        else:
            launch.unguarded |= keys

    def _was_on(self, fault: str) -> bool:
        """Whether a fault is upon the storage, or was a moment ago."""
        return self._storage.faults.get(fault, 0.0) > self._world.now - STALE_SECONDS

    def training(self, key: str, one: Training, begins: bool) -> None:
        others = self.trainings.setdefault(key, [])
        if not begins:
            self.trainings[key] = [other for other in others if other.process is not one.process]
            return
        for other in others:
            if other.process.alive and other.launch.name != one.launch.name and key not in self.excused:
                self.trained_twice += 1
                if self._is_guarded(key, one) and self._is_guarded(key, other):
                    self._world.violated("twice", f"{one.launch.name} and {other.launch.name} train stage {key}")
        others.append(one)

    def _is_guarded(self, key: str, training: Training) -> bool:
        """Whether no other launch may train a stage: the lease that its trial is under is there, and not over."""
        launch = training.launch
        guarded = launch.goes_on and key not in launch.unguarded and launch.lease not in self.damaged
        return guarded and self._is_good(f"leases/{training.lease}.json")

    def ended(self, launch: Running, succeeded: bool) -> None:
        """A launch came to its end, and says whether everything is trained."""
        missing = launch.needs - self.ever - self.excused
        if succeeded and missing:
            self._world.violated("missing", f"{launch.name} says that all is trained, and {min(missing)} is not there")


def _launch_of(name: str) -> str | None:
    """The launch that a lease is of; None for any other file."""
    folder, _, file = name.partition("/")
    return file.removesuffix(".json").partition("~")[0] if folder == "leases" and file.endswith(".json") else None


@lru_cache(4096)
def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] | None = json.loads(content)
        return found
    except ValueError:
        return None
