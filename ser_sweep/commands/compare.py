"""Two sweeps side by side, or two settings of one.

ser-sweep compare A.yaml B.yaml --data DATA --store STORE
ser-sweep compare A.yaml A.yaml --data DATA --store STORE --other-store OTHER --json
ser-sweep compare A.yaml --data DATA --store STORE --setting epochs=8 --other-setting epochs=12
ser-sweep compare --from RESULTS --other-from OTHER
"""

import argparse
import json
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from ser_sweep.commands.arguments import add_command, add_setting, of_decisions, of_place_or_results, path, quietly
from ser_sweep.commands.sweeps import decided, open_given, values_by_field
from ser_sweep.commands.terminal import progress_bar
from ser_sweep.sweeps import Sweep

Given = dict[str, str | Path | None]  # what a grid, data and a store are asked for by -> what was given


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
        "grids", type=path, nargs="*", metavar="GRID.yaml", help="the grid files of A and of B, or one of both"
    )
    of_place_or_results(compare)
    compare.add_argument("--other-data", metavar="DATA", help="of sweep B (default: that of A)")
    compare.add_argument("--other-store", metavar="STORE", help="of sweep B (default: that of A)")
    help = "folder written by store export --decisions, as sweep B"
    compare.add_argument("--other-from", dest="other_results", type=path, metavar="RESULTS", help=help)
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
    given, other, other_results = _told(options)
    first = open_given(given, "--from", options.results)
    same = (list(other.values()), other_results) == (list(given.values()), options.results)
    second = first if same else open_given(other, "--other-from", other_results)
    if options.setting:
        first = first.at(values_by_field("--setting", options.setting))
    if options.other_setting:
        second = second.at(values_by_field("--other-setting", options.other_setting))
        if same and first.shown == second.shown:
            raise UserError(f"A and B are both of the setting {first.shown.text}: give another --other-setting")
    kind = options.intervals or first.intervals
    return first.with_intervals(kind), second.with_intervals(kind)


def _told(options: argparse.Namespace) -> tuple[Given, Given, Path | None]:
    """Grid, data and store of A and of B, and the results that B is of: what is not told of B is as of A.

    A sweep of results takes no grid file, except one too many, which is refused where it is opened.
    """
    grids, results, other_results = options.grids, options.results, options.other_results
    if len(grids) > 2:
        raise UserError(f"compare takes one grid file or two, not {len(grids)}")
    others = (options.other_data, options.other_store, options.other_setting, other_results, results and grids)
    if len(grids) < 2 and not any(others):
        raise UserError(
            "compare has one sweep only: give another grid file, --other-store, --other-from or --other-setting"
        )
    too_many = len(grids) > 2 - bool(results) - bool(other_results)
    of_first = grids[0] if grids and (too_many or not results) else None
    of_second = grids[-1] if grids and not (other_results and (len(grids) < 2 or results)) else None
    given = {"GRID.yaml": of_first, "--data": options.data, "--store": options.store}
    other = {"GRID.yaml": of_second, "--other-data": options.other_data, "--other-store": options.other_store}
    if results is None and other_results is None:
        other = {name: told or as_first for (name, told), as_first in zip(other.items(), given.values(), strict=True)}
    if not any(other.values()):
        other_results = other_results or results
    return given, other, other_results


def _place(sweep: Sweep) -> dict[str, Any]:
    setting = {"setting": sweep.shown.by_field} if sweep.settings.fields else {}
    return {"grid": str(sweep.grid_file), "data": sweep.data, "store": sweep.place, **setting}
