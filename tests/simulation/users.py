"""Who uses the store: launches with their trials, and upkeep. All is the product's code but for Ray and training."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sweep.machine import Machine
from sweep.planning.grid import GridSpec
from sweep.planning.grid_fields import Resources
from sweep.planning.stages import ChainSpec, Plan, bundled
from sweep.running.display import NoDisplay
from sweep.running.journal import Journal
from sweep.running.launch import check_plan_holds
from sweep.running.rounds import run_rounds
from sweep.running.tally import Tally
from sweep.running.task import Task
from sweep.running.tracking import Trackers
from sweep.running.trial import errors_told
from sweep.running.trials import Trials, Work
from sweep.storage.lease import Lease, LeaseCheck
from sweep.storage.store import Store, StoreError
from sweep.storage.upkeep import delete_garbage, find_garbage, repair, verify
from tests.simulation.judge import Judge, Running, Training
from tests.simulation.stages import CORPUS, keys_of, train
from tests.simulation.storage import SimulatedFolder, Storage
from tests.simulation.world import Host, Process, World

POLL_SECONDS = 2.0
SHARE = {"cpu": 1.0, "gpu": 0.0}


class Log:
    """Notes a launch's events in the history."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def write(self, event: str, **facts: Any) -> None:
        if event not in ("epoch", "ended"):
            said = " ".join(str(facts[name]) for name in ("trial", "key", "launch", "cause") if name in facts)
            self._process.world.note(self._process.name, f"  says: {event} {said}")


@dataclass
class Worker:
    """The process of a trial."""

    process: Process
    task: Task
    tries: int = 0
    ended: bool = False
    died: bool = False
    said: deque[dict[str, Any]] = field(default_factory=deque)

    @property
    def number(self) -> int:
        return self.task.number


