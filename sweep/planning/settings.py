"""Settings of a grid: what tells its chains apart beside what their networks are called by.

A network has a name: corpus, split, labels, label source, backbone, rule, alpha and iteration. Chains of the same names
that are trained otherwise, or on segments that were cut otherwise, belong to different settings of the grid. A grid
whose chains are all trained alike has one setting, with nothing to tell.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.features import FeatureSettings
from sweep.planning.in_view import differing_fields, training_values, usual_values, value_text
from sweep.planning.stages import ChainSpec

PAPER = "paper"  # of epochs: the paper's number for each corpus

MOST_VALUES = 8  # of a field, that a sentence lists


@dataclass(frozen=True)
class Setting:
    """A value for each field of `training` and `features` in which chains of a grid differ, in the fields' order."""

    values: tuple[tuple[str, Any], ...] = ()

    @property
    def by_field(self) -> dict[str, Any]:
        """Field -> value."""
        return dict(self.values)

    @property
    def text(self) -> str:
        """`learning_rate 0.001, batch_size 64`; empty where the grid has one setting."""
        return ", ".join(f"{field} {value_text(value)}" for field, value in self.values)

    def beside(self, other: "Setting") -> "Setting":
        """The values in which it differs from `other`."""
        return Setting(tuple(pair for pair in self.values if pair not in other.values))

    @property
    def options(self) -> str:
        """As a command takes it: `--setting learning_rate=0.001 batch_size=64`."""
        words = " ".join(f"{field}={value_text(value)}" for field, value in self.values)
        return f"--setting {words}" if words else ""


@dataclass(frozen=True)
class Settings:
    """The settings of a grid, each with its chains in the grid's order; sorted by the values of their fields."""

    chains: Mapping[Setting, tuple[ChainSpec, ...]]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields in which the chains differ; none where there is one setting."""
        return tuple(dict.fromkeys(field for setting in self.chains for field, _ in setting.values))

    @property
    def text(self) -> str:
        """`6, which differ in learning_rate (0.0003, 0.001), batch_size (32, 64, 128)`; of many values the ends."""
        told = []
        for field in self.fields:
            values = [value_text(one) for one in in_order(setting.by_field[field] for setting in self)]
            many = len(values) > MOST_VALUES
            told.append(f"{field} ({f'{len(values)} from {values[0]} to {values[-1]}' if many else ', '.join(values)})")
        return f"{len(self)}, which differ in {', '.join(told)}" if told else ""

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.chains)

    def __len__(self) -> int:
        return len(self.chains)


def distance(setting: Setting, other: Mapping[str, Any]) -> float:
    """How far the values of a setting are from `other`, field -> value."""
    return math.fsum(apart(value, other[field], 1.0) for field, value in setting.values if field in other)


def apart(one: Any, other: Any, otherwise: float) -> float:
    """How far two values of a field are apart: positive numbers by their ratio, others by 0 or `otherwise`."""
    if one == other:
        return 0.0
    numbers = all(isinstance(each, int | float) and each > 0 for each in (one, other))
    return abs(math.log(one / other)) if numbers else otherwise


def settings_of(
    chains: Iterable[ChainSpec],
    asked: Mapping[str, str],
    features: Mapping[str, FeatureSettings],
    paper_epochs: Mapping[str, int] | None = None,
) -> Settings:
    """The settings of `chains`.

    `asked` maps the full name of a prepared corpus to what the grid calls it, and `features` to how it was cut.
    Preparations that the grid tells apart by name are corpora of their own, and no settings. Where `paper_epochs`
    are given, the epochs of each corpus for which the grid says `paper`, these go by that word.
    """
    listed = list(chains)
    values = {corpus: features[corpus].as_dict() for corpus in {chain.last.corpus for chain in listed}}
    of_chain = [{**training_values(chain.last.training), **values[chain.last.corpus]} for chain in listed]
    for chain, own in zip(listed, of_chain, strict=True):
        if paper_epochs is not None and own["epochs"] == paper_epochs[chain.last.corpus]:
            own["epochs"] = PAPER
    alike = [(asked[chain.last.corpus], chain.last.split_name) for chain in listed]
    differing = differing_fields(alike, of_chain)
    found: dict[Setting, list[ChainSpec]] = defaultdict(list)
    for chain, own in zip(listed, of_chain, strict=True):
        found[Setting(tuple((field, own[field]) for field in differing))].append(chain)
    ordered = sorted(found, key=lambda setting: [_order(value) for _, value in setting.values])
    return Settings({setting: tuple(found[setting]) for setting in ordered})


def names_apart(settings: Iterable[Setting]) -> dict[Setting, str]:
    """What tells each of the settings from the others, as labels of chains do: where these change a few of many fields
    at a time, only what is changed."""
    listed = list(settings)
    common = Setting(usual_values([one.by_field for one in listed]))
    return {one: one.beside(common).text for one in listed}


def in_order(values: Iterable[Any]) -> list[Any]:
    """Each of the values of a field once: numbers by size, then text."""
    return sorted(dict.fromkeys(values), key=_order)


def _order(value: Any) -> tuple[int, Any]:
    """For sorting values of any kind: numbers by size, then text."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))
