"""Which chain may start next, and how far it may go: it computes nothing that a running trial is computing.

So a stage that several chains share is trained once, by the first of them, and the others find it in the store. A trial
is only issued when it can run: none waits for another while it holds resources. Under `global_oof`, where an iteration
needs the one before of every fold, a chain is issued for the part whose inputs are there, and later again for the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweep.stages import ChainSpec


@dataclass(frozen=True)
class Issue:
    """What a trial is to do: the first `stages` stages of chain `number`; those that are done are not done again."""

    number: int
    stages: int


class ChainQueue:
    """Chains that wait, in launch order, and what the running ones are computing.

    `numbers` are those of `chains` that are to be run; `done` are the keys of stages that are in the store.
    """

    def __init__(self, chains: Sequence[ChainSpec], numbers: Iterable[int], done: Iterable[str]) -> None:
        self._done = set(done)
        self._waiting = list(numbers)
        self._keys = {n: [stage.key for stage in chains[n].stages] for n in self._waiting}
        self._foreign = {
            n: [[needed.key for needed in chains[n].foreign_inputs(stage)] for stage in chains[n].stages]
            for n in self._waiting
        }
        self._running: dict[str, tuple[Issue, set[str]]] = {}  # trial -> what it does, and the keys it is to compute

    @property
    def waiting(self) -> list[int]:
        """Chains that are neither running nor over."""
        return [n for n in self._waiting if not self._done.issuperset(self._keys[n])]

    @property
    def running(self) -> bool:
        """Whether a trial is running."""
        return bool(self._running)

    def first_missing(self, number: int) -> str:
        """The key of the first stage of a chain that is not done."""
        return next(key for key in self._keys[number] if key not in self._done)

    def issue(self, trial: str) -> Issue | None:
        """The next thing to do, as `trial`; None while every chain waits for a stage that is not done."""
        self._waiting = self.waiting
        busy: set[str] = set().union(*(computing for _, computing in self._running.values())) - self._done
        for place, number in enumerate(self._waiting):
            stages = self._stages_within_reach(number)
            computing = set(self._keys[number][:stages]) - self._done
            if computing and busy.isdisjoint(computing):
                del self._waiting[place]
                self._running[trial] = Issue(number, stages), computing
                return self._running[trial][0]
        return None

    def stage_done(self, key: str) -> None:
        """A stage is in the store: chains that waited for it may start."""
        self._done.add(key)

    def ended(self, trial: str) -> None:
        """A trial is over. A chain that did its part waits for the rest; what a failed one left is another's to do."""
        issue, computing = self._running.pop(trial, (None, set()))
        if issue is not None and computing <= self._done and not self._done.issuperset(self._keys[issue.number]):
            self._waiting.append(issue.number)

    def _stages_within_reach(self, number: int) -> int:
        """How many of a chain's stages can be had without anything that other folds have not done."""
        foreign = self._foreign[number]
        return next((place for place, needed in enumerate(foreign) if not self._done.issuperset(needed)), len(foreign))
