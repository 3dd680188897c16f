"""Why stages are to be trained: which stage of the store is nearest to each of them, and in what it is another one."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

from data_prep.errors import UserError, bulleted
from dsl.labels import BASELINE
from sweep.planning.in_view import ALONE, InView, training_values, value_text
from sweep.planning.settings import apart
from sweep.planning.stages import Plan, StageSpec, backbone_version_of

DONE, MISSING, FAILED, DAMAGED = "done", "missing", "failed", "damaged"
NEAR_ONES = 5  # names that are told where one is not known
REPEATED = ("fold", "seed")  # where nothing else differs, the same settings were trained on other folds or seeds
WORDS = {
    "method": "the method has another version: {}, now {}",
    "backbone_version": "the backbone has another version: {}, now {}",
    "seed": "training seed {}, now {}",
    "label_source": "label source {}, now {}",
    "inner_folds": "inner folds {}, now {}",
    "inner_fold": "inner fold {}, now {}",
    "listed": "folds by the list {}, now {}",
    "iteration": "iteration {}, now {}",
    "altered": "for an exact audit: {} altered, now {}",
}


@dataclass(frozen=True)
class Difference:
    """A field of two stages' identities: its value in the store, and the one that the grid asks for."""

    field: str
    stored: Any
    asked: Any
    text: str


@dataclass(frozen=True)
class Reason:
    """Whether a stage is to be trained, and why: its `state` is DONE, MISSING, FAILED (with the cause) or DAMAGED.

    `nearest` is the key of the stored stage that is most like one that is not there, if the store holds any.
    """

    key: str
    label: str
    state: str
    cause: str | None = None
    nearest: str | None = None
    nearest_label: str = ""
    differences: tuple[Difference, ...] = ()

    @property
    def text(self) -> str:
        """In words, of one line or more."""
        if self.state == DONE:
            return "done: it is in the store, and is not trained again"
        if self.state == FAILED:
            return f"failed, and will be tried again: {self.cause}"
        if self.state == DAMAGED:
            return "damaged: its files are not those that were committed, and it will be trained again"
        if self.nearest is None:
            return "missing: the store holds no stage yet"
        repeated = all(one.field in REPEATED for one in self.differences)
        why = "only others of its cell are in the store" if repeated else "no stage in the store has its settings"
        told = "".join(f"\n- {one.text}" for one in self.differences)
        return f"missing: {why}. The nearest is {self.nearest_label} ({self.nearest}); what differs:{told}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        near = None if self.nearest is None else {"stage": self.nearest, "label": self.nearest_label}
        about = {"stage": self.key, "label": self.label, "state": self.state, "cause": self.cause}
        return {**about, "nearest": near, "differences": [asdict(one) for one in self.differences]}


@dataclass(frozen=True)
class _Stored:
    key: str
    stage: StageSpec
    values: Mapping[str, Any]


def reasons(
    plan: Plan,
    wanted: Iterable[StageSpec],
    records: Iterable[Mapping[str, Any]],
    damaged: Collection[str] = (),
    cut: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Reason]:
    """Why each of the `wanted` stages is to be trained, or that it is not.

    `records` are the stage.json of the store, and `damaged` the keys of those that are not whole. `cut` tells with
    which feature settings corpora were prepared, by their full names.
    """
    stored = [
        _Stored(record["key"], stage, values_of(record["identity"]))
        for record in records
        if record["key"] not in damaged and (stage := StageSpec.of_record(record)) is not None
    ]
    return [_reason(plan, stage, stored, damaged, cut or {}) for stage in wanted]


def _reason(
    plan: Plan, stage: StageSpec, stored: Sequence[_Stored], damaged: Collection[str], cut: Mapping[str, Any]
) -> Reason:
    label = stage.label_in(plan.view)
    if stage.key in damaged:
        return Reason(stage.key, label, DAMAGED)
    if stage.key in plan.done:
        return Reason(stage.key, label, DONE)
    if stage.key in plan.failed:
        return Reason(stage.key, label, FAILED, plan.failed[stage.key])
    asked = values_of(stage.identity)
    nearest = min(stored, key=lambda one: _distance(one, asked), default=None)
    if nearest is None:
        return Reason(stage.key, label, MISSING)
    differences = tuple(
        Difference(field, nearest.values[field], asked[field], _words(field, nearest.values[field], asked[field], cut))
        for field in _differing(nearest.values, asked)
    )
    # In its own words it may be called as the missing one is: where they differ is said below.
    near_label = nearest.stage.label_in(InView.of([nearest.stage, stage]))
    return Reason(stage.key, label, MISSING, None, nearest.key, near_label, differences)


