"""Figures of recognition rates: recall by class, the alpha curve, label sources, and label correction."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import columns
from analysis.figures.style import (
    ONE_COLUMN,
    REFERENCE,
    TWO_COLUMNS,
    bar_style,
    in_style,
    legend_below,
    name_classes,
    panels,
    series_style,
    whole_numbers,
)
from analysis.identity import source_name, source_order
from analysis.paper.methods import Method
from data_prep.arrays import Floats
from data_prep.text import plain
from dsl.labels import LEAKY_LABEL_SOURCES

SERIES, KIND = "series", "kind"  # columns of alpha curves: what a point belongs to, and as what
TRAINED, CONTROL, PUBLISHED = "trained", "retraining control", "published"  # kinds
BESIDE = 0.015  # of alpha, from one series to the next
METRICS = {columns.WA: "WA [%]", columns.UA: "UA [%]"}
BARS_OF_ONE_COLUMN = 24


@in_style
def draw_class_recall(lines: pd.DataFrame, classes: Sequence[str], title: str) -> Figure:
    """Bars of the recall of each class by method, as in Figures 7-9.

    `lines` has one row a method, in the order to draw: `rule`, `alpha` and `recall`, a list of [classes] values in
    percent, NaN for a class without an utterance.
    """
    recall = np.array(lines[columns.RECALL].tolist(), dtype=float)
    names = [Method(*key).name for key in zip(lines[columns.RULE], lines[columns.ALPHA], strict=True)]
    width = ONE_COLUMN if recall.size <= BARS_OF_ONE_COLUMN else TWO_COLUMNS
    figure, ((axes,),) = panels(1, 1, 1.9, width, title)
    thickness = 0.82 / len(names)
    for position, (name, values) in enumerate(zip(names, recall, strict=True)):
        x = np.arange(len(classes)) + (position - (len(names) - 1) / 2) * thickness
        axes.bar(x, values, thickness, label=plain(name), **bar_style(position))
    name_classes(axes, classes)
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.6, len(classes) - 0.4), ylim=(0, 100), xlabel="Class", ylabel="Recall [%]")
    legend_below(figure, *axes.get_legend_handles_labels())
    return figure


@in_style
def draw_alpha_curve(points: pd.DataFrame, title: str) -> Figure:
    """WA and UA by the weight alpha (Table IV), with intervals where they are known.

    Points of different series at one alpha are drawn side by side, so that their intervals can be told apart.

    `points` has the columns `series`, `kind`, `alpha` (a number), `wa`, `ua` in percent, and `wa_low`, `wa_high`,
    `ua_low`, `ua_high`, which may be NaN or missing. Points of the kind PUBLISHED are drawn as what ours is compared
    with, those of the kind CONTROL, fresh networks on the inherited labels, as single points beside their series.
    """
    figure, rows = panels(2, 1, 1.5, ONE_COLUMN, title, sharex=True, sharey=True)
    for axes, (metric, label) in zip(rows[:, 0], METRICS.items(), strict=True):
        curves = list(dict.fromkeys(points[SERIES]))
        for (series, kind), line in points.groupby([SERIES, KIND], sort=False):
            _draw_series(axes, str(series), str(kind), curves.index(series), line.sort_values(columns.ALPHA), metric)
        axes.set(ylabel=label, xticks=np.arange(0, 1.01, 0.1), xlim=(-0.04, 1.08))
    rows[-1, 0].set_xlabel("Weight α of the inherited label (0: BDSL, 1: no DSL)")
    legend_below(figure, *rows[0, 0].get_legend_handles_labels())
    return figure


def series_name(series: str, kind: str) -> str:
    """A series as a legend calls it."""
    return f"{series}, {kind}" if kind == CONTROL else series


def _draw_series(axes: Axes, series: str, kind: str, position: int, line: pd.DataFrame, metric: str) -> None:
    alpha, value = line[columns.ALPHA].to_numpy(float), line[metric].to_numpy(float)
    look = series_style(position)
    if kind == PUBLISHED:
        look |= REFERENCE
    else:
        alpha = alpha + BESIDE * position
    if kind == CONTROL:
        look |= {"linestyle": "none", "markerfacecolor": "none"}
        alpha = alpha + 2 * BESIDE
    axes.plot(alpha, value, label=plain(series_name(series, kind)), **look)
    draw_intervals(axes, alpha, line, metric, look["color"])


def draw_intervals(axes: Axes, x: Floats, line: pd.DataFrame, metric: str, color: str) -> None:
    """From low to high of `metric` at places `x`, where `line` has them."""
    value, low, high = line[metric].to_numpy(float), f"{metric}_low", f"{metric}_high"
    if {low, high} <= set(line.columns) and line[[low, high]].notna().to_numpy().any():
        reach = np.array([value - line[low], line[high] - value], dtype=float)
        axes.errorbar(x, value, reach.clip(min=0), fmt="none", ecolor=color, elinewidth=0.7, capsize=1.5)


@in_style
def draw_label_sources(lines: pd.DataFrame, title: str, chance: float | None = None) -> Figure:
    """WA and UA by iteration, a line for each label source; those that leak test labels are dashed and named so.

    `lines` has the columns `label_source`, `iteration`, `wa` and `ua` in percent, with iteration 0 once for each.
    `chance` is the UA of guessing, in percent, to be drawn beside.
    """
    figure, ((left, right),) = panels(1, 2, 1.9, ONE_COLUMN, title, sharey=True)
    for axes, (metric, label) in zip((left, right), METRICS.items(), strict=True):
        for position, source in enumerate(source_order(lines[columns.LABEL_SOURCE])):
            line = lines[lines[columns.LABEL_SOURCE] == source].sort_values(columns.ITERATION)
            look = series_style(position) | {"linestyle": "--" if source in LEAKY_LABEL_SOURCES else "-"}
            axes.plot(line[columns.ITERATION], line[metric], label=plain(source_name(source)), **look)
        whole_numbers(axes, int(lines[columns.ITERATION].max()))
        axes.set(xlabel="Iteration", ylabel=label)
        axes.margins(x=0.1, y=0.12)
    if chance is not None:
        right.axhline(chance, **REFERENCE, label="chance")
    legend_below(figure, *right.get_legend_handles_labels())
    return figure


@in_style
def draw_label_correction(lines: pd.DataFrame, methods: Iterable[Method], title: str) -> Figure:
    """The share of training segments whose most likely target is the true class, by iteration and method.

    `lines` has the columns `rule`, `alpha`, `iteration` and `targets_right` in percent; those of iteration 0 are the
    inherited labels, which are drawn across and begin every method's line. `methods` are those to draw.
    """
    figure, ((axes,),) = panels(1, 1, 2.0, ONE_COLUMN, title)
    inherited = float(lines.loc[lines[columns.ITERATION] == 0, columns.TARGETS_RIGHT].mean())
    last = int(lines[columns.ITERATION].max())
    axes.axhline(inherited, **REFERENCE, label="inherited labels")
    for position, method in enumerate(methods):
        own = lines[(lines[columns.RULE] == method.rule) & (lines[columns.ALPHA] == method.alpha)]
        right = own[own[columns.ITERATION] > 0].groupby(columns.ITERATION)[columns.TARGETS_RIGHT].mean()
        if len(right):
            values = [inherited, *right.reindex(range(1, last + 1))]
            axes.plot(range(last + 1), values, label=plain(method.name), **series_style(position))
    whole_numbers(axes, last)
    axes.set(xlabel="Iteration", ylabel="Targets that are right [%]")
    axes.margins(x=0.08, y=0.12)
    legend_below(figure, *axes.get_legend_handles_labels())
    return figure
