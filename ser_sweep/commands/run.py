"""Train what a grid misses.

ser-sweep run GRID.yaml --data DATA --store STORE
"""

import argparse
import sys
from dataclasses import replace
from typing import Any

from data_prep.text import counted
from ser_sweep.commands.arguments import DONE, FAILED, GRID_DATA_STORE, add_command, of_grid, of_place, quietly
from ser_sweep.commands.sweeps import estimate_missing, open_sweep
from ser_sweep.commands.terminal import notice, print_failures


def add(commands: Any) -> None:
    add_command(
        commands,
        "run",
        run_sweep,
        "train what a grid misses in its store",
        f"ser-sweep run {GRID_DATA_STORE}",
        of_grid(),
        of_place(),
        quietly(),
    )


def run_sweep(options: argparse.Namespace) -> int:
    from sweep.planning.cost import estimate_beside_truth
    from sweep.running.launch import launch

    sweep = open_sweep(options)
    damaged = sweep.store.damaged(sorted(sweep.plan.done))
    if damaged:
        notice(options, f"notice: {counted(len(damaged), 'damaged stage')} to be trained again: {', '.join(damaged)}")
        records = [record for record in sweep.records if record["key"] not in damaged]
        sweep = replace(sweep, plan=sweep.plan.without(damaged), records=records)
    sweep.store.discard_leftovers(sweep.plan.done)
    estimated = estimate_missing(sweep)
    for told in estimated.untaught:
        notice(options, f"notice: {told}")
    outcome = launch(
        sweep.plan,
        sweep.prepared,
        sweep.store,
        sweep.grid,
        inline=options.inline,
        address=options.address,
        quiet=options.quiet,
        expected=None if estimated.unknown else estimated.seconds,
    )
    if outcome.interrupted:
        raise KeyboardInterrupt
    stages = open_sweep(options).plan.counts()
    reused = len(sweep.plan.done)
    gone = reused + outcome.trained - stages["done"]
    if gone > 0:
        print(
            f"{counted(gone, 'stage')} of those that were there or were trained are gone from {options.store}",
            file=sys.stderr,
        )
    total = counted(stages["total"], "stage")
    print(f"{stages['done']} of {total} done: {outcome.trained} trained, {reused} were there before")
    if outcome.trained:
        print(estimate_beside_truth(estimated, outcome.training_seconds, outcome.seconds, outcome.slots))
    print_failures(outcome.failures)
    return DONE if stages["done"] == stages["total"] else FAILED
