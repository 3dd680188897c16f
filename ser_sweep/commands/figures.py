"""Figures of a sweep's results.

ser-sweep figures GRID.yaml --data DATA --store STORE --out FIGURES
"""

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from data_prep.text import counted, plain
from ser_sweep.commands.arguments import DONE, GRID_DATA_STORE, add_command, of_results, of_utterances, path, quietly
from ser_sweep.commands.sweeps import open_decided
from ser_sweep.commands.terminal import Progress, ProgressBar, warnings_told

if TYPE_CHECKING:
    from analysis.figures import Drawing


def add(commands: Any) -> None:
    figures = add_command(
        commands,
        "figures",
        run_figures,
        "recall by class, contours, learning curves and what else there is to see, as PNG and SVG",
        f"ser-sweep figures {GRID_DATA_STORE} --out FIGURES --utterance 03a01Fa",
        of_results(),
        of_utterances(),
        quietly(),
    )
    figures.add_argument("--out", type=path, required=True, metavar="DIR", help="folder to write figures to")
    figures.add_argument(
        "--format", nargs="+", choices=["png", "svg"], default=["png", "svg"], help="(default: png svg)"
    )


def run_figures(options: argparse.Namespace) -> int:
    sweep, decisions = open_decided(options)
    from analysis.figures import figures_of, save_figures

    drawings = figures_of(sweep.store, sweep.plan.chains, decisions, options.utterance)
    with warnings_told(options), ProgressBar(options) as progress:
        saved = save_figures(_counted(drawings, progress), options.out, options.format)
    print(plain(f"{counted(len(saved), 'figure')} in {options.out}, described in {options.out / 'index.json'}"))
    return DONE


def _counted(drawings: Iterable["Drawing"], progress: Progress) -> Iterator["Drawing"]:
    """The drawings, each told of when it is saved; how many there will be shows at the end."""
    for number, drawing in enumerate(drawings):
        progress("figures", number, None)
        yield drawing
