"""Which chain may start next, and how far it may go: it computes nothing that a running trial is computing.

So a stage that several chains share is trained once, by the first of them, and the others find it in the store. A trial
is only issued when it can run: none waits for another while it holds resources. Under `global_oof`, where an iteration
needs the one before of every fold, a chain is issued for the part whose inputs are there, and later again for the rest.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from sweep.planning.stages import Bundle
from sweep.running.task import Task


class ChainQueue:
    """Bundles of chains that wait, in launch order, and what the running ones are computing.

    `numbers` are those of `bundles` that are to be run; `done` are the keys of stages that are in the store, and
    `failed` of those that cannot be trained. `claim` takes keys for this launch and returns those that another launch
    has (`Lease.claim`); `release` gives them back. What issuing a task costs does not grow with the number of bundles:
    each waits for one key at a time.
    """

    def __init__(
        self,
        bundles: Sequence[Bundle],
        numbers: Iterable[int],
        done: Iterable[str],
        claim: Callable[[set[str]], set[str]] = lambda keys: set(),
        release: Callable[[set[str]], None] = lambda keys: None,
        failed: Iterable[str] = (),
    ) -> None:
        self._done = set(done)
        self._failed = set(failed)
        self._claim = claim
        self._release = release
        listed = list(numbers)
        self._place = {number: place for place, number in enumerate(listed)}
        self._bundles = bundles
        self._keys = {n: [stage.key for stage in bundles[n].stages] for n in listed}
        self._foreign = {
            n: [[needed.key for needed in stage.foreign_inputs] for stage in bundles[n].stages] for n in listed
        }
        self.blocked: dict[int, str] = {}  # bundle -> the key it needs of a stage that failed
        self._ready = [(place, number) for number, place in self._place.items()]  # a heap
        self._waiting_for: dict[str, list[int]] = defaultdict(list)  # key -> those that wait until it is done or let go
        self._elsewhere: dict[int, set[str]] = {}  # bundle -> keys it needs and another launch computes
        self._running: dict[str, tuple[Task, set[str]]] = {}  # trial -> what it does, and the keys it is to compute
        self._busy: set[str] = set()

    @property
    def waiting(self) -> list[int]:
        """Bundles that are neither running nor over, in order."""
        found = {number for _, number in self._ready} | self._elsewhere.keys()
        found.update(number for numbers in self._waiting_for.values() for number in numbers)
        return sorted((n for n in found if not self._is_done(n)), key=self._place.__getitem__)

    @property
    def running(self) -> dict[str, int]:
        """The trials that are running, and the number of what each does."""
        return {trial: task.number for trial, (task, _) in self._running.items()}

    @property
    def ready(self) -> bool:
        """Whether a bundle may be there that can be issued."""
        return bool(self._ready)

    @property
    def elsewhere(self) -> set[str]:
        """Keys that bundles wait for and other launches compute."""
        return set().union(*self._elsewhere.values())

    def issue(self, trial: str, may: Callable[[set[str]], bool] = lambda keys: True) -> Task | None:
        """The next thing to do, as `trial`; None while every bundle waits for a stage that is not done, or where `may`
        does not allow the keys that the next one computes: it stays the next."""
        while self._ready:
            _, number = heapq.heappop(self._ready)
            stages, missing_input = self._within_reach(number)
            computing = set(self._keys[number][:stages]) - self._done
            if not computing:
                if missing_input in self._failed and missing_input in self._keys[number]:
                    self.blocked[number] = missing_input
                elif missing_input is not None:
                    self._waiting_for[missing_input].append(number)
                continue
            busy = computing & self._busy
            if busy:
                self._waiting_for[min(busy)].append(number)
                continue
            if not may(computing):
                self._put_back(number)
                return None
            taken = self._claim(computing)
            if taken:
                self._elsewhere[number] = taken
                continue
            self._busy |= computing
            self._running[trial] = Task(number, self._bundles[number], stages), computing
            return self._running[trial][0]
        return None

    def stage_done(self, key: str) -> None:
        """A stage is in the store: bundles that waited for it may start."""
        self._done.add(key)
        self._busy.discard(key)
        self._wake([key])
        for number, taken in list(self._elsewhere.items()):
            taken.discard(key)
            if not taken:
                del self._elsewhere[number]
                self._put_back(number)

    def stage_failed(self, key: str) -> None:
        """A stage cannot be trained: bundles that are issued from now on end before it. Several chains side by side are
        tried all the same, for the sake of those that do without it."""
        self._failed.add(key)

    def look_elsewhere(self) -> None:
        """Try the bundles again that other launches held up."""
        waiting, self._elsewhere = list(self._elsewhere), {}
        for number in waiting:
            self._put_back(number)

    def ended(self, trial: str, again: bool = False) -> None:
        """A trial is over. A bundle that did its part waits for the rest, and one that is to be tried `again` for
        another trial; what a failed one left is another's to do."""
        task, computing = self._running.pop(trial, (None, set()))
        if task is None:
            return
        self._busy -= computing
        self._release(computing)
        if not self._is_done(task.number) and (again or computing <= self._done):
            self._put_back(task.number)
        self._wake(computing)

    def _put_back(self, number: int) -> None:
        """Have a bundle ready to be issued, in its place."""
        heapq.heappush(self._ready, (self._place[number], number))

    def _wake(self, keys: Iterable[str]) -> None:
        for key in keys:
            for number in self._waiting_for.pop(key, ()):
                self._put_back(number)

    def _is_done(self, number: int) -> bool:
        return self._done.issuperset(self._keys[number])

    def _within_reach(self, number: int) -> tuple[int, str | None]:
        """How many of a bundle's stages can be had without anything that other folds have not done, and the first
        thing that keeps the next one from it."""
        for place, (own, needed) in enumerate(zip(self._keys[number], self._foreign[number], strict=True)):
            for key in needed:
                if key not in self._done:
                    return place, key
            if own in self._failed and own not in self._done and len(self._bundles[number].chains) == 1:
                return place, own
        return len(self._keys[number]), None
