"""Which setting and network of a grid is the best, by validation alone.

ser-sweep best GRID.yaml --data DATA --store STORE
ser-sweep best GRID.yaml --data DATA --store STORE --write BEST.yaml
ser-sweep best --from RESULTS
"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError
from data_prep.files import write_new
from data_prep.text import command
from ser_sweep.commands.arguments import (
    add_command,
    count,
    of_decisions,
    of_results,
    path,
    quietly,
)
from ser_sweep.commands.sweeps import opened
from ser_sweep.commands.terminal import notice, progress_bar
from ser_sweep.sweeps import Sweep

if TYPE_CHECKING:
    from analysis.scoring.ranking import Ranking


def add(commands: Any) -> None:
    best = add_command(
        commands,
        "best",
        run_best,
        "rank the settings and networks of a grid by their rate on validation utterances, which alone chooses",
        of_results,
        of_decisions,
        quietly,
    )
    best.add_argument("--top", type=count, default=10, metavar="N", help="rows to show (default: 10)")
    best.add_argument("--json", action="store_true", help="print one JSON object")
    best.add_argument(
        "--write", type=path, metavar="FILE.yaml", help="write a grid file of what is chosen, to go on from"
    )


def run_best(options: argparse.Namespace) -> None:
    sweep, forests = opened(options), options.forests
    with progress_bar(options, "reading the store") as progress:
        rankings = sweep.best(forests=forests, progress=progress)
    from analysis import to_markdown
    from analysis.tables.settings_tables import ranking_listings, ranking_record

    by = sweep.by_setting(forests=forests)
    written = _write(options, sweep, rankings) if options.write else None
    if options.json:
        about = {"grid": str(sweep.grid_file), "fields": by.fields, "written": written and str(options.write)}
        records = [ranking_record(one, options.top) for one in rankings]
        print(json.dumps({**about, "rankings": records}, indent=2, ensure_ascii=False, allow_nan=False))
        return
    print(to_markdown(ranking_listings(by, options.top)))
    for one in rankings:
        print(f"{_where(one)}: {one.chosen.name if one.chosen else 'nothing can be chosen'}")
    if written:
        print(f"go on with: {written}")


def _where(ranking: "Ranking") -> str:
    from analysis.identity import corpus_name

    return f"{corpus_name(ranking.condition.corpus)}, {ranking.condition.split} split"


def _write(options: argparse.Namespace, sweep: Sweep, rankings: "list[Ranking]") -> str:
    """Write the grid of what is chosen; returns the command that goes on with it. Raises UserError where another file
    is in its place."""
    data, store = ("DATA", "STORE") if options.results else (sweep.data, sweep.place)
    go_on = command("run", options.write, "--data", data, "--store", store)
    file, text = options.write, sweep.best_grid(rankings, [f"  {go_on}"])
    another = UserError(f"{file} is there already, and another one than would be written; give another --write")
    notice(options, f"{'wrote' if write_new(file, text, another) else 'unchanged:'} {file}")
    return go_on
