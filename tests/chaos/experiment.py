"""One sweep under chaos: it is launched again and again while faults hit it, and compared with one in peace."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.folders import LOCK, Folder
from sweep.storage.events import read_events
from sweep.storage.provenance import code_revision, versions
from sweep.storage.store import Store
from tests.chaos.machines import Machines, cluster_of, kill
from tests.chaos.places import KEYS, PLACES, Place
from tests.chaos.watcher import Watcher

ROOT = Path(__file__).parents[2]
NODES = 2
TICK_SECONDS = 0.05
OUTAGE_SECONDS = (2.0, 7.0)
PAUSE_SECONDS = (0.0, 2.0)  # before a launch that ended is started again
ANY_MOMENT = 0.25  # share of faults that do not wait until something is being trained
LEFT_BEHIND = ("checkpoints", "failures", "leases", "temporary")  # files that a finished grid does not need
KINDS = {
    "disk": (
        "driver_killed",
        "worker_killed",
        "node_killed",
        "disk_full",
        "checkpoint_truncated",
        "note_truncated",
        "stage_truncated",
    ),
    "s3": (
        "driver_killed",
        "worker_killed",
        "node_killed",
        "server_errors",
        "dropped_connections",
        "hanging_server",
    ),
}


@dataclass(frozen=True)
class Peace:
    """A grid, its data, and what it gives when nothing goes wrong."""

    grid: Path
    data: Path
    predictions: dict[str, str]  # key -> SHA-256 of the file
    tables: dict[str, str]  # format -> text


@dataclass(frozen=True)
class Limits:
    """How long a run may take, and how often faults come."""

    faults: int
    gap: tuple[float, float]  # seconds from a fault to the next one, at least and at most
    seconds: float = 1500.0
    launches: int = 200


def command(name: str, grid: Path, data: Path, store: str, *flags: str) -> list[str]:
    place = [str(grid), "--data", str(data), "--store", store]
    return [sys.executable, "-m", "ser_sweep.cli", name, *place, *flags]


def in_peace(grid: Path, data: Path, store: Path) -> Peace:
    """Train a grid in one process, which nothing disturbs."""
    subprocess.run(command("run", grid, data, str(store), "--inline"), check=True, capture_output=True)
    return Peace(grid, data, predictions_of(str(store)), tables_of(grid, data, str(store)))


def predictions_of(store: str) -> dict[str, str]:
    """Key -> checksum of the predictions as they lie in the store, not as stage.json says."""
    opened = Store(store)
    found = {}
    for record in opened.records():
        content = opened.folder.read(f"stages/{record['key']}/{record['predictions']['file']}")
        found[record["key"]] = hashlib.sha256(content or b"").hexdigest()
    return found


def tables_of(grid: Path, data: Path, store: str) -> dict[str, str]:
    formats = ("json", "md")
    asked = [command("tables", grid, data, store, "--no-forests", "--format", one) for one in formats]
    said = [subprocess.run(one, check=True, capture_output=True, text=True).stdout for one in asked]
    return dict(zip(formats, said, strict=True))


@contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """What every process needs to know; Ray's files in a folder of their own, beside no other cluster's."""
    wanted = {"RAY_TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", **KEYS}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def under_chaos(
    peace: Peace, kind: str, seed: int, limits: Limits, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train the grid while faults hit it, and report."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run before
    folder.mkdir()
    ray = folder.parent / "ray"
    ray.mkdir(exist_ok=True)
    choices = random.Random(f"{kind} {seed}")
    begun = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(surroundings(ray))
        place = stack.enter_context(PLACES[kind](folder, choices))
        machines = stack.enter_context(cluster_of(NODES))
        watcher = stack.enter_context(Watcher(place.look, place.look_seconds))
        chaos = _Chaos(peace, place, machines, watcher, kind, seed, choices, limits, folder, say)
        stack.callback(chaos.stop)
        finished = chaos.run()
        watcher.see()
        report = {
            "seed": seed,
            "store": kind,
            "seconds": round(time.monotonic() - begun, 1),
            "finished": finished,
            "faults": dict(sorted(chaos.faults.items())),
            "skipped": place.skipped,
            "launches": chaos.launches,
            "ends": dict(sorted(chaos.ends.items())),
            "stages": len(peace.predictions),
            "commits": watcher.commits,
            "lost": len(set(watcher.lost)),
            "repeated": len(watcher.repeated),
            "destroyed": len(watcher.destroyed),
            **_outcome(peace, place, watcher, finished, say),
            "nodes": NODES,
            "revision": code_revision(),
            "versions": versions(),
        }
    return report


def _outcome(
    peace: Peace, place: Place, watcher: Watcher, finished: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """What the store holds in the end, beside what it holds after a run in peace."""
    records = list(Store(place.store).records())
    told = Counter(
        event["key"]
        for events in read_events(Folder(place.store)).values()
        for event in events
        if event["event"] == "trained"
    )
    left = Counter(_kind_of(name) for name in place.names())
    for name in place.names():
        if _kind_of(name) in LEFT_BEHIND:
            say(f"left behind: {name}")
    same_tables = finished and tables_of(peace.grid, peace.data, place.store) == peace.tables
    return {
        "resumed": sum(record["timing"]["resumed_at_epoch"] > 0 for record in records),
        "told_twice": sum(times > 1 + watcher.destroyed.count(key) for key, times in told.items()),
        "same_predictions": predictions_of(place.store) == peace.predictions,
        "same_tables": same_tables,
        "left_behind": {kind: left[kind] for kind in LEFT_BEHIND if left[kind]},
    }


def _kind_of(name: str) -> str:
    *_, own = name.split("/")
    if own == LOCK:
        return "locks"
    return "temporary" if own.startswith(".") else name.partition("/")[0]


@dataclass
class _Chaos:
    """A sweep that is launched again whenever it ended, and the faults that hit it."""

    peace: Peace
    place: Place
    machines: Machines
    watcher: Watcher
    kind: str
    seed: int
    choices: random.Random
    limits: Limits
    folder: Path
    say: Callable[[str], None]
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    launches: int = 0
    driver: "subprocess.Popen[bytes] | None" = None
    begun: float = field(default_factory=time.monotonic)
    healings: list[tuple[float, str, Callable[[], None]]] = field(default_factory=list)
    _status: int | None = None  # of the launch that ended last

    def run(self) -> bool:
        """Whether the grid came to its end, by a launch that no fault disturbed."""
        kinds = [kind for kind in KINDS[self.kind] if kind not in self.place.skipped]
        pending = dealt(kinds, self.limits.faults, self.seed)
        due, anywhen, start = self._moment(), False, 0.0
        while pending or self.driver is not None:
            now = time.monotonic()
            if now - self.begun > self.limits.seconds or self.launches >= self.limits.launches:
                self.say("gave up: out of time or launches")
                return False
            self._heal(now)
            if self.driver is not None and self._ended():
                if self.ends["done"]:
                    break
                start = now + self.choices.uniform(*PAUSE_SECONDS)
            if self.driver is None and pending and now >= start:
                self._launch()
            if pending and now >= due and (anywhen or self.machines.trials()) and self._hit(pending[0]):
                pending.pop(0)
                due, anywhen = self._moment(), self.choices.random() < ANY_MOMENT
            time.sleep(TICK_SECONDS)
        self._heal(float("inf"))
        return self._in_quiet()

    def _moment(self) -> float:
        return time.monotonic() + self.choices.uniform(*self.limits.gap)

    # The sweep

    def _launch(self) -> None:
        self.launches += 1
        with (self.folder / f"launch-{self.launches:03}.txt").open("wb") as said:
            self.driver = subprocess.Popen(
                command("run", self.peace.grid, self.peace.data, self.place.store, "--address", self.machines.address),
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )
        self.say(f"launch {self.launches}")

    def _ended(self) -> bool:
        if self.driver is None or self.driver.poll() is None:
            return False
        self._status, self.driver = self.driver.returncode, None
        end = {0: "done", -9: "killed"}.get(self._status, f"status {self._status}")
        self.ends[end] += 1
        self.say(f"launch {self.launches} ended: {end}; {len(self.watcher.intact)} stages; {self._last_words()}")
        return True

    def _last_words(self) -> str:
        said = (self.folder / f"launch-{self.launches:03}.txt").read_text(errors="replace").splitlines()
        return said[-1][:300] if said else ""

    def _in_quiet(self) -> bool:
        """One more launch, with all machines and no fault, must find or train everything."""
        self._launch()
        while not self._ended():
            if time.monotonic() - self.begun > self.limits.seconds:
                self.say("gave up: the launch without faults does not end")
                return False
            time.sleep(TICK_SECONDS)
        return self._status == 0

    def stop(self) -> None:
        """End what runs and undo what lasts."""
        if self.driver is not None:
            kill(self.driver.pid)
            self.driver.wait()
        for _, _, heal in self.healings:
            with contextlib.suppress(Exception):
                heal()

    # Faults

    def _hit(self, fault: str) -> bool:
        """Whether there was something to hit."""
        if fault in self.place.outages:
            happened = self._begin_outage(fault)
        else:
            happened = getattr(self, f"_{fault}")()
        if happened:
            self.faults[fault] += 1
            self.say(f"fault {sum(self.faults.values())}: {fault}")
        return bool(happened)

    def _begin_outage(self, name: str) -> bool:
        if any(of == name or of in self.place.outages for _, of, _ in self.healings):
            return False
        self._later(name, self.place.outages[name]())
        return True

    def _later(self, name: str, heal: Callable[[], None]) -> None:
        self.healings.append((time.monotonic() + self.choices.uniform(*OUTAGE_SECONDS), name, heal))

    def _heal(self, now: float) -> None:
        over = [one for one in self.healings if one[0] <= now]
        self.healings = [one for one in self.healings if one[0] > now]
        for _, name, heal in over:
            heal()
            self.say(f"{name} is over")

    def _driver_killed(self) -> bool:
        if self.driver is None or self.driver.poll() is not None:
            return False
        self.driver.kill()
        return True

    def _worker_killed(self) -> bool:
        trials = self.machines.trials()
        if trials:
            kill(self.choices.choice(trials))
        return bool(trials)

    def _node_killed(self) -> bool:
        if self.machines.count < NODES:
            return False
        self.machines.remove(self.choices.randrange(NODES))
        self._later("node_killed", self.machines.add)
        return True

    def _stage_truncated(self) -> bool:
        intact = self.watcher.intact
        if not intact:
            return False
        key = intact[-1]
        assert self.place.folder is not None
        files = sorted(_visible(self.place.folder / "stages" / key))
        victim = self.choices.choice(files)
        self.watcher.destroy(key, lambda: self._truncate(victim))
        return True

    def _checkpoint_truncated(self) -> bool:
        return self._newest_truncated("checkpoints")

    def _note_truncated(self) -> bool:
        return self._newest_truncated(self.choices.choice(["leases", "events", "corpora"]))

    def _newest_truncated(self, folder: str) -> bool:
        assert self.place.folder is not None
        with contextlib.suppress(OSError, ValueError):  # it may have gone meanwhile
            self._truncate(max(_visible(self.place.folder / folder), key=lambda path: path.stat().st_mtime))
            return True
        return False

    def _truncate(self, path: Path) -> None:
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            file.truncate(self.choices.randrange(size) if size else 0)
        self.say(f"truncated {path.parent.name}/{path.name}")


def _visible(folder: Path) -> list[Path]:
    """The files below a folder, without those that are being written."""
    return [path for path in folder.rglob("[!.]*") if path.is_file()]


def dealt(kinds: Sequence[str], faults: int, seed: int) -> list[str]:
    """Faults to come, like cards: all kinds equally often."""
    cards = random.Random(seed)
    found: list[str] = []
    while len(found) < faults:
        found += cards.sample(kinds, len(kinds))
    return found[:faults]


def write_grid(path: Path, seeds: int, small: bool) -> None:
    """A grid in which chains share stages and wait for one another, of trainings that take some seconds each."""
    epochs = 24 if small else 36
    fields: dict[str, Any] = {
        "corpora": ["synthetic"],
        "backbones": ["tiny"],
        "rules": ["bdsl"] if small else ["none", "bdsl", {"wdsl": [0.2]}, "gsl"],
        "label_sources": ["in_fold", "global_oof"],
        "iterations": 1 if small else 2,
        "folds": 2,
        "seeds": list(range(seeds)),
        "training": {"epochs": epochs, "every": 4, "patience": epochs},
        "resources": {"cpu": 1, "gpu": 0.5, "checkpoint_seconds": 0},
    }
    path.write_text(json.dumps(fields))
