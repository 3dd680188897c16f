"""Figures of what networks do: contours along an utterance, confusions of classes, and learning curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import columns
from analysis.figures.style import (
    ONE_COLUMN,
    TWO_COLUMNS,
    class_name,
    finish_panels,
    in_style,
    legend_below,
    name_classes,
    panels,
    series_style,
    whole_numbers,
)
from data_prep.arrays import Floats

RUN, EPOCH, LOSS, VALIDATION_LOSS = "run", "epoch", "loss", "validation_loss"  # columns of a history
PANELS_IN_A_COLUMN = 6  # above one another; more go side by side
SEGMENTS_OF_ONE_COLUMN = 200
CLASSES_OF_ONE_COLUMN = 8
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    LOSS: ("training, mean", series_style(0)),
    VALIDATION_LOSS: ("validation, mean", series_style(1)),
}
MEAN: dict[str, Any] = {"linewidth": 1.6}


@in_style
def draw_contours(
    seconds: Floats,
    probabilities: Mapping[int, Floats],
    classes: Sequence[str],
    label: int,
    title: str,
    label_is: str = "label",
) -> Figure:
    """The predicted probability of each class along an utterance, a panel an iteration, as in Figures 1 and 3-6.

    `seconds` [S] says where in the utterance each segment has its centre, `probabilities` maps an iteration to its
    predictions [S, K], and `label` is the utterance's class, which is drawn thicker; `label_is` says in the legend how
    that is known.
    """
    across = 1 if len(probabilities) <= PANELS_IN_A_COLUMN else 2
    width = ONE_COLUMN if across == 1 and len(seconds) <= SEGMENTS_OF_ONE_COLUMN else TWO_COLUMNS
    figure, grid = panels(math.ceil(len(probabilities) / across), across, 1.15, width, title, sharex=True, sharey=True)
    for axes, (iteration, q) in zip(grid.flat, sorted(probabilities.items()), strict=False):
        _draw_probabilities(axes, seconds, q, [class_name(name) for name in classes], label, label_is)
        axes.set_title(f"Iteration {iteration}", loc="left", pad=2)
    finish_panels(grid, len(probabilities), "Probability")
    for axes in grid.flat[len(probabilities) - across : len(probabilities)]:
        axes.set_xlabel("Centre of segment [s]")
        axes.tick_params(axis="x", labelbottom=True)
    legend_below(figure, *grid[0, 0].get_legend_handles_labels())
    return figure


def _draw_probabilities(
    axes: Axes, seconds: Floats, q: Floats, classes: Sequence[str], label: int, label_is: str
) -> None:
    step = max(1, len(seconds) // 8)  # markers tell lines apart in grey, but one a segment would hide them
    for position, name in enumerate(classes):
        own = position == label
        look = series_style(position) | ({"linestyle": "-", "linewidth": 1.7, "zorder": 3} if own else {})
        axes.plot(
            seconds,
            q[:, position],
            label=f"{name} ({label_is})" if own else name,
            markevery=(position * step // len(classes), step),
            **{"linewidth": 0.7, "zorder": 2, **look},
        )
    axes.set(ylim=(-0.03, 1.03), yticks=(0, 0.5, 1))
    axes.margins(x=0.02)


@in_style
def draw_confusion(counts: Floats, classes: Sequence[str], title: str) -> Figure:
    """How often utterances of one class (rows) were decided to be of another (columns).

    `counts` [K, K] are numbers of utterances, possibly means over seeds. Fields are shaded by their share of the row,
    which stands in them in percent, above the number in small. A class without an utterance has an empty row.
    """
    width = ONE_COLUMN if len(classes) <= CLASSES_OF_ONE_COLUMN else TWO_COLUMNS
    figure, ((axes,),) = panels(1, 1, 0.75 * width, width, title)
    totals = counts.sum(axis=1, keepdims=True)
    share = 100 * np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.argwhere(totals[:, [0] * len(classes)] > 0):
        shade = "white" if share[row, column] > 55 else "black"
        place: dict[str, Any] = {"ha": "center", "color": shade}
        axes.text(column, row, f"{share[row, column]:.0f}", va="bottom", fontsize=6.5, **place)
        axes.text(column, row, _count(counts[row, column]), va="top", fontsize=4.5, **place)
    names = [class_name(name) for name in classes]
    name_classes(axes, classes)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="Decided class", ylabel="Class of the utterance")
    axes.grid(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.85, aspect=25, pad=0.03)
    bar.set_label("Share of the row [%]")
    bar.outline.set_linewidth(0.4)
    return figure


def _count(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


@in_style
def draw_learning_curves(history: pd.DataFrame, title: str) -> Figure:
    """Training and validation loss by epoch, a panel an iteration: each fold thin, and the mean over folds.

    `history` has the columns `iteration`, `run` (which fold of which seed), `epoch`, `loss` and `validation_loss` in
    nats; the last is NaN where there is no validation part, and left out where there is none at all. The mean goes as
    far as all folds do: beyond, it would be of those that were slow to stop.
    """
    known = {column: look for column, look in LOSSES.items() if history[column].notna().any()}
    iterations = sorted(history[columns.ITERATION].unique())
    across = min(len(iterations), 2 if len(iterations) <= 2 else 4)
    width = ONE_COLUMN if across <= 2 else TWO_COLUMNS
    figure, grid = panels(math.ceil(len(iterations) / across), across, 1.8, width, title, sharey=True)
    for axes, iteration in zip(grid.flat, iterations, strict=False):
        own = history[history[columns.ITERATION] == iteration]
        for column, (_, look) in known.items():
            _draw_losses(axes, own.pivot(index=EPOCH, columns=RUN, values=column), look)
        axes.set_title(f"Iteration {iteration}", loc="left", pad=2)
        axes.set_xlabel("Epoch")
        whole_numbers(axes, int(own[EPOCH].max()), first=1)
    finish_panels(grid, len(iterations), "Cross-entropy [nats]")
    handles = [Line2D([], [], **look, **MEAN) for _, look in known.values()]
    handles.append(Line2D([], [], color="0.5", linewidth=0.5))
    legend_below(figure, handles, [*(name for name, _ in known.values()), "one fold"])
    return figure


def _draw_losses(axes: Axes, by_epoch: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """`by_epoch` has a row an epoch and a column a run, NaN after a run's last epoch."""
    for run in by_epoch:
        axes.plot(by_epoch.index, by_epoch[run], linewidth=0.5, alpha=0.45, **(dict(look) | {"marker": ""}))
    mean = by_epoch.dropna().mean(axis=1)
    axes.plot(mean.index, mean, **look, **MEAN)
