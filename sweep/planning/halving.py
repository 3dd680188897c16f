"""Successive halving with folds as the resource (Jamieson & Talwalkar 2016; Li et al. 2018, Algorithm 1).

A candidate is a chain of all folds and training seeds. Those of one corpus, split and labels compete. All of them are
trained on the first folds of a rung. When all of these have been trained, or have failed, the best 1/η of them go on to
the next rung, which has η times the folds, and the last has all. What is best is told by the mean validation WA of the
chains' last stages, never by test utterances.

The decisions are a function of what the store holds, and of no order: of a rung that is not complete, none is taken.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

from sweep.planning.grid_fields import Halving
from sweep.planning.in_view import InView
from sweep.planning.stages import ChainSpec, Plan, StageSpec, distinct

Validation = Callable[[str], float | None]  # key of a finished stage -> its validation WA; None where it has none


@dataclass(frozen=True, eq=False)
class Stopped:
    """A candidate that trains no more, by all its `chains`, after so many `folds` of all. `wa` is its mean validation
    WA on them, in percent; None where one of its chains failed, or was not validated."""

    chains: tuple[ChainSpec, ...]
    folds: int
    wa: float | None
    failed: bool

    @property
    def last(self) -> StageSpec:
        """The last stage of one of its chains."""
        return self.chains[0].last

    def label_in(self, view: InView) -> str:
        """`emodb densenet22 bdsl (learning_rate 0.01) t=1`, with what tells it from others in view."""
        return f"{view.corpus(self.last)} {view.network(self.last)} t={self.last.iteration}"

    @property
    def words(self) -> str:
        """`stopped after 1 of 10 folds by halving (validation WA 61.20)`, for people."""
        why = "failed" if self.failed else "no validation WA" if self.wa is None else f"validation WA {self.wa:.2f}"
        return f"{stopped_words(self.folds, self.last.folds)} ({why})"


@dataclass(frozen=True)
class Halved:
    """What halving comes to so far.

    `chains` are those of the rungs that are complete and of those under way, in the grid's order: what was to be
    trained until now. `at_most` are those with the most trainings that it can still come to.
    """

    chains: tuple[ChainSpec, ...]
    stopped: tuple[Stopped, ...]
    at_most: tuple[ChainSpec, ...]

    def marks(self, plan: Plan) -> dict[str, str]:
        """Cell of `plan` -> what to say of it, where all candidates stopped that have it."""
        over = {chain.last.key for one in self.stopped for chain in one.chains}
        left = [chain for chain in self.chains if chain.last.key not in over]
        going_on = {plan.cell_of(stage) for chain in left for stage in chain.stages}
        found: dict[str, str] = {}
        for one in sorted(self.stopped, key=lambda one: one.folds):
            for stage in one.chains[0].stages:
                found[plan.cell_of(stage)] = stopped_words(one.folds, stage.folds)
        found |= {plan.cell_of(one.last): one.words for one in self.stopped}
        return {cell: words for cell, words in found.items() if cell not in going_on}


def stopped_words(folds: int, of: int) -> str:
    """`stopped after 1 of 10 folds by halving`."""
    return f"stopped after {folds} of {of} folds by halving"


def rungs_of(halving: Halving, folds: int) -> list[int]:
    """The folds of each rung: `[1, 3, 9, 10]` for ten folds, with one at first and a reduction factor of 3."""
    found = [halving.first_folds]
    while found[-1] * halving.reduction_factor < folds:
        found.append(found[-1] * halving.reduction_factor)
    return [*found, folds]


def halve(
    plan: Plan, validation: Validation, failed: Collection[str], halving: Halving, names: Mapping[str, str]
) -> Halved:
    """The decisions on the chains of `plan`, by the validation WA of what it has done.

    `failed` are keys of stages that are not to be tried again. `names` maps a prepared corpus to what the grid calls
    it: preparations of one name compete.
    """
    groups: dict[tuple[str, str, str], list[ChainSpec]] = defaultdict(list)
    for chain in plan.chains:
        last = chain.last
        groups[names[last.corpus], last.split_name, last.labels].append(chain)
    not_again = frozenset(failed)
    found = [_Group(chains, halving, plan.done, validation, not_again).halved for chains in groups.values()]
    place = {chain.last.key: number for number, chain in enumerate(plan.chains)}

    def in_order(chains: Iterable[ChainSpec]) -> tuple[ChainSpec, ...]:
        return tuple(sorted(distinct(chains), key=lambda chain: place[chain.last.key]))

    return Halved(
        in_order(chain for one in found for chain in one.chains),
        tuple(stopped for one in found for stopped in one.stopped),
        in_order(chain for one in found for chain in one.at_most),
    )


def _on(folds: int, *candidates: Iterable[ChainSpec]) -> list[ChainSpec]:
    """The chains of candidates on the first `folds`."""
    return [chain for chains in candidates for chain in chains if chain.last.fold < folds]


@dataclass(frozen=True)
class _Group:
    """Chains whose candidates compete, and what became of stages."""

    chains: Sequence[ChainSpec]
    halving: Halving
    done: Collection[str]
    validation: Validation
    failed: frozenset[str]

    @property
    def halved(self) -> Halved:
        """The decisions, from rung to rung as far as these are complete."""
        candidates: dict[Hashable, list[ChainSpec]] = defaultdict(list)
        for chain in self.chains:
            candidates[replace(chain.last, fold=0, seed=0)].append(chain)
        left, stopped, chains = list(map(tuple, candidates.values())), list[Stopped](), list[ChainSpec]()
        rungs = rungs_of(self.halving, self.chains[0].last.folds)
        for number, folds in enumerate(rungs):
            if len(left) == 1:  # nobody is left to compete with
                folds = rungs[-1]
            asked = _on(folds, *left)
            chains += asked
            if folds == rungs[-1] or not all(map(self._is_over, asked)):
                return Halved(tuple(chains), tuple(stopped), (*chains, *self._rest(left, rungs[number:])))
            reached = [self._stopped(one, folds) for one in left]
            sound = [one for one in reached if not one.failed]
            best = sorted(sound, key=lambda one: math.inf if one.wa is None else -one.wa)  # of equals the first
            kept = set(best[: self._count(len(left))])
            stopped += [one for one in reached if one not in kept]
            left = [one.chains for one in reached if one in kept]
            if not left:
                break
        return Halved(tuple(chains), tuple(stopped), tuple(chains))

    def _has_failed(self, chain: ChainSpec) -> bool:
        return any(stage.key in self.failed and stage.key not in self.done for stage in chain.stages)

    def _is_over(self, chain: ChainSpec) -> bool:
        return self._has_failed(chain) or all(stage.key in self.done for stage in chain.stages)

    def _stopped(self, chains: tuple[ChainSpec, ...], folds: int) -> Stopped:
        """A candidate's outcome on so many folds, as of one that stops there."""
        own = _on(folds, chains)
        failed = any(map(self._has_failed, own))
        values = [None if failed else self.validation(chain.last.key) for chain in own]
        known = [value for value in values if value is not None and not math.isnan(value)]
        return Stopped(chains, folds, 100 * fmean(known) if len(known) == len(values) else None, failed)

    def _count(self, of: int) -> int:
        return max(1, of // self.halving.reduction_factor)

    def _rest(self, left: Sequence[tuple[ChainSpec, ...]], rungs: Sequence[int]) -> list[ChainSpec]:
        """The chains of the rungs after the first of `rungs`, if those go on that take the most trainings.

        Candidates are taken one after the other by the stages that they add: as chains share how they begin, no other
        choice of as many comes to more.
        """
        keys = [{stage.key for chain in _on(1, one) for stage in chain.stages} for one in left]
        ordered: list[tuple[ChainSpec, ...]] = []
        there: set[str] = set()
        heap = [(-len(own), place) for place, own in enumerate(keys)]
        heapq.heapify(heap)
        while heap:
            _, place = heapq.heappop(heap)
            adds = len(keys[place] - there)
            if heap and -adds > heap[0][0]:  # less than another may add, now that some of it is there
                heapq.heappush(heap, (-adds, place))
                continue
            ordered.append(left[place])
            there |= keys[place]
        found: list[ChainSpec] = []
        count = len(left)
        for folds in rungs[1:]:
            count = self._count(count)
            found += _on(rungs[-1] if count == 1 else folds, *ordered[:count])
        return found


def validation_of(read_stage: Callable[[str], Mapping[str, Any] | None]) -> Validation:
    """The validation WA that a stage.json tells; each is read once."""

    @cache
    def validation(key: str) -> float | None:
        value = (read_stage(key) or {}).get("metrics", {}).get("validation_wa")
        return None if value is None else float(value)

    return validation
