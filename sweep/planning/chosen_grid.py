"""A grid file to go on from: what was chosen of another grid, a setting and a network for each corpus and split.

It asks for nothing that the other grid does not ask for, so that a store of that has all of its stages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from data_prep.text import plain
from sweep.planning.grid import GridSpec, parse_grid
from sweep.planning.products import CorpusRequest
from sweep.planning.stages import StageSpec, axes_of

WIDTH = 120


@dataclass(frozen=True)
class Choice:
    """What was chosen: a `stage` of the network in any fold, the training `seeds` that it has, and what the grid asked
    of its corpus. `why` is a sentence for people."""

    stage: StageSpec
    seeds: tuple[int, ...]
    request: CorpusRequest
    why: str


def chosen_grid(grid: GridSpec, choices: Sequence[Choice]) -> dict[str, Any]:
    """The fields of a grid of `choices` alone: axes at its top where there is one, else an entry of `chains` for each.

    What changes no result, such as resources and trackers, is as in `grid`.
    """
    entries = [axes_of(one.stage, one.request.name, one.seeds) for one in choices]
    for entry, one in zip(entries, choices, strict=True):
        if one.request.features:
            entry["features"] = dict(one.request.features)
    stages = [one.stage for one in choices]
    inner_folds = {"inner_folds": grid.inner_folds} if any(one.label_source == "cross_fit" for one in stages) else {}
    same = {"resources", "fuse", "tracking", "weights", "intervals"}
    kept = grid.model_dump(mode="json", exclude_defaults=True, include=same)
    axes = entries[0] if len(entries) == 1 else {"chains": entries}
    folds = grid.folds if isinstance(grid.folds, int) else grid.folds.model_dump(exclude_none=True)
    fields = {"name": f"{grid.name}, the best", **axes, **inner_folds, "labels": grid.labels, "folds": folds}
    return fields | {name: value for name, value in kept.items() if value}


def chosen_text(grid: GridSpec, choices: Sequence[Choice], comments: Sequence[str]) -> str:
    """The grid file, with a line of comment for why each was chosen and for each of `comments`."""
    lines = [f"# {plain(line)}\n" for line in (*(one.why for one in choices), *comments)]
    content = chosen_grid(grid, choices)
    parse_grid(content, "of what was chosen")
    return "".join(lines) + yaml.safe_dump(
        content, sort_keys=False, default_flow_style=None, allow_unicode=True, width=WIDTH
    )
