"""What there is to train: chains, their stages, and the plan that says which of them are missing.

A stage is one training of a chain: its iteration t, or an inner one that relabels segments for it. Its key is the hash
of everything that changes what it learns and of nothing else, so that chains, grids and launches that need the same
training find one another's.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import product, zip_longest
from typing import Any

from data_prep.files import canonical_hash
from data_prep.text import counted
from dsl.backbones import version_of
from dsl.labels import ALIASES, BASELINE, RULES, LabelUpdate
from dsl.settings import Alteration, ChainSettings, Listed, TrainingSettings, identity_of
from sweep.planning.in_view import ALONE, Features, InView

METHOD_VERSION = 2  # raise when the code changes what a stage with the same settings learns
KEY_LENGTH = 20


@dataclass(frozen=True)
class StageSpec(ChainSettings):
    """One training: the last of the chain that these settings describe or, with `inner_fold`, one inside its fold."""

    inner_fold: int | None = field(default=None, kw_only=True, metadata={"later": True})

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes the stage what it is, as canonical JSON has it."""
        return self._identity_under(METHOD_VERSION, version_of(self.backbone))

    def _identity_under(self, method: int, backbone: int) -> dict[str, Any]:
        """The identity under these versions; a backbone's first one goes without saying."""
        versions = {"method": method} | ({"backbone_version": backbone} if backbone > 1 else {})
        return {**versions, **identity_of(self)}

    @classmethod
    def of_identity(cls, identity: Mapping[str, Any]) -> "StageSpec":
        """The stage that has this identity, as stage.json tells it."""
        fields = {name: value for name, value in identity.items() if name not in ("method", "backbone_version")}
        fields["updates"] = tuple(LabelUpdate(**update) for update in identity["updates"])
        parts: dict[str, type[Any]] = {"training": TrainingSettings, "altered": Alteration, "listed": Listed}
        fields |= {name: kind(**identity[name]) for name, kind in parts.items() if name in identity}
        return cls(**fields)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "StageSpec | None":
        """The stage of a stage.json; None where that says nothing of it, or what only a newer version understands."""
        try:
            return cls.of_identity(record["identity"])
        except (KeyError, TypeError):
            return None

    @cached_property
    def key(self) -> str:
        """The hash of its identity: KEY_LENGTH hexadecimal digits."""
        return canonical_hash(self.identity, KEY_LENGTH)

    @property
    def earlier_keys(self) -> list[str]:
        """The keys that the stage had under earlier versions of the method, or of its backbone."""
        *earlier, _ = product(range(1, METHOD_VERSION + 1), range(1, version_of(self.backbone) + 1))
        return [canonical_hash(self._identity_under(*versions), KEY_LENGTH) for versions in earlier]

    @property
    def label(self) -> str:
        """For people: its chain, the iteration, and the inner fold where it is of one."""
        return self.label_in(ALONE)

    def label_in(self, view: InView) -> str:
        """The same with what tells it from other stages in view."""
        inner = "" if self.inner_fold is None else f", inner fold {self.inner_fold}"
        return f"{ChainSpec(self).label_in(view)}, t={self.iteration}{inner}"

    def at(self, iteration: int, inner_fold: int | None = None) -> "StageSpec":
        """The stage of the same chain at an earlier iteration; iteration 0 knows no rule and no label source."""
        updates = self.updates[:iteration]
        inner_folds = self.inner_folds if updates or inner_fold is not None else None
        source = self.label_source if updates else None
        return replace(self, updates=updates, label_source=source, inner_folds=inner_folds, inner_fold=inner_fold)

    @property
    def foreign_inputs(self) -> tuple["StageSpec", ...]:
        """What it needs of other folds' chains before it can be trained: under `global_oof`, all of t - 1."""
        return self.at(self.iteration - 1).out_of_fold if self.label_source == "global_oof" else ()

    @cached_property
    def out_of_fold(self) -> tuple["StageSpec", ...]:
        """The same iteration's stages of all folds: between them, they have tested every segment."""
        return tuple(replace(self, fold=fold) for fold in range(self.folds))


