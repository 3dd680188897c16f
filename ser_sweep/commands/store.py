"""Looking after a store.

ser-sweep store verify --store STORE --repair
ser-sweep store gc configs/paper.yaml configs/emodb_lite.yaml --data DATA --store STORE
ser-sweep store export --store STORE --out EXPORT
ser-sweep store export GRID.yaml --data DATA --store STORE --decisions --out RESULTS
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from data_prep.errors import UserError
from data_prep.text import command, counted
from ser_sweep.commands.arguments import DONE, FAILED, add_command, add_group, of_data, of_store, path, quietly
from ser_sweep.commands.sweeps import existing_store
from ser_sweep.commands.terminal import progress_bar
from ser_sweep.sweeps import open_sweep


def add(commands: Any) -> None:
    group = add_group(commands, "store", "check, clean and export a store")
    verify = add_command(
        group,
        "verify",
        run_store_verify,
        "read the whole store and list what is damaged or does not belong there (exit status 1 if anything)",
        of_store,
        quietly,
    )
    verify.add_argument("--repair", action="store_true", help="remove it; ser-sweep run then trains it again")
    verify.add_argument("--json", action="store_true", help="print a JSON list")
    gc = add_command(
        group,
        "gc",
        run_store_gc,
        "list what none of the given grids needs, and delete it with --delete",
        of_store,
        quietly,
        of_data,
    )
    gc.add_argument("grids", type=path, nargs="+", metavar="GRID.yaml", help="the grids whose stages are kept")
    gc.add_argument("--delete", action="store_true", help="delete it")
    export = add_command(
        group,
        "export",
        run_store_export,
        "write the predictions of all stages, or of one grid, as a Parquet data set for DuckDB, polars or pandas",
        of_store,
        quietly,
    )
    export.add_argument("grid", type=path, nargs="?", metavar="GRID.yaml", help="only the stages of this grid")
    export.add_argument("--data", help="folder of prepared corpora, with GRID.yaml")
    export.add_argument(
        "--decisions",
        action="store_true",
        help="write a grid's decisions on utterances, metrics and histories instead: small, and all that ser-sweep "
        "tables --from DIR needs",
    )
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder, or an address (s3://...)")


def run_store_verify(options: argparse.Namespace) -> int:
    from sweep.storage.upkeep import repair, verify

    store = existing_store(options)
    with progress_bar(options) as progress:
        problems = verify(store, progress)
    if options.json:
        print(json.dumps([asdict(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            print(f"{problem.path}: {problem.what}")
        print(f"problems: {len(problems)}" if problems else "everything in the store is whole")
    if not (options.repair and problems):
        return FAILED if problems else DONE
    left = repair(store, problems)
    for problem in problems:
        if problem not in left:
            print(f"{'wrote' if problem.remedy == 'name' else 'removed'} {problem.path}", file=sys.stderr)
    stages = sum(problem.remedy == "train" for problem in problems)
    print(f"stages that the next ser-sweep run trains again: {stages}", file=sys.stderr)
    if left:
        print(f"problems that cannot be repaired from the store alone: {len(left)}", file=sys.stderr)
    return FAILED if left else DONE


def run_store_gc(options: argparse.Namespace) -> None:
    from analysis import usable_decisions
    from sweep.storage.upkeep import delete_garbage, find_garbage

    store = existing_store(options)
    sweeps = [open_sweep(path, options.data, options.store) for path in options.grids]
    needed = {stage.key: stage for one in sweeps for chain in one.chains for stage in chain.stages}
    corpora = {prepared.name for one in sweeps for prepared in one.prepared.values()}
    records = sweeps[0].records
    decisions = {key for one in sweeps for key in usable_decisions(records, one.chains)}
    garbage = find_garbage(store, needed, decisions, corpora)
    for kind, found in garbage.items():
        size = sum(entry.size for entries in found.values() for entry in entries)
        print(f"{kind:12} {len(found):9,}  {size / 1e6:10,.1f} MB")
    if not garbage:
        print("the grids need all that the store holds")
    elif options.delete:
        with progress_bar(options) as progress:
            delete_garbage(store, garbage, progress)
        print("deleted")
    else:
        print("nothing was deleted; repeat the command with --delete to delete this")


def run_store_export(options: argparse.Namespace) -> None:
    from sweep.storage.export import export

    if (options.grid is None) != (options.data is None):
        raise UserError("store export of one grid needs both the grid file and --data")
    store = existing_store(options)
    if options.decisions:
        _export_results(options)
        return
    if options.grid is None:
        with progress_bar(options) as progress:
            count, of_grid = export(store, options.out, None, progress), ""
    else:
        sweep = open_sweep(options.grid, options.data, options.store)
        with progress_bar(options) as progress:
            count, of_grid = sweep.export(options.out, progress), f" of the grid's {len(sweep.plan.stages)}"
    print(f"{counted(count, 'stage')}{of_grid} in {options.out}: stages.parquet and predictions/")


def _export_results(options: argparse.Namespace) -> None:
    if options.grid is None:
        raise UserError("store export --decisions exports one grid: give the grid file and --data")
    sweep = open_sweep(options.grid, options.data, options.store)
    with progress_bar(options) as progress:
        keys = sweep.export_results(options.out, progress)
    print(f"results of {len(keys)} of {len(sweep.plan.stages)} stages in {options.out}; see them with:")
    print(f"  {command('tables', '--from', options.out)}")