@dataclass
class User:
    """Somebody who launches a grid again and again until it is trained."""

    world: World
    storage: Storage
    judge: Judge
    host: Host
    name: str
    grid: tuple[ChainSpec, ...]
    slots: int
    fuse: int = 1
    launches: int = 0
    driver: Process | None = None
    workers: dict[str, Worker] = field(default_factory=dict)
    done: bool = False

    @property
    def busy(self) -> bool:
        return self.driver is not None and self.driver.alive

    def launch(self) -> None:
        """Start a launch, if none goes on."""
        if self.busy:
            return
        self.launches += 1
        self.workers = {}
        process = self.driver = Process(self.world, f"{self.name}.{self.launches}", self.host)
        process.start(lambda: self._run(process))

    def _run(self, process: Process) -> None:
        running = Running(process, process.name, frozenset(keys_of(self.grid)), lease=process.name)
        try:
            succeeded = self._command(process, running)
        except (OSError, StoreError) as error:
            self.world.note(process.name, f"  ends: {error}")
            succeeded = False
        self.world.note(process.name, f"  ends: {'done' if succeeded else 'failed'}")
        self.judge.ended(running, succeeded)
        self.done = succeeded
        process.alive = False  # with its threads

    def _command(self, process: Process, running: Running) -> bool:
        """`ser-sweep run`."""
        store = Store(SimulatedFolder(self.storage, process))
        plan = self._plan(store)
        plan = plan.without(store.damaged(sorted(plan.done)))
        store.discard_leftovers(plan.done)
        store.create()
        bundles = bundled(plan.unfinished, self.fuse)
        if bundles:
            store.check_writable()
            self._train(process, running, store, plan, bundles)
        return self._plan(store).done == running.needs

    def _plan(self, store: Store) -> Plan:
        return Plan.of(self.grid, store.done_keys(), store.failures())

    def _train(self, process: Process, running: Running, store: Store, plan: Plan, bundles: list[Any]) -> None:
        log, machine = Log(process), process.machine
        grid = GridSpec(resources=Resources(checkpoint_seconds=0))
        lease = Watched(running, self.judge, store.folder, process.name, ahead=plan.to_train, machine=machine)
        with lease, self.judge.needing(running):
            check_plan_holds(plan, store, lease)
            tally = Tally(plan, concurrent=self.slots)
            events: Any = log
            journal = Journal(events, tally, NoDisplay(), Trackers([]))
            trials = Trials(Work(grid, plan, bundles, store, SHARE), lease, journal, machine)
            run_rounds(trials, lambda: self._experiment(process, running, trials))
            trials.close()

    def _experiment(self, process: Process, running: Running, trials: Trials) -> None:
        """What Tune does with a launch: trials, each in a process, tried again when it dies."""
        number = 0
        while True:
            task = None
            while len(self.workers) < self.slots:
                number += 1
                task = trials.issue(f"t{number}")
                if task is None:
                    break
                self.workers[f"t{number}"] = self._start(running, task, 0)
            if task is None and not self.workers and trials.over:
                return
            process.sleep(POLL_SECONDS)
            for trial, worker in list(self.workers.items()):
                self._hear(trials, running, trial, worker)

    def _hear(self, trials: Trials, running: Running, trial: str, worker: Worker) -> None:
        while worker.said:
            for event in worker.said.popleft()["events"]:
                trials.on_event(trial, worker.number, event)
        if worker.ended:
            del self.workers[trial]
            trials.completed(worker.number)
            trials.ended(trial)
        elif worker.died or not worker.process.alive:
            del self.workers[trial]
            if worker.tries < trials.resources.max_failures:
                self.workers[trial] = self._start(running, worker.task, worker.tries + 1)
            else:
                trials.fail(worker.number, "its process died")
                trials.ended(trial)

    def _start(self, running: Running, task: Task, tries: int) -> Worker:
        process = Process(self.world, f"{running.name}/{task.number}", self.host)
        worker = Worker(process, task, tries)

        def work() -> None:
            try:
                store = Store(SimulatedFolder(self.storage, process))
                with errors_told(task, worker.said.append):
                    check = LeaseCheck(store.folder, task.lease, process.machine)
                    train(task, store, worker.said.append, check, process, training, self.judge.saved.add)
                worker.ended = True
            except (OSError, MemoryError, RuntimeError, StoreError) as error:
                self.world.note(process.name, f"  dies: {error}")
                worker.died = True

        def training(key: str, begins: bool) -> None:
            self.world.note(process.name, f"  {'trains' if begins else 'is done with'} {key}")
            self.judge.training(key, Training(running, process, task.lease), begins)

        process.start(work)
        return worker


class Watched(Lease):
    """A lease whose claims the judge hears of."""

    def __init__(self, running: Running, judge: Judge, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._running = running
        self._judge = judge

    def claim(self, keys: Any) -> set[str]:
        errors = self._running.process.errors
        wanted = set(keys)
        taken = super().claim(wanted)
        if not taken:
            self._judge.claimed(self._running, wanted, answered=errors == self._running.process.errors)
        return taken


def collect(store: Store, machine: Machine, grids: list[tuple[ChainSpec, ...]]) -> None:
    """`ser-sweep store gc --delete`."""
    needed = {key: stage for grid in grids for key, stage in keys_of(grid).items()}
    garbage = find_garbage(store, needed, (), {CORPUS.name})
    delete_garbage(store, garbage, machine=machine)


def look_after(store: Store, machine: Machine) -> None:
    """`ser-sweep store verify --repair`."""
    repair(store, verify(store), machine)


Upkeep = Callable[[Store, Machine], None]


def upkeep(world: World, storage: Storage, judge: Judge, host: Host, name: str, work: Upkeep) -> None:
    """A process that looks after the store once."""
    process = Process(world, name, host)
    judge.upkeep.add(name)

    def run() -> None:
        try:
            work(Store(SimulatedFolder(storage, process)), process.machine)
        except (OSError, StoreError) as error:
            world.note(name, f"  ends: {error}")

    process.start(run)
