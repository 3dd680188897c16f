"""A world of its own: one thread, a clock that stands still while anything happens, machines, and processes on them.

What a process does is a greenlet. It runs until it waits, for the storage or for time to pass, and the world goes on
with whoever is to be woken next. How long the storage takes comes from the seed, and so does every interleaving.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from sweep.machine import Machine

BEGINNING = 1_800_000_000.0  # seconds since 1970


class Killed(BaseException):
    """Ends what a killed process was doing; nothing that it still tries has any effect."""


class Violation(Exception):  # noqa: N818
    """Something that is promised did not hold."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name


class World:
    """The clock and whoever waits. `note` writes the history, if it is `told`."""

    def __init__(self, random: Random, told: bool = True) -> None:
        self.now = BEGINNING
        self._told = told
        self.random = random
        self.steps = 0
        self.violation: Violation | None = None
        self._waiting: list[tuple[float, int, Task]] = []
        self._numbers = 0
        self._until = BEGINNING
        self._notes: list[tuple[float, str, tuple[str, ...]]] = []

    def note(self, who: str, *what: str) -> None:
        if self._told:
            self._notes.append((self.now, who, what))

    @property
    def history(self) -> list[str]:
        return [f"{now - BEGINNING:9.3f}  {who:14} {' '.join(what)}" for now, who, what in self._notes]

    def violated(self, name: str, what: str) -> None:
        """Note that a promise was broken; the first one ends the world."""
        if self.violation is None:
            self.violation = Violation(name, what)
            self.note("!", str(self.violation))

    def wake(self, task: "Task", seconds: float = 0.0) -> None:
        self._numbers += 1
        heapq.heappush(self._waiting, (self.now + seconds, self._numbers, task))

    def passes(self, process: "Process", seconds: float) -> bool:
        """Let so long go by where nobody else is to be woken before; whether that was so."""
        at = self.now + seconds
        if (
            (self._waiting and self._waiting[0][0] <= at)
            or at > self._until
            or process.paused_until > at
            or self.violation is not None
        ):
            return False
        self.now = at
        self.steps += 1
        return True

    def run(self, until: float) -> None:
        """Go on until nobody waits any more, or a promise is broken; that it lasts for so long is a broken one."""
        me = getcurrent()
        self._until = until
        while self._waiting and self.violation is None:
            at, _, task = heapq.heappop(self._waiting)
            process = task.process
            if not process.alive:
                continue
            if process.paused_until > at:
                self.wake(task, process.paused_until - self.now)
                continue
            if at > until:
                return self.violated("liveness", f"{process.name} goes on and on")
            self.now = max(self.now, at)
            self.steps += 1
            task.parent = me
            task.switch()
        return None


class Process:
    """A process on a machine: it can be paused and killed at any of its steps."""

    def __init__(self, world: World, name: str, host: "Host") -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.paused_until = 0.0
        self.errors = 0  # of the storage, that it met
        self.pid = host.add(self)
        self.host = host
        self.machine = SimulatedMachine(self)
        self._tasks: list[Task] = []

    def start(self, function: Callable[[], None]) -> "Task":
        task = Task(self, function)
        self._tasks.append(task)
        self.world.wake(task)
        return task

    def kill(self) -> None:
        """To be called from outside the process."""
        self.alive = False
        for task in self._tasks:
            if task and not task.dead:
                task.parent = getcurrent()
                task.throw(Killed)
        self._tasks.clear()

    def sleep(self, seconds: float) -> None:
        """Let the world go on for so long."""
        if not self.alive:
            raise Killed
        if not self.world.passes(self, seconds):
            task = this_task()
            self.world.wake(task, seconds)
            leave(task)

    def wait(self) -> None:
        """Let the world go on until somebody wakes the task that calls."""
        if not self.alive:
            raise Killed
        leave(getcurrent())


def this_task() -> "Task":
    """The task that calls."""
    task = getcurrent()
    assert isinstance(task, Task)
    return task


def leave(task: greenlet) -> None:
    """Let the one go on that began `task`."""
    assert task.parent is not None
    task.parent.switch()


class Task(greenlet):
    """One of the things that a process does at the same time."""

    def __init__(self, process: Process, function: Callable[[], None]) -> None:
        super().__init__()
        self.process = process
        self._function = function

    def run(self) -> None:
        try:
            self._function()
        except Killed:
            return


class Host:
    """A machine that processes run on, with a clock that may be wrong."""

    def __init__(self, name: str, skew: float = 0.0) -> None:
        self.name = name
        self.skew = skew
        self.processes: list[Process] = []

    def add(self, process: Process) -> int:
        self.processes.append(process)
        return len(self.processes) - 1


class SimulatedMachine(Machine):
    """The machine as one of its processes sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    def now(self) -> float:
        return self._world.now + self._process.host.skew

    def monotonic(self) -> float:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        self._process.sleep(seconds)

    def lock(self) -> "Lock":
        return Lock(self._process)

    def repeat(self, seconds: float, beat: Callable[[], None]) -> Callable[[], None]:
        over = False

        def run() -> None:
            while not over:
                self._process.sleep(seconds)
                if not over:
                    beat()

        def stop() -> None:
            nonlocal over
            over = True

        self._process.start(run)
        return stop

    def process(self) -> dict[str, Any]:
        host = self._process.host
        return {"host": host.name, "pid": self._process.pid, "started": "1", "machine": [host.name]}

    def has_ended(self, process: Mapping[str, Any]) -> bool:
        host = self._process.host
        return process.get("machine") == [host.name] and not host.processes[process["pid"]].alive


class Lock(AbstractContextManager[None]):
    """A lock between the tasks of a process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._held = False
        self._waiting: deque[Task] = deque()

    def __enter__(self) -> None:
        while self._held:
            self._waiting.append(this_task())
            self._process.wait()
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        if self._waiting:
            self._process.world.wake(self._waiting.popleft())
