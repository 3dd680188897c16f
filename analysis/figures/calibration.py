"""The reliability diagram: how often decisions of some confidence are right."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import columns
from analysis.figures.style import (
    ONE_COLUMN,
    REFERENCE,
    TWO_COLUMNS,
    finish_panels,
    in_style,
    legend_below,
    panels,
    series_style,
)
from analysis.scoring.speakers import share_interval

RIGHT_STYLE: dict[str, Any] = series_style(0) | {"linestyle": "-", "label": "share that is right, 95% interval"}


@in_style
def draw_reliability(of_method: Mapping[str, pd.DataFrame], errors: Mapping[str, float], title: str) -> Figure:
    """The share of decisions that are right by their confidence, a panel a method, beside the share of decisions in
    each bin; on the diagonal they are calibrated.

    `of_method` maps a method's name to its bins (`columns.BIN_COLUMNS`), `errors` to its expected calibration error in
    percent.
    """
    across = min(len(of_method), 2 if len(of_method) <= 2 else 4 if len(of_method) > 6 else 3)
    width = ONE_COLUMN if across <= 2 else TWO_COLUMNS
    rows = math.ceil(len(of_method) / across)
    figure, grid = panels(
        rows, across, (0.8 if across == 1 else 0.97) * width / across, width, title, sharex=True, sharey=True
    )
    for axes, (name, bins) in zip(grid.flat, of_method.items(), strict=False):
        _draw_reliability(axes, bins)
        axes.set_title(f"{name}: ECE {errors[name]:.1f}", loc="left", pad=2)
    finish_panels(grid, len(of_method), "Right [%]")
    for axes in grid.flat[max(0, len(of_method) - across) : len(of_method)]:
        axes.tick_params(axis="x", labelbottom=True)
    for axes in grid.flat[(rows - 1) * across : len(of_method)]:
        axes.set_xlabel("Confidence [%]")
    legend_below(figure, *grid.flat[0].get_legend_handles_labels())
    return figure


def _draw_reliability(axes: Axes, bins: pd.DataFrame) -> None:
    total = bins[columns.DECISIONS].sum()
    low, high = (100 * bins[bound].to_numpy(float) for bound in (columns.BIN_LOW, columns.BIN_HIGH))
    share = 100 * bins[columns.DECISIONS].to_numpy(float) / total
    axes.bar(low, share, high - low, align="edge", color="0.85", edgecolor="white", linewidth=0.3, label="decisions")
    axes.plot([0, 100], [0, 100], **REFERENCE, label="calibrated")
    known = bins[bins[columns.DECISIONS] > 0]
    sure, right = (100 * known[name].to_numpy(float) for name in (columns.CONFIDENCE, columns.RIGHT))
    bounds = share_interval(right / 100, known[columns.DECISIONS])
    reach = np.array([right - 100 * bounds[0], 100 * bounds[1] - right]).clip(min=0)
    axes.errorbar(sure, right, reach, fmt="none", ecolor=RIGHT_STYLE["color"], elinewidth=0.7, alpha=0.6)
    axes.plot(sure, right, **RIGHT_STYLE)
    axes.set(xlim=(0, 100), ylim=(0, 103), xticks=(0, 25, 50, 75, 100), yticks=(0, 25, 50, 75, 100))
