"""How far a sweep is, and what was launched on a store.

ser-sweep status GRID.yaml --data DATA --store STORE --watch
ser-sweep launches --store STORE --price-per-hour 2.50
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from data_prep.text import counted
from ser_sweep.commands.arguments import DONE, FAILED, add_command, count, of_grid, of_store, price
from ser_sweep.commands.sweeps import existing_store, opened
from ser_sweep.commands.terminal import halving_json, print_counts, print_halving
from ser_sweep.sweeps import Sweep

ALONE_SECONDS = 60.0  # that `status --watch` waits for a launch


def add(commands: Any) -> None:
    status = add_command(commands, "status", run_status, "show the progress of a grid, and failures", of_grid)
    status.add_argument("--json", action="store_true", help="print one JSON object")
    status.add_argument("--watch", action="store_true", help="repeat until all is done or no launch runs")
    status.add_argument("--every", type=count, default=5, metavar="SECONDS", help="time between updates (default: 5)")
    launches = add_command(
        commands,
        "launches",
        run_launches,
        "list the launches on a store, with outcome and cost",
        of_store,
    )
    launches.add_argument("--price-per-hour", type=price, help="price of a GPU or, without GPUs, of a trial's CPUs")
    launches.add_argument("--json", action="store_true", help="print a JSON list")


def run_status(options: argparse.Namespace) -> int:
    if options.json:
        sweep = opened(options)
        print(json.dumps({**sweep.due.as_dict(), **halving_json(sweep)}, indent=2))
        return DONE
    if not options.watch:
        _print_status(opened(options))
        return DONE
    from data_prep.text import duration
    from sweep.storage.upkeep import running_launches

    seen, sweep = time.monotonic(), opened(options)
    while True:
        sweep.refresh()
        if sys.stdout.isatty():
            print("\033[H\033[2J", end="")  # to the top of a cleared screen
        _print_status(sweep)
        sys.stdout.flush()
        stages = sweep.due.counts()
        if stages["done"] == stages["total"]:
            return DONE
        if running_launches(sweep.store):
            seen = time.monotonic()
        elif time.monotonic() - seen >= ALONE_SECONDS:
            print(f"no launch has run on this store for {duration(ALONE_SECONDS)}; ser-sweep run goes on with it")
            return FAILED
        time.sleep(options.every)


def _print_status(sweep: Sweep) -> None:
    from data_prep.text import duration
    from sweep.storage.events import launches_of, read_events
    from sweep.storage.upkeep import running_launches

    cells = sweep.plan.progress_by_cell()
    width = max(map(len, cells))
    marks = {} if sweep.halved is None else sweep.halved.marks(sweep.plan)
    for cell, (done, total) in cells.items():
        print(f"{cell:{width}}  {done:4} of {total}{'  ' + marks[cell] if cell in marks else ''}")
    print_counts(sweep.due)
    print_halving(sweep)
    running = running_launches(sweep.store)
    for one in launches_of(read_events(sweep.store.folder, running)):
        print(
            f"running {one.launch} by {one.user} on {one.host}: {one.trained} trained in {duration(one.seconds)}, "
            f"{one.running} running"
        )


def run_launches(options: argparse.Namespace) -> None:
    from sweep.storage.events import launches_of, read_events

    store = existing_store(options)
    store.require_predictions()  # results alone tell of no launch
    launches = launches_of(read_events(store.folder))
    if options.json:
        print(json.dumps([asdict(one) for one in launches], indent=2))
        return
    print(
        f"{'launch':26} {'by':10} {'grid':16} {'trained':>7} {'reused':>6} {'failed':>6} {'hours':>7} {'device-h':>8}"
    )
    for one in launches:
        who, hours, device = one.user[:10], one.seconds / 3600, one.device_seconds / 3600
        print(
            f"{one.launch:26} {who:10} {one.grid[:16]:16} {one.trained:7,} {one.reused:6,} {one.failed:6,} "
            f"{hours:7.2f} {device:8.2f}{'  ' + one.end if one.end else ''}"
        )
    total = sum(one.device_seconds for one in launches) / 3600
    cost = "" if options.price_per_hour is None else f", price {total * options.price_per_hour:,.2f}"
    print(f"{counted(len(launches), 'launch', 'launches')}, {total:,.2f} device-hours in all{cost}")
