"""Train what a grid misses.

ser-sweep run GRID.yaml --data DATA --store STORE
"""

import argparse
import sys
from typing import Any

from data_prep.text import counted
from ser_sweep.commands.arguments import DONE, FAILED, GRID_DATA_STORE, add_command, of_grid, of_place, quietly
from ser_sweep.commands.sweeps import opened
from ser_sweep.commands.terminal import notice, print_failures


def add(commands: Any) -> None:
    add_command(
        commands,
        "run",
        run_sweep,
        "train the stages of a grid that its store does not have",
        f"ser-sweep run {GRID_DATA_STORE}",
        of_grid(),
        of_place(),
        quietly(),
    )


def run_sweep(options: argparse.Namespace) -> int:
    from sweep.planning.cost import estimate_beside_truth

    def told(text: str) -> None:
        notice(options, text)

    ran = opened(options).run(inline=options.inline, address=options.address, quiet=options.quiet, notice=told)
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
    return DONE if ran.done == ran.total else FAILED
