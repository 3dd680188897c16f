"""What there is to train: chains, their stages, and the plan that says which of them are missing.

A stage is one training: iteration t of a chain. Its key is the hash of everything that changes what it learns and
of nothing else, so that chains, grids and launches that need the same training find one another's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from data_prep.files import canonical_hash
from dsl.labels import ALIASES, BASELINE, RULES, LabelUpdate
from dsl.settings import TrainingSettings

METHOD_VERSION = 1  # raise when the code changes what a stage with the same settings learns
KEY_LENGTH = 20


@dataclass(frozen=True)
class StageSpec:
    """One training. `corpus` is a prepared corpus's full name; `updates` has one entry for each iteration after 0."""

    corpus: str
    backbone: str
    split: str
    folds: int
    fold: int
    seed: int
    label_source: str | None
    updates: tuple[LabelUpdate, ...]
    training: TrainingSettings

    @property
    def iteration(self) -> int:
        return len(self.updates)

    @property
    def rule(self) -> str:
        return self.updates[-1].rule if self.updates else BASELINE

    @property
    def alpha(self) -> float | None:
        return self.updates[-1].alpha if self.updates else None

    @cached_property
    def identity(self) -> dict[str, Any]:
        return {"method": METHOD_VERSION, **asdict(self)}

    @cached_property
    def key(self) -> str:
        return canonical_hash(self.identity, KEY_LENGTH)

    def at(self, iteration: int) -> "StageSpec":
        """The stage of the same chain at an earlier iteration; iteration 0 knows no rule and no label source."""
        updates = self.updates[:iteration]
        return replace(self, updates=updates, label_source=self.label_source if updates else None)


@dataclass(frozen=True)
class ChainSpec:
    """A fold's sequence of trainings (Algorithm 1), known by its last stage: one Ray Tune trial."""

    last: StageSpec

    @cached_property
    def stages(self) -> tuple[StageSpec, ...]:
        return tuple(self.last.at(iteration) for iteration in range(self.last.iteration + 1))

    @property
    def rule(self) -> str:
        return self.last.rule

    @property
    def alpha(self) -> float | None:
        return self.last.alpha

    @property
    def label(self) -> str:
        """For people: `emodb densenet22 wdsl 0.2 fold 3 seed 0`."""
        rule = self.rule if self.alpha is None else f"{self.rule} {self.alpha:g}"
        corpus = self.last.corpus.rpartition("-")[0]
        return f"{corpus} {self.last.backbone} {rule} fold {self.last.fold} seed {self.last.seed}"


def canonical_updates(rule: str, alpha: float | None, iterations: int) -> tuple[LabelUpdate, ...]:
    """The label updates of a chain, the same for every way of writing it.

    `none` has no iterations; wdsl with alpha 0 is bdsl; a rule that takes no alpha carries none.
    """
    rule = ALIASES.get(rule, rule)
    if rule == BASELINE:
        return ()
    if rule == "wdsl" and alpha == 0:
        rule = "bdsl"
    update = LabelUpdate(rule, alpha if RULES[rule].takes_alpha else None)
    return (update,) * iterations


def distinct(chains: Iterable[ChainSpec]) -> list[ChainSpec]:
    """Each chain once, in the order in which they first appear."""
    return list({chain.last.key: chain for chain in chains}.values())


def launch_order(chains: Sequence[ChainSpec]) -> list[ChainSpec]:
    """Chains that own a stage before those that share it.

    The first chain that needs a given iteration 0 owns it. All owners come first, then every second chain of the
    same iteration 0, and so on: by the time a sharing chain starts, its owner is long done.
    """
    seen: dict[str, int] = {}
    ranked = []
    for position, chain in enumerate(sorted(chains, key=lambda chain: chain.last.iteration > 0)):
        rank = seen.setdefault(chain.stages[0].key, 0)
        seen[chain.stages[0].key] += 1
        ranked.append((rank, position, chain))
    return [chain for _, _, chain in sorted(ranked, key=lambda item: item[:2])]


@dataclass(frozen=True)
class Plan:
    """A grid against a store: which of its stages are done, which failed (with the cause), which are missing."""

    chains: tuple[ChainSpec, ...]
    done: frozenset[str]
    failed: dict[str, str]

    @classmethod
    def of(cls, chains: Sequence[ChainSpec], done: Iterable[str], failures: dict[str, str]) -> "Plan":
        keys = {stage.key for chain in chains for stage in chain.stages}
        finished = keys & set(done)
        failed = {key: cause for key, cause in failures.items() if key in keys - finished}
        return cls(tuple(chains), frozenset(finished), failed)

    @cached_property
    def stages(self) -> dict[str, StageSpec]:
        return {stage.key: stage for chain in self.chains for stage in chain.stages}

    @property
    def naive_stages(self) -> int:
        """Trainings of the grid if no chain shared anything."""
        return sum(len(chain.stages) for chain in self.chains)

    @property
    def unfinished(self) -> list[ChainSpec]:
        """Chains with a stage that is not done, in launch order."""
        return launch_order([c for c in self.chains if any(s.key not in self.done for s in c.stages)])

    def counts(self) -> dict[str, int]:
        total, done, failed = len(self.stages), len(self.done), len(self.failed)
        return {"total": total, "done": done, "missing": total - done - failed, "failed": failed}

    def progress_by_cell(self) -> dict[str, tuple[int, int]]:
        """Stages done and in all of each (corpus, backbone, rule, alpha, iteration), over folds and seeds."""
        cells: dict[str, tuple[int, int]] = {}
        for key, stage in self.stages.items():
            rule = stage.rule if stage.alpha is None else f"{stage.rule} {stage.alpha:g}"
            cell = f"{stage.corpus} {stage.backbone} {rule} t={stage.iteration}"
            done, total = cells.get(cell, (0, 0))
            cells[cell] = (done + (key in self.done), total + 1)
        return cells

    def as_dict(self) -> dict[str, Any]:
        failures = [{"stage": k, "chain": self.label_of(k), "cause": c} for k, c in sorted(self.failed.items())]
        return {
            "trials": len(self.chains),
            "trials_unfinished": len(self.unfinished),
            "stages": self.counts(),
            "naive_stages": self.naive_stages,
            "failures": failures,
        }

    def label_of(self, key: str) -> str:
        """A stage for people: its chain, and the iteration."""
        return f"{ChainSpec(self.stages[key]).label}, t={self.stages[key].iteration}"
