"""What stages that are shown together differ in, so that their labels tell them apart and say no more."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dsl.settings import ChainSettings, TrainingSettings

Features = Mapping[str, Mapping[str, Any]]  # of corpora by full name: those by which a grid picks them
USUAL_SPLIT = "stratified"  # which labels leave out where there is no other


@dataclass(frozen=True)
class InView:
    """The splits of the stages in view, and the `fields` of their training that tell some of them apart.

    `cut` has, by full name, what tells preparations of one corpus apart (`segment_frames 20`). `in_full` says whether
    corpora go by their full names, as several preparations do for which that is not enough. Where trainings change a
    few of many fields at a time, `usual` has the values that most have, which a network's label leaves out.
    """

    splits: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    in_full: bool = False
    cut: tuple[tuple[str, str], ...] = ()
    usual: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, stages: Iterable[ChainSettings], features: Features | None = None) -> "InView":
        """What these stages differ in, of preparations (full names) that a grid picks by their `features`."""
        kinds = list({(stage.corpus, stage.split_name, stage.training) for stage in stages})
        alike = [(corpus, split) for corpus, split, _ in kinds]
        differing = differing_fields(alike, [training_values(training) for _, _, training in kinds])
        corpora = {corpus for corpus, _, _ in kinds}
        picked = {corpus: own for corpus, own in (features or {}).items() if corpus in corpora}
        by = differing_fields([corpus.rpartition("-")[0] for corpus in picked], list(picked.values()))
        cut = {corpus: _text({field: own[field] for field in by if field in own}) for corpus, own in picked.items()}
        names = {(corpus.rpartition("-")[0], cut.get(corpus)) for corpus in corpora}
        splits = frozenset(split for _, split, _ in kinds)
        usual = usual_values([_of(training, differing) for training in {training for _, _, training in kinds}])
        by_cut = tuple(cut.items()) if any(cut.values()) else ()
        return cls(splits, tuple(differing), len(names) < len(corpora), by_cut, usual)

    def corpus(self, stage: ChainSettings) -> str:
        """What a stage's corpus is called."""
        return stage.corpus if self.in_full else stage.corpus.rpartition("-")[0]

    def setting(self, stage: ChainSettings) -> str:
        """`learning_rate 0.001, batch_size 64`: the training where it tells something; empty where it does not."""
        return self._told(stage, _of(stage.training, self.fields))

    def _told(self, stage: ChainSettings, training: Mapping[str, Any]) -> str:
        return ", ".join(filter(None, [dict(self.cut).get(stage.corpus, ""), _text(training)]))

    def network(self, stage: ChainSettings) -> str:
        """`densenet22 wdsl 0.2`, with the label source, the split and the training where they tell something."""
        source = "" if stage.label_source in (None, "in_fold") else stage.label_source
        own = stage.split_name
        split = f"{own} split" if {*self.splits, own} != {USUAL_SPLIT} else ""
        unusual = [pair for pair in _of(stage.training, self.fields).items() if pair not in self.usual]
        told = self._told(stage, dict(unusual))
        setting = f"({told})" if told else ""
        return " ".join(part for part in (stage.backbone, stage.rule, stage.alpha, source, split, setting) if part)


ALONE = InView()  # nothing else in view


def _of(training: TrainingSettings, chosen: Iterable[str]) -> dict[str, Any]:
    return {field: getattr(training, field) for field in chosen}


def usual_values(settings: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, Any], ...]:
    """What more than half of the settings have in every field, if each setting differs from that in less than half of
    the fields, as in an ablation of one factor at a time; else nothing."""
    having = Counter(pair for one in settings for pair in one.items())
    usual = tuple(pair for pair, count in having.items() if 2 * count > len(settings))
    few = all(2 * len(one.items() - set(usual)) < len(one) for one in settings)
    return usual if few and all(len(usual) == len(one) for one in settings) else ()


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{field} {value_text(value)}" for field, value in values.items())


def training_values(training: TrainingSettings) -> dict[str, Any]:
    """Field -> value of how a stage is trained."""
    return {one.name: getattr(training, one.name) for one in fields(training)}


def differing_fields(alike: Sequence[Hashable], values: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields in which values differ among those that are `alike` otherwise, in their order."""
    seen: dict[tuple[Hashable, str], set[Any]] = defaultdict(set)
    for group, own in zip(alike, values, strict=True):
        for field, value in own.items():
            seen[group, field].add(value)
    several = {field for (_, field), found in seen.items() if len(found) > 1}
    return [field for field in dict.fromkeys(field for own in values for field in own) if field in several]


def value_text(value: Any) -> str:
    """The value of a field as a grid's file has it: `0.001`, `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
