"""Train what a grid misses.

ser-sweep run GRID.yaml --data DATA --store STORE --max-hours 8
"""

import argparse
import sys
from typing import Any

from data_prep.text import command, counted
from ser_sweep.commands.arguments import (
    DONE,
    FAILED,
    LIMITED,
    add_command,
    amount,
    count,
    of_grid,
    of_place,
    quietly,
)
from ser_sweep.commands.sweeps import opened
from ser_sweep.commands.terminal import notice, print_failures


def add(commands: Any) -> None:
    run = add_command(
        commands,
        "run",
        run_sweep,
        "train the stages of a grid that its store does not have",
        of_grid,
        of_place,
        quietly,
    )
    limits = run.add_argument_group(
        "limits",
        "No trial is issued that would not fit a limit, by what such trials took so far.\nThose under way come to "
        f"their ends. If something is left, the exit status is {LIMITED}, and\nthe same command goes on.",
    )
    limits.add_argument("--max-hours", type=amount, metavar="H", help="hours that this launch takes")
    limits.add_argument("--max-price", type=amount, metavar="P", help="price of its device-hours")
    limits.add_argument(
        "--price-per-hour", type=amount, metavar="P", help="price of a GPU or, without GPUs, of a trial's CPUs"
    )
    limits.add_argument("--max-trials", type=count, metavar="N", help="trials that it issues")


def run_sweep(options: argparse.Namespace) -> int:
    from sweep.planning.cost import estimate_beside_truth

    def told(text: str) -> None:
        notice(options, text)

    ran = opened(options).run(
        inline=options.inline,
        address=options.address,
        quiet=options.quiet,
        max_hours=options.max_hours,
        max_price=options.max_price,
        price_per_hour=options.price_per_hour,
        max_trials=options.max_trials,
        notice=told,
    )
    outcome = ran.outcome
    if ran.gone:
        print(
            f"{counted(ran.gone, 'stage')} that were there or were trained are gone from {options.store}",
            file=sys.stderr,
        )
    total = counted(ran.total, "stage")
    print(f"{ran.done} of {total} done: {outcome.trained} trained, {ran.before} were there before")
    if outcome.trained:
        print(estimate_beside_truth(ran.estimate, outcome.training_seconds, outcome.seconds, outcome.slots))
    print_failures(outcome.failures)
    if ran.done == ran.total:
        return DONE
    if outcome.limited is None or ran.gone:
        return FAILED
    print(f"{outcome.limited.text(outcome.slots)}. Go on with the same command:\n  {command(*sys.argv[1:])}")
    return FAILED if outcome.failures else LIMITED
