"""Figures of a sweep's results.

ser-sweep figures GRID.yaml --data DATA --store STORE --out FIGURES --utterance 03a01Fa
"""

import argparse
from collections.abc import Collection, Iterator
from typing import Any

from data_prep.text import counted, plain
from ser_sweep.commands.arguments import (
    add_command,
    of_decisions,
    of_shown_results,
    of_utterances,
    path,
    quietly,
)
from ser_sweep.commands.sweeps import decided, opened
from ser_sweep.commands.terminal import progress_bar, warnings_told
from ser_sweep.sweeps import Sweep


def add(commands: Any) -> None:
    figures = add_command(
        commands,
        "figures",
        run_figures,
        "draw recall by class, contours, learning curves and more, as PNG and SVG",
        of_shown_results,
        of_decisions,
        of_utterances,
        quietly,
    )
    figures.add_argument("--out", type=path, required=True, metavar="DIR", help="folder to write figures to")
    figures.add_argument(
        "--format", nargs="+", choices=["png", "svg"], default=["png", "svg"], help="file formats (default: png svg)"
    )


def run_figures(options: argparse.Namespace) -> None:
    sweep = opened(options)
    decided(options, sweep, options.forests)
    with warnings_told(options), progress_bar(options) as progress:
        saved = sweep.figures(
            options.out, options.utterance, options.format, forests=options.forests, progress=progress
        )
    print(plain(f"{counted(len(saved), 'figure')} in {options.out}, described in {options.out / 'index.json'}"))
    for told in settings_told(sweep, {one["kind"] for one in saved}):
        print(plain(told))


def settings_told(sweep: Sweep, drawn: Collection[str]) -> Iterator[str]:
    """Of a grid with several settings, which one is drawn where it is one, and why there is no thinning curve."""
    from analysis.figures.thinning import EVERY, THINNING

    fields = sweep.settings.fields
    if fields:
        yield f"setting {sweep.shown.text} ({sweep.why_shown}): what figures of one setting show"
    others = [field for field in fields if field != EVERY]
    if EVERY in fields and others and THINNING not in drawn:
        yield f"no thinning curve: settings differ in {', '.join(others)}, too, not in {EVERY} alone"