@dataclass(frozen=True)
class ChainSpec:
    """A fold's sequence of trainings (Algorithm 1), known by its last stage: one Ray Tune trial."""

    last: StageSpec

    @cached_property
    def stages(self) -> tuple[StageSpec, ...]:
        """What the chain trains, in order."""
        return tuple(self.last.at(step.iteration, step.inner_fold) for step in self.last.steps)

    def label_in(self, view: InView) -> str:
        """For people: `emodb densenet22 wdsl 0.2 fold 3 seed 0`, with what tells it from other chains in view."""
        last = self.last
        other = "" if last.altered is None else f", {last.altered.text} altered"
        return f"{view.corpus(last)} {view.network(last)} fold {last.fold} seed {last.seed}{other}"


@dataclass(frozen=True)
class Bundle:
    """What one trial trains: a chain, or several of one corpus and backbone, their networks side by side.

    `view` is what the sweep's chains differ in, for labels.
    """

    chains: tuple[ChainSpec, ...]
    view: InView = ALONE

    @property
    def bare(self) -> "Bundle":
        """The same bundle without what it has worked out about itself, to be sent somewhere."""
        return Bundle(tuple(ChainSpec(replace(chain.last)) for chain in self.chains), self.view)

    @cached_property
    def stages(self) -> tuple[StageSpec, ...]:
        """What the chains train, a step of each in turn; each stage once."""
        steps = zip_longest(*(chain.stages for chain in self.chains))
        return tuple({stage.key: stage for step in steps for stage in step if stage is not None}.values())

    @property
    def kind(self) -> str:
        """The `kind_of` its trainings, which is the same for all of them."""
        return kind_of(self.chains[0].last)

    @property
    def label(self) -> str:
        """For people: `emodb densenet22 wdsl 0.2 fold 3 seed 0 and 3 more`."""
        others = len(self.chains) - 1
        return self.chains[0].label_in(self.view) + (f" and {others} more" if others else "")


def bundled(chains: Iterable[ChainSpec], fuse: int, view: InView = ALONE) -> list[Bundle]:
    """`chains` in order; up to `fuse` that can be trained side by side are one bundle, at the place of the first."""
    bundles: list[list[ChainSpec]] = []
    open_one: dict[tuple[Hashable, ...], list[ChainSpec]] = {}
    for chain in chains:
        alike = _shared_by_a_bundle(chain.last)
        if alike not in open_one or len(open_one[alike]) == fuse:
            open_one[alike] = []
            bundles.append(open_one[alike])
        open_one[alike].append(chain)
    return [Bundle(tuple(bundle), view) for bundle in bundles]


def _shared_by_a_bundle(last: StageSpec) -> tuple[Hashable, ...]:
    """What chains that are trained side by side have in common: the segments, what a network of theirs takes of the
    device, and how far they go."""
    training = last.training
    taken = (training.every, training.batch_size, training.precision, training.layout)
    return last.corpus, last.backbone, *taken, last.iteration, last.label_source, last.inner_folds


def kind_of(stage: StageSpec) -> str:
    """Trainings that need the same memory, and are as fast, have the same kind: `efficientnet_b0-batch128`."""
    precision = "" if stage.training.precision == "float32" else f"-{stage.training.precision}"
    layout = "" if stage.training.layout == "channels_last" else f"-{stage.training.layout}"
    return f"{stage.backbone}-batch{stage.training.batch_size}{precision}{layout}"


def backbone_version_of(identity: Mapping[str, Any]) -> int:
    """The version of its backbone that a stage with this identity was trained with."""
    return int(identity.get("backbone_version", 1))


