"""Figures of the settings of a grid: rates by one field at a time, and by all of them as parallel coordinates."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from analysis.figures.style import FONT_SIZE, SMALL, TWO_COLUMNS, in_style, legend_below, panels, series_style
from data_prep.arrays import Floats
from data_prep.text import plain
from sweep.planning.in_view import value_text
from sweep.planning.settings import in_order

SERIES, VALIDATION, TEST = "series", "validation", "test"  # columns of points, beside a column for each field
RATES = {VALIDATION: "Validation WA [%]", TEST: "Test WA [%]"}
MOST_TICKS = 8  # of an axis
MOST_BESIDE = 5  # values that stand side by side; more are numbers on an axis, to scale
MANY_TIMES = 10  # from the least to the highest value: the axis is logarithmic
BESIDE = 0.07  # of the distance between values, from one series to the next
LEAST_LINE, MOST_LINE = 0.5, 1.9  # points, of the lowest and the highest rate


class Places:
    """Where the values of a field are on an axis: side by side where they are few or no numbers, else to scale; in the
    order of fields' values, or `as_given`."""

    def __init__(self, values: Sequence[Any], as_given: bool = False) -> None:
        self.distinct = list(dict.fromkeys(values)) if as_given else in_order(values)
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in self.distinct)
        self.to_scale = numbers and len(self.distinct) > MOST_BESIDE
        low, high = self.distinct[0], self.distinct[-1]
        self.logarithmic = bool(self.to_scale and low > 0 and high / low >= MANY_TIMES)
        self.first, self.last = self.of([low, high])

    def of(self, values: Sequence[Any]) -> Floats:
        """The places of `values`: 0, 1, ... in order or, to scale, the values themselves or their logarithm to 10."""
        if not self.to_scale:
            return np.array([self.distinct.index(one) for one in values], dtype=float)
        numbers = np.array(values, dtype=float)
        return np.log10(numbers) if self.logarithmic else numbers

    def scaled(self, places: Floats) -> Floats:
        """`places` between 0, the least, and 1, the highest that there is; 0.5 where there is one only."""
        span = self.last - self.first
        return np.full(len(places), 0.5) if span == 0 else (places - self.first) / span

    def ticks(self) -> tuple[Floats, list[str]]:
        """The places of ticks, and what stands there: every value, or the least, some between and the highest."""
        if not self.to_scale:
            return self.of(self.distinct), [plain(value_text(one)) for one in self.distinct]
        places = np.linspace(self.first, self.last, 4)
        return places, [f"{10**place if self.logarithmic else place:.2g}" for place in places]


@in_style
def draw_setting_axes(points: pd.DataFrame, fields: Sequence[str], title: str) -> Figure:
    """WA on validation and on test utterances by each field, a row of panels a field and a line a series.

    `points` has a line for each setting and series: a column for each of `fields`, `series`, and `validation` and
    `test` in percent, which may be NaN. Each is a small point, whatever its other fields; where values stand side by
    side, a line leads through the means of those that have the same value.
    """
    figure, rows = panels(len(fields), 2, 1.6, TWO_COLUMNS, title, sharey=True)
    names = list(dict.fromkeys(points[SERIES]))
    for row, field in zip(rows, fields, strict=True):
        places = Places(points[field].tolist())
        for axes, (rate, label) in zip(row, RATES.items(), strict=True):
            for position, name in enumerate(names):
                own = points[points[SERIES] == name]
                shift = 0 if places.to_scale else BESIDE * (position - (len(names) - 1) / 2)
                _draw_series(axes, places, own[field].tolist(), own[rate].to_numpy(float), shift, plain(name), position)
            axes.set_xticks(*places.ticks())
            axes.set(xlabel=plain(field), ylabel=label)
            axes.tick_params(labelleft=True)
            axes.margins(x=0.12, y=0.12)
    legend_below(figure, *rows[0, 0].get_legend_handles_labels())
    return figure


def _draw_series(
    axes: Axes, places: Places, values: Sequence[Any], rates: Floats, shift: float, name: str, position: int
) -> None:
    look, at = series_style(position), places.of(values) + shift
    mean = pd.Series(rates).groupby(at).mean()
    dots: dict[str, Any] = {"linestyle": "none", "marker": look["marker"], "color": look["color"]}
    axes.plot(at, rates, **dots, markerfacecolor="none", markersize=3, markeredgewidth=0.5, alpha=0.7)
    if places.to_scale:
        axes.plot([], [], label=name, **dots)
    else:
        axes.plot(mean.index, mean.to_numpy(), label=name, **look)


@in_style
def draw_parallel(points: pd.DataFrame, fields: Sequence[str], title: str) -> Figure:
    """Parallel coordinates: an axis for each field, the series if there are several, and WA on validation utterances.

    `points` as for `draw_setting_axes`, of which those without a rate on validation utterances are left out. The higher
    the rate, the darker and thicker the line, which tells them apart in grey, too.
    """
    known = points[points[VALIDATION].notna()].sort_values(VALIDATION, kind="stable")
    several = [SERIES] if known[SERIES].nunique() > 1 else []
    names = [*several, *fields]
    figure, ((axes,),) = panels(1, 1, 2.6, TWO_COLUMNS, title)
    rates = known[VALIDATION].to_numpy(float)
    low, high = math.floor(rates.min()), max(math.ceil(rates.max()), math.floor(rates.min()) + 1)
    places = {name: Places(points[name].tolist(), as_given=name == SERIES) for name in names}
    columns = [places[name].scaled(places[name].of(known[name].tolist())) for name in names]
    columns.append((rates - low) / (high - low))
    shades = ListedColormap(colormaps["cividis"](np.linspace(0.9, 0, 256)))
    for row in np.column_stack(columns):
        width = LEAST_LINE + row[-1] * (MOST_LINE - LEAST_LINE)
        axes.plot(range(len(row)), row, color=shades(row[-1]), linewidth=width, solid_joinstyle="round")
    for place, name in enumerate(names):
        ticks, texts = places[name].ticks()
        _draw_ruler(axes, place, "network" if name == SERIES else name, places[name].scaled(ticks), texts)
    ends_and_middle = [f"{low + half * (high - low):g}" for half in (0, 0.5, 1)]
    _draw_ruler(axes, len(names), "validation WA [%]", np.array([0, 0.5, 1]), ends_and_middle)
    axes.set(xlim=(-0.1, len(names) + 0.3), ylim=(-0.06, 1.12))
    axes.axis("off")
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), shades), ax=axes, shrink=0.8, aspect=25, pad=0.02)
    bar.set_label(RATES[VALIDATION])
    return figure


def _draw_ruler(axes: Axes, place: int, name: str, ticks: Floats, texts: Sequence[str]) -> None:
    axes.plot([place, place], [0, 1], color="black", linewidth=0.8, zorder=3)
    axes.text(place, 1.07, plain(name), ha="center", fontsize=FONT_SIZE)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
    for at, text in zip(ticks, texts, strict=True):
        axes.plot([place - 0.012, place + 0.012], [at, at], color="black", linewidth=0.8, zorder=3)
        axes.text(place + 0.025, at, text, va="center", fontsize=SMALL, bbox=box, zorder=4)
