"""How to make a cell of a sweep again: a grid file of its own, the commands, and the keys of its stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from analysis.figures.save import slug
from data_prep.fold_files import fold_file
from data_prep.fold_lists import FoldList
from data_prep.text import command
from dsl.labels import LEAKY_LABEL_SOURCES
from dsl.settings import Listed
from sweep.planning.stages import ChainSpec, Plan, StageSpec, axes_of

CELLS = "cells"


@dataclass(frozen=True)
class StageKey:
    """A stage of a cell. `step` says which of its training: `t = 1`, or `t = 0, inner fold 2`."""

    step: str
    seed: int
    fold: int
    key: str
    done: bool


@dataclass(frozen=True)
class Recipe:
    """A cell: a grid that asks for its chains and nothing else, in `file`, and what there is of them. `beside` are the
    files that the grid needs, by their names."""

    name: str
    file: str
    grid: str
    beside: Mapping[str, str]
    commands: tuple[str, ...]
    stages: tuple[StageKey, ...]
    leaky: bool

    @property
    def done(self) -> int:
        """How many of its stages are in the store."""
        return sum(stage.done for stage in self.stages)


@dataclass(frozen=True)
class Ground:
    """What recipes are made from: the `settings` of the grid's file, and the lists of folds by their digests. `folder`
    is where the files will lie; it and the other two are shown as they are."""

    settings: Mapping[str, Any]
    lists: Mapping[str, FoldList]
    folder: str
    data: str
    store: str


def recipes(plan: Plan, ground: Ground) -> list[Recipe]:
    """One for each cell of the plan: all folds and seeds of a chain."""
    cells: dict[StageSpec, list[ChainSpec]] = {}
    for chain in plan.chains:
        cells.setdefault(replace(chain.last, fold=0, seed=0), []).append(chain)
    found: dict[str, Recipe] = {}
    for chains in cells.values():
        last = chains[0].last
        stem = "-".join(map(slug, _parts(last)))
        file = f"{stem}.yaml"
        if file in found:  # chains that differ in their training alone
            file = f"{stem}-{last.key}.yaml"
        found[file] = _recipe(" ".join(_parts(last)), file, chains, plan, ground)
    return list(found.values())


def _parts(last: StageSpec) -> tuple[str, ...]:
    """What a name tells of a cell."""
    labels = "" if last.labels == "given" else last.labels
    parts = (last.corpus, last.backbone, last.rule, last.alpha, last.label_source or "", last.split_name, labels)
    return tuple(filter(None, parts))


def _recipe(name: str, file: str, chains: Sequence[ChainSpec], plan: Plan, ground: Ground) -> Recipe:
    path = f"{ground.folder}/{CELLS}/{file}"
    listed = chains[0].last.listed
    beside = {}
    if listed is not None:
        beside[list_file(listed)] = fold_file({chains[0].last.corpus: ground.lists[listed.digest]})
    grid = yaml.safe_dump(
        grid_of(chains, ground.settings), sort_keys=False, default_flow_style=None, allow_unicode=True, width=120
    )
    stages = {stage.key: stage for chain in chains for stage in chain.stages}
    keys = [
        StageKey(_step(stage), stage.seed, stage.fold, key, key in plan.done)
        for key, stage in sorted(stages.items(), key=lambda item: _place(item[1]))
    ]
    commands = tuple(
        command(task, path, "--data", ground.data, "--store", store)
        for task, store in (("run", "NEW_STORE"), ("tables", "NEW_STORE"), ("tables", ground.store))
    )
    return Recipe(name, file, grid, beside, commands, tuple(keys), chains[0].last.label_source in LEAKY_LABEL_SOURCES)


def _step(stage: StageSpec) -> str:
    inner = "" if stage.inner_fold is None else f", inner fold {stage.inner_fold}"
    return f"t = {stage.iteration}{inner}"


def _place(stage: StageSpec) -> tuple[int, int, int, int]:
    return stage.seed, stage.iteration, -1 if stage.inner_fold is None else stage.inner_fold, stage.fold


def list_file(listed: Listed) -> str:
    """The file of a list of folds, beside the grids of cells."""
    return f"folds-{listed.digest}.csv"


def grid_of(chains: Sequence[ChainSpec], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a grid that asks for `chains`, which differ in nothing but fold and seed.

    What changes the bits of a training without being part of a key, threads and lockstep, is as in `settings`, and so
    is the kind of intervals.
    """
    last = chains[0].last
    grid = {
        "name": " ".join(_parts(last)),
        **axes_of(last, last.corpus, (chain.last.seed for chain in chains)),
        "inner_folds": last.inner_folds,
        "labels": last.labels,
        "folds": last.folds if last.listed is None else {"file": list_file(last.listed)},
        "weights": settings.get("weights", "none"),
        "fuse": settings.get("fuse", 1),
        "resources": {"cpu": settings.get("resources", {}).get("cpu", 1)},
        "intervals": settings.get("intervals"),
    }
    return {name: value for name, value in grid.items() if value is not None}
