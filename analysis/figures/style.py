"""How every figure looks: sizes that fit a journal's columns, and series that differ in colour and in grey.

Figures are made with matplotlib's objects alone, without pyplot and its list of open figures. Functions that draw or
save carry the decorator `in_style`.
"""

import math
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.fonts import OWN
from data_prep.text import plain

ONE_COLUMN, TWO_COLUMNS = 3.5, 7.16  # inches, of an IEEE journal
FONT_SIZE = 8.0  # points
SMALL = 7.0
LONGEST_CLASS = 24  # characters
CHARACTERS = 17  # of a title that fit an inch, most of the time

# Okabe and Ito, "Color Universal Design", 2008: told apart with any kind of colour vision; the palest come last.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8F8700")
LINES: tuple[Any, ...] = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//////", "......", "xxxxxx", "------", "\\\\\\\\\\\\", "++++", "oo")
REFERENCE: dict[str, Any] = {"color": "0.45", "linestyle": (0, (4, 2)), "linewidth": 0.9}  # what ours is compared with

STYLE: Any = {
    "font.family": OWN,
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "figure.titlesize": FONT_SIZE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "legend.columnspacing": 1.2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "text.parse_math": False,  # a $ in a name is a $
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ser-dsl-sweep",  # the same names inside the file every time
}

# Whatever the user's matplotlibrc says: figures of the same data are the same files.
NOT_STYLE = {name for name in matplotlib.rcParamsDefault if name.startswith(("backend", "interactive", "toolbar"))}
in_style = matplotlib.rc_context(
    {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in NOT_STYLE} | STYLE
)


def series_style(position: int) -> dict[str, Any]:
    """Colour, line and marker of the series at `position` (0, 1, ...); no two of the first 56 have all three alike."""
    turn = position // len(COLORS)
    return {
        "color": COLORS[position % len(COLORS)],
        "linestyle": LINES[(position + turn) % len(LINES)],
        "marker": MARKERS[(position + turn) % len(MARKERS)],
    }


def bar_style(position: int) -> dict[str, Any]:
    """Colour and hatch of the bars at `position` (0, 1, ...)."""
    turn = position // len(COLORS)
    return {
        "color": COLORS[position % len(COLORS)],
        "hatch": HATCHES[(position + turn) % len(HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.3,
    }


def panels(rows: int, columns: int, panel_height: float, width: float, title: str, **shared: Any) -> tuple[Figure, Any]:
    """A figure and its axes [rows, columns]; `panel_height` and `width` in inches, room for the title comes on top.

    Each line of `title` is wrapped to the width.
    """
    lines = [part for line in title.split("\n") for part in _wrapped(line, width)]
    height = rows * panel_height + 0.14 * len(lines)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle("\n".join(lines), x=0.02, horizontalalignment="left", linespacing=1.15)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def finish_panels(grid: Any, drawn: int, label: str) -> None:
    """Take the axes [rows, columns] away that come after those that were `drawn`; a `label` for the y axis of rows."""
    for axes in grid.flat[drawn:]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(label)


def _wrapped(line: str, width: float) -> list[str]:
    """`line` in parts that fit `width` inches."""
    return textwrap.wrap(line, max(1, int(width * CHARACTERS * len(line) / max(1, characters(line)))))


def characters(text: str) -> int:
    """How many characters wide `text` is; one of East Asian width is as wide as two others."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend below the axes, in as many columns as fit; the figure grows by it, so that the axes keep their size."""
    columns = _legend_columns(labels, figure.get_figwidth() * 72)
    rows = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + 0.05 + 0.14 * rows)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, borderaxespad=0.2)


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """In how many columns `labels` fit `width` points, filled evenly and top to bottom as matplotlib does."""
    for rows in range(1, len(labels)):
        columns = [labels[first : first + rows] for first in range(0, len(labels), rows)]
        if sum(max(map(len, column)) * 0.57 * SMALL + 5 * SMALL for column in columns) <= width:
            return len(columns)
    return 1


def class_name(name: str) -> str:
    """A class as an axis or a legend has room for it: of a long name the beginning and the end."""
    name, half = plain(name), LONGEST_CLASS // 2
    return name if len(name) <= LONGEST_CLASS else f"{name[:half]}…{name[1 - half :]}"


def name_classes(axes: Axes, classes: Sequence[str]) -> None:
    """Classes as labels of the x axis at 0, 1, ...; they lean where side by side they would overlap.

    The figure then grows by what that takes.
    """
    names = list(map(class_name, classes))
    axes.set_xticks(range(len(names)), names)
    longest = max(map(len, names)) * 0.57 * SMALL / 72  # inches
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    if longest * len(names) > 0.85 * figure.get_figwidth():
        for label in axes.get_xticklabels():
            label.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")
        figure.set_figheight(figure.get_figheight() + math.sin(math.radians(35)) * longest)


def whole_numbers(axes: Axes, last: int, first: int = 0) -> None:
    """Ticks of the x axis at whole numbers only, at most ten of them."""
    step = max(1, math.ceil((last - first) / 9))
    axes.set_xticks(range(first, last + 1, step))
