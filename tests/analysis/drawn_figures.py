"""What the tests of figures share: small data, figures of it, and what is read off them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from analysis.figures import (
    draw_class_recall,
    draw_contours,
    save_figure,
)
from analysis.figures.subject import INTERVALS
from tests.analysis.made_by_hand import decisions_of, scores_of

EMOTIONS = ["anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"]
SVG = "{http://www.w3.org/2000/svg}"


def line(**fields: Any) -> dict[str, Any]:
    """A line of scores: by default a complete baseline of two classes on Emo-DB."""
    return scores_of(**{"seed": 0, "recall": [80.0, 68.0]} | fields)


def pooled(*lines: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(lines)
    return frame.reindex(columns=list(dict.fromkeys([*frame.columns, *INTERVALS])))


def curve(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    """x and y of the line that the legend calls `label`."""
    (found,) = (each for each in axes.get_lines() if each.get_label() == label)
    return points(found.get_xdata()), points(found.get_ydata())


def points(data: ArrayLike) -> list[float]:
    return [float(value) for value in np.asarray(data)]


def names_in_legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def title_of(figure: Figure) -> str:
    return figure.get_suptitle()


def every_axis_is_named(figure: Figure) -> bool:
    """Whether the figure's panels name both axes, shared ones once a row or column."""
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    places = [place for axes in panels if (place := axes.get_subplotspec())]
    rows = {place.rowspan.start for place in places}
    return any(axes.get_xlabel() for axes in panels) and sum(bool(axes.get_ylabel()) for axes in panels) >= len(rows)


def rendered(figure: Figure, path: Path) -> bytes:
    save_figure(figure, path)
    return path.read_bytes()


def recall_figure(
    values: Sequence[Sequence[float]] | np.ndarray, classes: Sequence[str] = EMOTIONS, title: str = "a title"
) -> Figure:
    methods = [("none", ""), ("bdsl", ""), ("wdsl", "0.2"), ("gsl", ""), ("hdl", "")]
    rows = [{"rule": r, "alpha": a, "recall": list(v)} for (r, a), v in zip(methods, values, strict=False)]
    return draw_class_recall(pd.DataFrame(rows), classes, title)


def alpha_points(**more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"series": "random forest", "kind": "trained", "alpha": [1.0, 0.0, 0.2]}
        | {"wa": [70, 60, 80], "ua": [69, 59, 79]}
        | more
    )


def contour(iterations: int = 3, segments: int = 20, classes: Sequence[str] = EMOTIONS) -> tuple[Figure, Any, Any]:
    rng = np.random.default_rng(1)
    q = {t: rng.dirichlet(np.ones(len(classes)), segments) for t in range(iterations)}
    seconds = 0.1675 + 0.01 * np.arange(segments)
    return draw_contours(seconds, q, classes, 4 % len(classes), "t"), seconds, q


def decisions(label: Sequence[int], *predicted: Sequence[int], **about: Any) -> pd.DataFrame:
    return decisions_of(predicted, label, "s", **about)
