"""What commands open alike: a store, a grid with its data and its store, and the decisions on what the store holds."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError
from data_prep.text import command
from ser_sweep.commands.terminal import ProgressBar

if TYPE_CHECKING:
    import pandas as pd

    from data_prep.shards import PreparedCorpus
    from sweep.planning.cost import Estimate, TrainingSpeed
    from sweep.planning.grid import GridSpec
    from sweep.planning.stages import ChainSpec, Plan
    from sweep.storage.store import Store


@dataclass(frozen=True)
class Sweep:
    """A grid with its data and its store, the plan they give, and stage.json of all that the store holds."""

    grid: "GridSpec"
    prepared: "dict[str, PreparedCorpus]"
    store: "Store"
    plan: "Plan"
    records: "list[dict[str, Any]]"


def open_sweep(options: argparse.Namespace) -> Sweep:
    from sweep.planning.stages import Plan
    from sweep.storage.store import Store

    if hasattr(options, "results"):
        _take_results(options)
    store = Store(options.store)
    grid, prepared, chains = expand(options.grid, options.data, store)
    records = list(store.records())
    plan = Plan.of(chains, (record["key"] for record in records), store.failures())
    return Sweep(grid, prepared, store, plan, records)


def _take_results(options: argparse.Namespace) -> None:
    """Of a command `of_results`, fill in grid, data and store. Raises UserError where they are not given, or twice."""
    from sweep.storage.export import DATA_FOLDER, GRID_FILE, STORE_FOLDER

    given = {"GRID.yaml": options.grid, "--data": options.data, "--store": options.store}
    if options.results is None:
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise UserError(f"{', '.join(missing)}: missing; give all of {', '.join(given)}, or --from RESULTS")
        return
    beside = [name for name, value in given.items() if value is not None]
    if beside:
        raise UserError(f"--from RESULTS stands for {', '.join(beside)}; give one or the other")
    if not (options.results / GRID_FILE).is_file():
        raise UserError(
            f"{options.results} holds no {GRID_FILE}: ser-sweep store export --decisions writes such folders"
        )
    options.grid = options.results / GRID_FILE
    options.data, options.store = str(options.results / DATA_FOLDER), str(options.results / STORE_FOLDER)
    options.results = None


def expand(path: Path, data: str, store: "Store") -> "tuple[GridSpec, dict[str, PreparedCorpus], list[ChainSpec]]":
    """A grid file, its data and its chains. Raises UserError, also where the store is of other data."""
    from sweep.planning.grid import load_grid, resolve_corpora

    grid = load_grid(path)
    prepared = resolve_corpora(grid, data)
    for name, one in prepared.items():
        store.check_corpus(one, asked_for=name)
    return grid, prepared, grid.expand(prepared)


def open_decided(options: argparse.Namespace, forests: bool = True) -> "tuple[Sweep, pd.DataFrame]":
    """A grid, and the decisions on utterances of what its store holds. Raises UserError where that is nothing."""
    with ProgressBar(options) as progress:
        progress("reading the store", 0, None)
        from analysis import decide

        sweep = open_sweep(options)
        if not sweep.plan.done:
            raise UserError(
                f"store {options.store} holds no stage of {options.grid}; train them with: "
                + command("run", options.grid, "--data", options.data, "--store", options.store)
            )
        seeds = {} if forests else {"forest_seeds": 0}
        decisions = decide(sweep.store, sweep.plan.chains, progress=progress, **seeds)
    if decisions.empty:
        raise UserError(
            f"all stages of {options.grid} in store {options.store} are damaged; ser-sweep run repairs them"
        )
    return sweep, decisions


def existing_store(options: argparse.Namespace) -> "Store":
    from sweep.storage.store import Store

    store = Store(options.store)
    if not store.exists:
        raise UserError(f"there is no store at {options.store}; ser-sweep run makes one")
    return store


def estimate_missing(sweep: Sweep, speeds: "dict[str, TrainingSpeed] | None" = None) -> "Estimate":
    """What the missing stages come to, by what the store's own say, and by `speeds` for kinds it has none of."""
    from sweep.planning.cost import bytes_per_segment, estimate, speeds_of
    from sweep.running.resources import AUTO_GPU_SHARE

    share = sweep.grid.resources.gpu
    known = {**(speeds or {}), **speeds_of(sweep.records)}
    gpu = AUTO_GPU_SHARE if share == "auto" else float(share)
    return estimate(sweep.plan, sweep.prepared.values(), known, gpu, bytes_per_segment(sweep.records))
