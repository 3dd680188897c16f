"""Figures of speakers: rates on the utterances of each, and the recall of each class by each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import columns
from analysis.figures.style import (
    ONE_COLUMN,
    SMALL,
    TWO_COLUMNS,
    characters,
    class_name,
    in_style,
    legend_below,
    panels,
    series_style,
)
from data_prep.arrays import Floats

SPEAKERS_OF_ONE_COLUMN = 12
FIELD = 0.18  # inches that numbers take in a heat map
SPEAKERS_WITH_NUMBERS = 24  # more, and there is no room for numbers in a heat map
BESIDE = 0.2  # of the place of a speaker, from WA to UA
SMALLEST = 4.0  # points of a letter that can be read
WA_STYLE = series_style(0) | {"linestyle": "none", "label": "WA, 95% interval"}
UA_STYLE = series_style(1) | {"linestyle": "none", "label": "UA", "markerfacecolor": "none"}
OVERALL: dict[str, Any] = {"color": "0.45", "linewidth": 0.8, "linestyle": (0, (4, 2)), "label": "WA of all speakers"}


@in_style
def draw_speakers(
    of_method: Mapping[str, pd.DataFrame], overall: Mapping[str, float], title: str, left_out: int = 0
) -> Figure:
    """WA with its interval, and UA, of each speaker: a panel a method, the speakers from the lowest WA of the first one
    to the highest.

    `of_method` maps a method's name to its lines, with the columns `speaker`, `utterances`, `wa`, `wa_low`, `wa_high`
    and `ua` in percent; `overall` is the WA over all speakers. A line in the middle is for those that are `left_out`.
    """
    first = next(iter(of_method.values())).sort_values([columns.WA, columns.SPEAKER])
    speakers = first[columns.SPEAKER].tolist()
    width = ONE_COLUMN if len(speakers) <= SPEAKERS_OF_ONE_COLUMN else TWO_COLUMNS
    figure, grid = panels(len(of_method), 1, 1.0, width, title, sharex=True, sharey=True)
    for axes, (name, lines) in zip(grid.flat, of_method.items(), strict=True):
        _draw_speakers(axes, lines.set_index(columns.SPEAKER).reindex(speakers), overall[name])
        if left_out:
            axes.axvline(len(speakers) / 2 - 0.5, color="0.3", linewidth=0.8)
        axes.set_title(name, loc="left", pad=2)
        axes.set_ylabel("Rate [%]")
    numbers = [f"{number:,}" for number in first[columns.UTTERANCES]]
    name_places(grid[-1, 0], [class_name(name) for name in speakers], width - 0.6, numbers)
    grid[-1, 0].set_xlabel("Speaker, with number of utterances")
    legend_below(figure, *grid[0, 0].get_legend_handles_labels())
    return figure


def _draw_speakers(axes: Axes, lines: pd.DataFrame, overall: float) -> None:
    place, wa = np.arange(len(lines)), lines[columns.WA].to_numpy(float)
    low, high = (lines[bound].to_numpy(float) for bound in columns.RATES["WA"].interval)
    size = 3.5 if len(lines) <= 2 * SPEAKERS_OF_ONE_COLUMN else 2.0
    axes.axhline(overall, **OVERALL, zorder=1)
    reach = np.array([wa - low, high - wa]).clip(min=0)
    axes.errorbar(place, wa, reach, fmt="none", ecolor=WA_STYLE["color"], elinewidth=0.7, alpha=0.6, zorder=2)
    axes.plot(place, wa, **WA_STYLE, markersize=size, zorder=3)
    axes.plot(place + BESIDE, lines[columns.UA], **UA_STYLE, markersize=size, markeredgewidth=0.6, zorder=3)
    axes.set(ylim=(-3, 103), xlim=(-0.6, len(lines) - 0.4))


def name_places(axes: Axes, names: Sequence[str], width: float, below: Sequence[str] = ()) -> None:
    """Names at 0, 1, ... of an x axis of `width` inches, with numbers `below` them; upright and smaller where they do
    not fit side by side.

    The figure grows by what they take.
    """
    each = 72 * width / len(names)  # points
    flat = max(map(characters, [*names, *below])) * 0.62 * SMALL < each
    texts = [
        "\n".join(parts) if flat else " · ".join(parts) for parts in zip(names, *filter(None, [below]), strict=True)
    ]
    axes.set_xticks(range(len(names)), texts)
    size = SMALL if flat else max(SMALLEST, min(SMALL, 0.9 * each))
    axes.tick_params(axis="x", length=2, labelrotation=0 if flat else 90, labelsize=size)
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    grown = (len(below) > 0) * SMALL if flat else max(map(characters, texts)) * 0.57 * size
    figure.set_figheight(figure.get_figheight() + grown / 72)


@in_style
def draw_speaker_recall(
    recall: Floats, utterances: Floats, speakers: Sequence[str], classes: Sequence[str], title: str
) -> Figure:
    """A heat map of the recall of each class (rows) by each speaker (columns), in percent.

    `recall` [S, K], NaN where a speaker does not have the class, and `utterances` [S, K], how many there are. Both
    stand in the fields while there is room for them.
    """
    names = [class_name(name) for name in classes]
    beside = 1.0 + max(map(characters, names)) * 0.57 * SMALL / 72  # inches, of names and the scale
    width = ONE_COLUMN if ONE_COLUMN - beside >= FIELD * len(speakers) else TWO_COLUMNS
    height = 0.3 if len(speakers) <= SPEAKERS_WITH_NUMBERS else 0.17
    figure, ((axes,),) = panels(1, 1, 0.45 + height * len(classes), width, title)
    axes.set_facecolor("0.88")
    image = axes.imshow(recall.T, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="none")
    if len(speakers) <= SPEAKERS_WITH_NUMBERS:
        for speaker, label in np.argwhere(~np.isnan(recall)):
            shade = "white" if recall[speaker, label] > 55 else "black"
            place: dict[str, Any] = {"ha": "center", "color": shade}
            axes.text(speaker, label, f"{recall[speaker, label]:.0f}", va="bottom", fontsize=6, **place)
            axes.text(speaker, label, f"{utterances[speaker, label]:.3g}", va="top", fontsize=4.5, **place)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.set(xlabel="Speaker", ylabel="Class")
    name_places(axes, [class_name(name) for name in speakers], width - beside)
    bar = figure.colorbar(image, ax=axes, aspect=15, pad=0.02)
    bar.set_label("Recall [%]")
    bar.outline.set_linewidth(0.4)
    return figure
