"""A page of all that a sweep came to.

ser-sweep report GRID.yaml --data DATA --store STORE --out REPORT
ser-sweep report GRID.yaml --data DATA --store STORE --out REPORT --watch
"""

import argparse
import time
from typing import TYPE_CHECKING, Any

from data_prep.text import counted, plain
from ser_sweep.commands.arguments import (
    DONE,
    GRID_DATA_STORE,
    add_command,
    count,
    of_results,
    of_utterances,
    path,
    price,
    quietly,
)
from ser_sweep.commands.sweeps import Sweep, open_sweep
from ser_sweep.commands.terminal import ProgressBar, warnings_told

if TYPE_CHECKING:
    from analysis.report import Report, ReportInput


def add(commands: Any) -> None:
    report = add_command(
        commands,
        "report",
        run_report,
        "one page of all that a sweep came to so far: tables, figures, claims, costs, and how to make it again",
        f"ser-sweep report {GRID_DATA_STORE} --out REPORT --watch",
        of_results(),
        of_utterances(),
        quietly(),
    )
    report.add_argument("--out", type=path, required=True, metavar="DIR", help="folder for index.html and its files")
    report.add_argument("--no-forests", action="store_true", help="mean pooling only, for a quick look")
    report.add_argument("--price-per-hour", type=price, help="of a device: a GPU, or without any the CPUs of a trial")
    report.add_argument("--watch", action="store_true", help="write it again whenever a stage is done, until all are")
    report.add_argument("--every", type=count, default=30, metavar="SECONDS", help="between looks (default: 30)")


def run_report(options: argparse.Namespace) -> int:
    with ProgressBar(options) as progress:
        progress("reading the store", 0, None)
        sweep = open_sweep(options)
    if not options.watch:
        _say(_write(options, sweep), options)
        return DONE
    seen = None
    try:
        while len(sweep.plan.done) < len(sweep.plan.stages):
            state = sweep.plan.done, frozenset(sweep.plan.failed)
            if state != seen:
                _say(_write(options, sweep, refresh=options.every), options)
                seen = state
            time.sleep(options.every)
            sweep = open_sweep(options)
    finally:  # interrupted or not, the page is left as one that nothing writes again
        _say(_write(options, sweep), options)
    return DONE


def _write(options: argparse.Namespace, sweep: Sweep, refresh: int | None = None) -> "Report":
    from analysis.report import write_report

    with warnings_told(options), ProgressBar(options) as progress:
        return write_report(
            _source(options, sweep),
            options.out,
            options.utterance,
            price_per_hour=options.price_per_hour,
            refresh=refresh,
            progress=progress,
        )


def _source(options: argparse.Namespace, sweep: Sweep) -> "ReportInput":
    from analysis.report import Place, ReportInput

    return ReportInput(
        name=sweep.grid.name,
        settings=sweep.grid.model_dump(mode="json"),
        text=options.grid.read_text(encoding="utf-8"),
        place=Place(*map(plain, (options.grid, options.data, options.store, options.out))),
        plan=sweep.plan,
        corpora=tuple(sweep.prepared.values()),
        store=sweep.store,
        records=sweep.records,
        **({"forest_seeds": 0} if options.no_forests else {}),
    )


def _say(report: "Report", options: argparse.Namespace) -> None:
    print(f"{report.done} of {counted(report.total, 'stage')}: {plain(options.out / 'index.html')}", flush=True)
