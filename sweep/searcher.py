"""Which chain may start next: none that needs a stage which a running trial is computing.

So a stage that several chains share is trained once, by the first of them, and the others find it in the store. A trial
is only issued when it can run: none waits for another while it holds resources.
"""

from collections.abc import Iterable, Sequence

from sweep.stages import ChainSpec


class ChainQueue:
    """Chains that wait, in launch order, and what the running ones are computing.

    `done` are the keys of stages that are in the store.
    """

    def __init__(self, chains: Sequence[ChainSpec], numbers: Iterable[int], done: Iterable[str]) -> None:
        done = set(done)
        self._missing = {n: {stage.key for stage in chains[n].stages} - done for n in numbers}
        self._waiting = list(self._missing)
        self._running: dict[str, int] = {}  # trial -> number of its chain

    def __len__(self) -> int:
        """Chains that have not been issued."""
        return len(self._waiting)

    def issue(self, trial: str) -> int | None:
        """The number of the next chain, to run as `trial`; None while each needs a stage that is being computed."""
        busy: set[str] = set().union(*(self._missing[number] for number in self._running.values()))
        for place, number in enumerate(self._waiting):
            if busy.isdisjoint(self._missing[number]):
                self._running[trial] = self._waiting.pop(place)
                return number
        return None

    def stage_done(self, key: str) -> None:
        """A stage is in the store: chains that waited for it may start."""
        for missing in self._missing.values():
            missing.discard(key)

    def ended(self, trial: str) -> None:
        """A trial is over, finished or failed: what it did not finish is another's to compute."""
        self._running.pop(trial, None)