def values_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value of an identity, with those that it leaves out because they are as usual."""
    stage = StageSpec.of_identity(identity)
    names = ("corpus", "backbone", "split", "folds", "fold", "seed", "label_source", "inner_folds", "inner_fold")
    updates = [f"{one.rule}" if one.alpha is None else f"{one.rule} {one.alpha!r}" for one in stage.updates]
    rule = ", then ".join(updates if len(set(updates)) > 1 else updates[:1]) or BASELINE
    return {
        "method": identity.get("method", 1),
        "backbone_version": backbone_version_of(identity),
        **{name: getattr(stage, name) for name in names},
        "listed": None if stage.listed is None else stage.listed.digest,
        "iteration": stage.iteration,
        "rule": rule,
        "labels": stage.labels,
        "altered": None if stage.altered is None else stage.altered.text,
        **training_values(stage.training),
    }


def _differing(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    fields = [field for field, value in asked.items() if stored[field] != value]
    return [field for field in fields if field != "backbone_version" or "backbone" not in fields]  # each has its own


def _distance(one: _Stored, asked: Mapping[str, Any]) -> tuple[Any, ...]:
    """For sorting: another backbone or step is far; of those as near, another fold or seed is farther than others, and
    numbers count by their ratio."""
    differing = _differing(one.values, asked)
    far = sum(field in ("backbone", "iteration") for field in differing)
    far += (one.values["inner_fold"] is None) != (asked["inner_fold"] is None)
    repeated = sum(field in REPEATED for field in differing)
    ratios = sum(apart(one.values[field], asked[field], 0.0) for field in differing)
    return far, len(differing), repeated, ratios, one.key


def _words(field: str, stored: Any, asked: Any, cut: Mapping[str, Mapping[str, Any]]) -> str:
    if field == "corpus":
        return _words_of_corpora(stored, asked, cut)
    before, now = (_text(value) for value in (stored, asked))
    if before == now:  # numbers that differ in a late digit
        before, now = repr(stored), repr(asked)
    return WORDS.get(field, field + " {}, now {}").format(before, now)


def _words_of_corpora(stored: str, asked: str, cut: Mapping[str, Mapping[str, Any]]) -> str:
    if stored.rpartition("-")[0] != asked.rpartition("-")[0]:
        return f"another corpus: {stored}, now {asked}"
    told = f"the corpus was prepared anew: {stored}, now {asked}"
    before, now = cut.get(stored, {}), cut.get(asked, {})
    changed = [
        f"{name} {before[name]}, now {now[name]}" for name in before if name in now and before[name] != now[name]
    ]
    return f"{told} ({'; '.join(changed)})" if changed else told


def _text(value: Any) -> str:
    return "none" if value is None else value_text(value)


# Names of stages and chains


def named(plan: Plan, name: str) -> list[StageSpec]:
    """The stages of the plan that `name` means: those of a chain by its label, or one by its label or key's beginning.

    Raises UserError where there is none, with names that are like it, or where it means several.
    """
    name = re.sub(r" and \d+ more$", "", " ".join(name.split()))  # a trial of several chains goes by its first
    for view in (plan.view, ALONE):
        found = {tuple(stages): label for label, stages in _labels(plan, view) if label == name}
        if len(found) > 1:
            told = [label for label, stages in _labels(plan, plan.view) if tuple(stages) in found]
            raise UserError(f"--why {name}: {len(found)} have that name; say which is meant:\n{bulleted(told)}")
        if found:
            return list(next(iter(found)))
    keys = sorted(key for key in plan.stages if name and key.startswith(name.lower()))
    if len(keys) > 1:
        shown = [f"{key}  {plan.label_of(key)}" for key in keys[:NEAR_ONES]]
        raise UserError(
            f"--why {name}: {len(keys)} stages have keys that begin so; give more of it:\n{bulleted(shown)}"
        )
    if keys:
        return [plan.stages[keys[0]]]
    raise UserError(
        f"--why {name}: the grid has no such chain or stage; give a label as plan and run print it, or the beginning "
        f"of a stage's key. Near ones are:\n{bulleted(_near(plan, name))}"
    )


def _labels(plan: Plan, view: InView) -> Iterator[tuple[str, Sequence[StageSpec]]]:
    """Every label of a chain and of a stage, with the stages that it means."""
    yield from ((chain.label_in(view), chain.stages) for chain in plan.chains)
    yield from ((stage.label_in(view), [stage]) for stage in plan.stages.values())


def _near(plan: Plan, name: str) -> list[str]:
    """Keys that begin alike where a key was meant, or labels that have most words in common with the name."""
    if re.fullmatch("[0-9a-f]+", name.lower()):
        first = sorted(plan.stages, key=lambda key: (-_alike(key, name.lower()), key))[:NEAR_ONES]
        return [f"{key}  {plan.label_of(key)}" for key in first]
    words = set(_words_in(name))
    labels = [label for label, _ in _labels(plan, plan.view)]
    shared = sorted(labels, key=lambda label: -len(words.intersection(_words_in(label))))[: 20 * NEAR_ONES]
    return sorted(shared, key=lambda label: -SequenceMatcher(None, label, name).ratio())[:NEAR_ONES]


def _alike(key: str, name: str) -> int:
    """With how many characters both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(key, name, strict=False)))


def _words_in(label: str) -> list[str]:
    return re.findall(r"[^\s(),]+", label)