def canonical_updates(rule: str, alphas: float | Sequence[float] | None, iterations: int) -> tuple[LabelUpdate, ...]:
    """The label updates of a chain, the same for every way of writing it.

    `none` has no iterations; wdsl with alpha 0 is bdsl, as other rules at a limit are one that needs no alpha; a rule
    that takes no alpha carries none. `alphas` is one for all iterations, or one for each.
    """
    rule = ALIASES.get(rule, rule)
    if rule == BASELINE:
        return ()
    listed = alphas if isinstance(alphas, Sequence) else [alphas] * iterations
    return tuple(_canonical_update(rule, alpha) for alpha in listed[:iterations])


def _canonical_update(rule: str, alpha: float | None) -> LabelUpdate:
    known = RULES[rule]
    if alpha is not None and alpha in known.limits:
        return LabelUpdate(known.limits[alpha])
    return LabelUpdate(rule, alpha if known.takes_alpha else None)


def rule_entry(updates: Sequence[LabelUpdate]) -> Any:
    """How a grid writes the rule that these updates come from; of one that stands at a limit of its alpha in some
    iterations and not in others, its own name with an alpha for each. Raises ValueError where no rule comes to them."""
    if not updates:
        return BASELINE
    rules = {update.rule for update in updates}
    if len(rules) == 1 and updates[0].alpha is None:
        return updates[0].rule
    for name in sorted(RULES, key=lambda name: name not in rules):
        at_limits = {rule: alpha for alpha, rule in RULES[name].limits.items()}
        alphas = [update.alpha if update.rule == name else at_limits.get(update.rule) for update in updates]
        if None not in alphas:
            return {name: alphas[0] if len(set(alphas)) == 1 else [alphas]}
    raise ValueError(f"updates {updates} come from no rule of a grid")


def axes_of(stage: StageSpec, corpus: str, seeds: Iterable[int]) -> dict[str, Any]:
    """The axes of a grid that asks for the chains that end with `stage`, of all folds and of these training seeds;
    `corpus` is what the grid calls theirs."""
    axes = {
        "corpora": [corpus],
        "backbones": [stage.backbone],
        "rules": [rule_entry(stage.updates)],
        "iterations": max(1, stage.iteration),
        "label_sources": [stage.label_source or "in_fold"],
        "splits": None if stage.listed else [stage.split],
        "seeds": sorted(set(seeds)),
        "training": asdict(stage.training),
    }
    return {name: value for name, value in axes.items() if value is not None}


def distinct(chains: Iterable[ChainSpec]) -> list[ChainSpec]:
    """Each chain once, in the order in which they first appear."""
    return list({chain.last.key: chain for chain in chains}.values())


def launch_order(chains: Sequence[ChainSpec]) -> list[ChainSpec]:
    """Chains that own a stage before those that share it.

    The first chain that needs a given iteration 0 owns it. All owners come first, then every second chain of the
    same iteration 0, and so on: by the time a sharing chain starts, its owner is long done.
    """
    seen: Counter[str] = Counter()
    ranked = []
    for chain in sorted(chains, key=lambda chain: chain.last.iteration > 0):
        first = chain.stages[0].key
        ranked.append((seen[first], chain))
        seen[first] += 1
    return [chain for _, chain in sorted(ranked, key=lambda item: item[0])]


