"""A page of all that a sweep came to.

ser-sweep report GRID.yaml --data DATA --store STORE --out REPORT --watch
"""

import argparse
import time
from typing import TYPE_CHECKING, Any

from data_prep.text import counted, plain
from ser_sweep.commands.arguments import (
    add_command,
    count,
    of_decisions,
    of_shown_results,
    of_utterances,
    path,
    price,
    quietly,
)
from ser_sweep.commands.sweeps import opened
from ser_sweep.commands.terminal import progress_bar, warnings_told
from ser_sweep.sweeps import Sweep

if TYPE_CHECKING:
    from analysis.report import Report


def add(commands: Any) -> None:
    report = add_command(
        commands,
        "report",
        run_report,
        "write one page with all results so far: tables, figures, claims, costs, and how to reproduce them",
        of_shown_results,
        of_decisions,
        of_utterances,
        quietly,
    )
    report.add_argument("--out", type=path, required=True, metavar="DIR", help="folder for index.html and its files")
    report.add_argument("--price-per-hour", type=price, help="price of a GPU or, without GPUs, of a trial's CPUs")
    report.add_argument("--watch", action="store_true", help="rewrite the page whenever a stage is done, until all are")
    report.add_argument("--every", type=count, default=30, metavar="SECONDS", help="time between updates (default: 30)")


def run_report(options: argparse.Namespace) -> None:
    with progress_bar(options, "reading the store"):
        sweep = opened(options)
        plan = sweep.due
    if not options.watch:
        _say(_write(options, sweep), options)
        return
    seen = None
    try:
        while len(plan.done) < len(plan.stages):
            state = plan.done, frozenset(plan.failed)
            if state != seen:
                _say(_write(options, sweep, refresh=options.every), options)
                seen = state
            time.sleep(options.every)
            sweep.refresh()
            plan = sweep.due
    finally:  # interrupted or not, the page is left as one that nothing writes again
        _say(_write(options, sweep), options)


def _write(options: argparse.Namespace, sweep: Sweep, refresh: int | None = None) -> "Report":
    with warnings_told(options), progress_bar(options) as progress:
        return sweep.report(
            options.out,
            options.utterance,
            forests=options.forests,
            price_per_hour=options.price_per_hour,
            refresh=refresh,
            progress=progress,
        )


def _say(report: "Report", options: argparse.Namespace) -> None:
    print(f"{report.done} of {counted(report.total, 'stage')}: {plain(options.out / 'index.html')}", flush=True)
