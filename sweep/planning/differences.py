"""What becomes of a grid's stages when its file is changed, and in which fields the two files differ."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from sweep.planning.grid import GridSpec
from sweep.planning.grid_fields import RuleChoice
from sweep.planning.in_view import value_text
from sweep.planning.stages import Plan

ADDS, KEEPS, UNUSED = "adds", "keeps", "leaves unused"


@dataclass
class Counts:
    """How many stages, and how many of these are done."""

    stages: int = 0
    done: int = 0


@dataclass(frozen=True)
class Change:
    """What a changed grid ADDS to another one, KEEPS of it and leaves UNUSED, in all and by `Plan.cell_of`.

    `fields` maps each field in which the files differ to its two values, as a grid's file has them.
    """

    fields: Mapping[str, tuple[str, str]]
    in_all: Mapping[str, Counts] = field(default_factory=lambda: {kind: Counts() for kind in (ADDS, KEEPS, UNUSED)})
    cells: dict[str, dict[str, Counts]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""

        def counts(by_kind: Mapping[str, Counts]) -> dict[str, Any]:
            return {kind.replace(" ", "_"): {"stages": one.stages, "done": one.done} for kind, one in by_kind.items()}

        differing = {name: {"before": before, "after": after} for name, (before, after) in self.fields.items()}
        cells = {cell: counts(by_kind) for cell, by_kind in self.cells.items()}
        return {"fields": differing, **counts(self.in_all), "cells": cells}


def change(
    grid: GridSpec, changed: GridSpec, before: Collection[str], after: Collection[str], together: Plan
) -> Change:
    """What becomes of `grid`, whose stages have the keys `before`, where it is `changed` and they are those of `after`.

    `together` is the plan of the chains of both.
    """
    found = Change(_differing(grid, changed))
    for key, stage in together.stages.items():
        kind = UNUSED if key not in after else KEEPS if key in before else ADDS
        by_kind = found.cells.setdefault(together.cell_of(stage), {kind: Counts() for kind in found.in_all})
        for counts in (found.in_all[kind], by_kind[kind]):
            counts.stages += 1
            counts.done += key in together.done
    return found


def _differing(grid: GridSpec, changed: GridSpec) -> dict[str, tuple[str, str]]:
    before, after = _fields(grid), _fields(changed)
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name, "not given"), after.get(name, "not given")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _fields(part: BaseModel, within: str = "") -> dict[str, str]:
    """Field -> value of a part of a grid, as its file has it: `training.learning_rate`, `chains.0.rules`."""
    found: dict[str, str] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if name == "chains":
            for number, entry in enumerate(value or ()):
                found |= _fields(entry, f"chains.{number}.")
        elif isinstance(value, BaseModel) and name in ("training", "features", "resources", "tracking"):
            # Of an entry of `chains`, only what it sets is its own.
            own = _fields(value, f"{within}{name}.")
            found |= {
                each: own[each] for each in own if not within or each.rpartition(".")[2] in value.model_fields_set
            }
        elif value is not None:
            found[within + name] = _written(value)
    return found


def _written(value: Any) -> str:
    """A value as a grid's file has it: `[none, {wdsl: [0.2, 0.5]}]`, `{log_uniform: [0.0001, 0.01]}`."""
    if isinstance(value, RuleChoice):
        alphas = [alpha for alpha in value.alphas if alpha is not None]
        return f"{{{value.rule}: {_written(alphas)}}}" if alphas else value.rule
    if isinstance(value, BaseModel):
        return "{" + ", ".join(f"{name}: {text}" for name, text in _fields(value).items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return value_text(value)
