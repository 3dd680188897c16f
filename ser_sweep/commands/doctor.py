"""Whether this machine, a store and prepared data are as a sweep needs them.

ser-sweep doctor --store STORE --data DATA --ray
ser-sweep doctor --store STORE --data DATA --address auto
"""

import argparse
import json
from dataclasses import asdict
from typing import Any

from data_prep.text import counted
from ser_sweep.commands.arguments import DONE, FAILED, add_command, quietly
from ser_sweep.commands.terminal import painted, progress_bar


def add(commands: Any) -> None:
    doctor = add_command(
        commands,
        "doctor",
        run_doctor,
        "check versions, devices, Ray, a store and data, and say what to correct (exit status 1 if anything)",
        quietly,
    )
    doctor.add_argument("--store", help="stage store to check: a folder or an address such as s3://bucket/folder")
    doctor.add_argument("--data", help="folder of prepared corpora to check: a path or an address")
    doctor.add_argument("--ray", action="store_true", help="also start and stop Ray on this machine")
    doctor.add_argument("--address", help="address of a Ray cluster, or auto: also check each of its nodes")
    doctor.add_argument("--json", action="store_true", help="print a JSON list")


def run_doctor(options: argparse.Namespace) -> int:
    with progress_bar(options, "looking at this machine") as progress:
        from ser_sweep.checks import CheckResult, State
        from ser_sweep.doctor import examine

    colors = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "red"}
    results = examine(options.store, options.data, options.ray, options.address, lambda what: progress(what, 0, None))
    found: list[CheckResult] = []
    while True:
        with progress_bar(options) as progress:  # gone before anything is printed
            one = next(results, None)
        if one is None:
            break
        found.append(one)
        if not options.json:
            print(f"{painted(f'{one.state:8}', colors[one.state])} {one.what:18} {one.said}", flush=True)
            if one.remedy:
                print(f"{'':27} -> {one.remedy}", flush=True)
    problems = sum(one.state is State.PROBLEM for one in found)
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        warnings = sum(one.state is State.WARNING for one in found)
        print(f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}")
    return FAILED if problems else DONE
