"""The paper's tables, from a sweep's results.

ser-sweep tables GRID.yaml --data DATA --store STORE --format latex --out tables.tex
"""

import argparse
from collections.abc import Callable
from typing import Any

from data_prep.files import write_text
from ser_sweep.commands.arguments import add_command, of_decisions, of_shown_results, path, quietly
from ser_sweep.commands.sweeps import decided, opened
from ser_sweep.commands.terminal import notice, progress_bar


def add(commands: Any) -> None:
    tables = add_command(
        commands,
        "tables",
        run_tables,
        "print the paper's Tables I to V beside the published values, and every network beside its baseline",
        of_shown_results,
        of_decisions,
        quietly,
    )
    tables.add_argument("--format", choices=["md", "latex", "csv", "json"], default="md")
    tables.add_argument("--out", type=path, help="write to this file instead of the terminal")
    tables.add_argument(
        "--test-chosen", action="store_true", help="also show the iterations that the test folds would choose"
    )


def run_tables(options: argparse.Namespace) -> None:
    sweep, forests = opened(options), options.forests
    decided(options, sweep, forests)
    from analysis import to_csv, to_json, to_latex, to_markdown

    with progress_bar(options, "intervals and tests"):
        tables = sweep.tables(forests=forests, test_chosen=options.test_chosen)
    render: Callable[..., str] = {"md": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json}[options.format]
    text = render(tables).rstrip()
    if options.out is None:
        print(text)
    else:
        write_text(options.out, text + "\n")
        notice(options, f"wrote {options.out}")
