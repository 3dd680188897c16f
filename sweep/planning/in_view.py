"""What stages that are shown together differ in, so that their labels tell them apart and say no more."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dsl.settings import ChainSettings, TrainingSettings

USUAL_SPLIT = "stratified"  # which labels leave out where there is no other


@dataclass(frozen=True)
class InView:
    """The splits of the stages in view, and the `fields` of their training that tell some of them apart.

    `in_full` says whether corpora go by their full names, as several preparations of one do.
    """

    splits: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    in_full: bool = False

    @classmethod
    def of(cls, stages: Iterable[ChainSettings]) -> "InView":
        """What these stages differ in."""
        kinds = list({(stage.corpus, stage.split_name, stage.training) for stage in stages})
        alike = [(corpus, split) for corpus, split, _ in kinds]
        differing = differing_fields(alike, [training_values(training) for _, _, training in kinds])
        corpora = {corpus for corpus, _, _ in kinds}
        short = {corpus.rpartition("-")[0] for corpus in corpora}
        return cls(frozenset(split for _, split, _ in kinds), tuple(differing), len(short) < len(corpora))

    def corpus(self, stage: ChainSettings) -> str:
        """What a stage's corpus is called."""
        return stage.corpus if self.in_full else stage.corpus.rpartition("-")[0]

    def setting(self, stage: ChainSettings) -> str:
        """`learning_rate 0.001, batch_size 64`: the training where it tells something; empty where it does not."""
        return ", ".join(f"{field} {value_text(getattr(stage.training, field))}" for field in self.fields)

    def network(self, stage: ChainSettings) -> str:
        """`densenet22 wdsl 0.2`, with the label source, the split and the training where they tell something."""
        source = "" if stage.label_source in (None, "in_fold") else stage.label_source
        own = stage.split_name
        split = f"{own} split" if {*self.splits, own} != {USUAL_SPLIT} else ""
        told = self.setting(stage)
        setting = f"({told})" if told else ""
        return " ".join(part for part in (stage.backbone, stage.rule, stage.alpha, source, split, setting) if part)


ALONE = InView()  # nothing else in view


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
