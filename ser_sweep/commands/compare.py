"""Two sweeps side by side.

ser-sweep compare A.yaml B.yaml --data DATA --store STORE
ser-sweep compare A.yaml A.yaml --data DATA --store STORE --other-store OTHER
"""

import argparse
import json
from typing import Any

from ser_sweep.commands.arguments import DONE, add_command, path, quietly
from ser_sweep.commands.sweeps import decided
from ser_sweep.commands.terminal import ProgressBar
from ser_sweep.sweeps import open_sweep


def add(commands: Any) -> None:
    compare = add_command(
        commands,
        "compare",
        run_compare,
        "compare the networks of two sweeps by paired tests on the same utterances",
        "ser-sweep compare A.yaml B.yaml --data DATA --store STORE\n"
        "ser-sweep compare A.yaml A.yaml --data DATA --store STORE --other-store OTHER --json",
        quietly(),
    )
    compare.add_argument("grids", type=path, nargs=2, metavar="GRID.yaml", help="the grid files of A and of B")
    compare.add_argument("--data", required=True, help="folder of prepared corpora: a path or an address")
    compare.add_argument(
        "--store", required=True, help="stage store: a folder or an address such as s3://bucket/folder"
    )
    compare.add_argument("--other-data", metavar="DATA", help="of sweep B (default: that of A)")
    compare.add_argument("--other-store", metavar="STORE", help="of sweep B (default: that of A)")
    compare.add_argument("--no-forests", action="store_true", help="use mean pooling only, for a quick look")
    compare.add_argument("--json", action="store_true", help="print one JSON object")


def run_compare(options: argparse.Namespace) -> int:
    first, second = options.grids
    sweeps = (
        open_sweep(first, options.data, options.store),
        open_sweep(second, options.other_data or options.data, options.other_store or options.store),
    )
    decisions = [decided(options, one, forests=not options.no_forests) for one in sweeps]
    from analysis.sweep_comparison import compare_sweeps, compared_records, compared_text

    with ProgressBar(options) as progress:
        progress("intervals and tests", 0, None)
        compared = compare_sweeps(*decisions)
    if options.json:
        places = [{"grid": str(one.grid_file), "data": one.data, "store": one.place} for one in sweeps]
        about = {"sweeps": places, "differ": compared.differ, "comparisons": compared_records(compared)}
        print(json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False))
        return DONE
    for name, one in zip("AB", sweeps, strict=True):
        print(f"{name}  {one.grid_file} in {one.place}")
    print(f"\n{compared_text(compared)}")
    return DONE