@dataclass(frozen=True)
class Plan:
    """A grid against a store: which of its stages are done, which failed (with the cause), which are missing; and how
    many of these an earlier version of the method, or of their backbone, has trained, which may have come to something
    else. `features` are those by which the grid picks preparations of its corpora."""

    chains: tuple[ChainSpec, ...]
    done: frozenset[str]
    failed: dict[str, str]
    earlier: int = 0
    features: Features | None = None

    @classmethod
    def of(
        cls,
        chains: Sequence[ChainSpec],
        done: Iterable[str],
        failures: dict[str, str],
        features: Features | None = None,
    ) -> "Plan":
        """The plan of `chains`, where the keys `done` are in the store and `failures` maps a key to its cause."""
        stages, there = {stage.key: stage for chain in chains for stage in chain.stages}, set(done)
        finished = stages.keys() & there
        failed = {key: cause for key, cause in failures.items() if key in stages.keys() - finished}
        others = there - finished
        missing = [stage for key, stage in stages.items() if key not in finished] if others else []
        earlier = sum(not others.isdisjoint(stage.earlier_keys) for stage in missing)
        return cls(tuple(chains), frozenset(finished), failed, earlier, features)

    def without(self, damaged: Collection[str]) -> "Plan":
        """The same plan, with these stages to be trained again."""
        return replace(self, done=self.done - set(damaged))

    def of_chains(self, chains: Sequence[ChainSpec]) -> "Plan":
        """The part of the plan that some of its chains are, which go by the names that they have in the whole."""
        keys = {stage.key for chain in chains for stage in chain.stages}
        failed = {key: cause for key, cause in self.failed.items() if key in keys}
        part = replace(self, chains=tuple(chains), done=self.done & keys, failed=failed)
        part.__dict__["view"] = self.view
        return part

    @cached_property
    def stages(self) -> dict[str, StageSpec]:
        """Every stage of the grid by its key, each once."""
        return {stage.key: stage for chain in self.chains for stage in chain.stages}

    @cached_property
    def view(self) -> InView:
        """What the grid's chains differ in."""
        return InView.of((chain.last for chain in self.chains), self.features)

    @property
    def to_train(self) -> dict[str, StageSpec]:
        """The stages that are not done, failed ones among them."""
        return {key: stage for key, stage in self.stages.items() if key not in self.done}

    @property
    def naive_stages(self) -> int:
        """Trainings of the grid if no chain shared anything."""
        return sum(len(chain.stages) for chain in self.chains)

    @property
    def unfinished(self) -> list[ChainSpec]:
        """Chains with a stage that is not done, in launch order."""
        return launch_order([c for c in self.chains if any(s.key not in self.done for s in c.stages)])

    def counts(self) -> dict[str, int]:
        """How many stages there are in `total`, and how many of them are `done`, `missing` and `failed`."""
        total, done, failed = len(self.stages), len(self.done), len(self.failed)
        return {"total": total, "done": done, "missing": total - done - failed, "failed": failed}

    def counts_of(self, keys: Collection[str]) -> dict[str, int]:
        """Stages in all, done and missing of a part of the plan, such as a table's."""
        done = len(self.done & set(keys))
        return {"total": len(keys), "done": done, "missing": len(keys) - done}

    def progress_by_cell(self) -> dict[str, tuple[int, int]]:
        """Stages done and in all of each `cell_of`, over folds and seeds."""
        cells = {key: self.cell_of(stage) for key, stage in self.stages.items()}
        done = Counter(cells[key] for key in self.done)
        return {cell: (done[cell], total) for cell, total in Counter(cells.values()).items()}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, failures, and what the grid shares."""
        failures = [{"stage": k, "chain": self.label_of(k), "cause": c} for k, c in sorted(self.failed.items())]
        return {
            "trials": len(self.chains),
            "trials_unfinished": len(self.unfinished),
            "stages": self.counts(),
            "stages_of_an_earlier_method": self.earlier,
            "naive_stages": self.naive_stages,
            "failures": failures,
        }

    def label_of(self, key: str) -> str:
        """The label of a stage, with what tells it from others of the grid."""
        return self.stages[key].label_in(self.view)

    def cell_of(self, stage: StageSpec) -> str:
        """What a stage shares with those of other folds and seeds, for people: `emodb-d47d293dc766 densenet22 bdsl
        t=1`."""
        inner = "" if stage.inner_fold is None else f" of {counted(stage.inner_folds or 0, 'inner fold')}"
        return f"{stage.corpus} {self.view.network(stage)} t={stage.iteration}{inner}"
