"""Two sweeps side by side, or two settings of one.

ser-sweep compare A.yaml B.yaml --data DATA --store STORE
ser-sweep compare A.yaml A.yaml --data DATA --store STORE --other-store OTHER --json
ser-sweep compare A.yaml --data DATA --store STORE --setting epochs=8 --other-setting epochs=12
"""

import argparse
import json
from typing import Any

from data_prep.errors import UserError
from ser_sweep.commands.arguments import add_command, add_setting, of_data, of_decisions, of_store, path, quietly
from ser_sweep.commands.sweeps import decided, values_by_field
from ser_sweep.commands.terminal import progress_bar
from ser_sweep.sweeps import Sweep, open_sweep


def add(commands: Any) -> None:
    compare = add_command(
        commands,
        "compare",
        run_compare,
        "compare the networks of two sweeps, or of two settings of one, by paired tests on the same utterances",
        of_decisions,
        quietly,
    )
    compare.add_argument(
        "grids", type=path, nargs="+", metavar="GRID.yaml", help="the grid files of A and of B, or one of both"
    )
    of_data(compare)
    of_store(compare)
    compare.add_argument("--other-data", metavar="DATA", help="of sweep B (default: that of A)")
    compare.add_argument("--other-store", metavar="STORE", help="of sweep B (default: that of A)")
    add_setting(compare, "--setting", "of a grid with several settings, the one of A")
    add_setting(compare, "--other-setting", "of a grid with several settings, the one of B")
    compare.add_argument("--json", action="store_true", help="print one JSON object")


def run_compare(options: argparse.Namespace) -> None:
    sweeps = _opened(options)
    decisions = [decided(options, one, forests=options.forests) for one in sweeps]
    from analysis.sweep_comparison import compare_sweeps, compared_records, compared_text

    with progress_bar(options) as progress:
        progress("intervals and tests", 0, None)
        compared = compare_sweeps(*decisions)
    if options.json:
        places = [_place(one) for one in sweeps]
        about = {"sweeps": places, "differ": compared.differ, "comparisons": compared_records(compared)}
        print(json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False))
        return
    for name, one in zip("AB", sweeps, strict=True):
        setting = f", {one.shown.text} ({one.why_shown})" if one.settings.fields else ""
        print(f"{name}  {one.grid_file} in {one.place}{setting}")
    print(f"\n{compared_text(compared)}")


def _opened(options: argparse.Namespace) -> tuple[Sweep, Sweep]:
    """A and B. Raises UserError where they are the same, or more than two grids are given."""
    if len(options.grids) > 2:
        raise UserError(f"compare takes one grid file or two, not {len(options.grids)}")
    others = (options.other_data, options.other_store, options.other_setting)
    if len(options.grids) == 1 and not any(others):
        raise UserError("compare has one sweep only: give another grid file, --other-store or --other-setting")
    place = options.grids[0], options.data, options.store
    other = options.grids[-1], options.other_data or options.data, options.other_store or options.store
    first = open_sweep(*place)
    second = first if other == place else open_sweep(*other)
    if options.setting:
        first = first.at(values_by_field("--setting", options.setting))
    if options.other_setting:
        second = second.at(values_by_field("--other-setting", options.other_setting))
        if other == place and first.shown == second.shown:
            raise UserError(f"A and B are both of the setting {first.shown.text}: give another --other-setting")
    kind = options.intervals or first.intervals
    return first.with_intervals(kind), second.with_intervals(kind)


def _place(sweep: Sweep) -> dict[str, Any]:
    setting = {"setting": sweep.shown.by_field} if sweep.settings.fields else {}
    return {"grid": str(sweep.grid_file), "data": sweep.data, "store": sweep.place, **setting}
