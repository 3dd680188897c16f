"""Figures of speakers and of calibration: what is drawn, for few speakers and for many."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis import columns, score_networks
from analysis.columns import MEAN_POOLING
from analysis.figures import Drawing, draw_reliability, draw_speaker_recall
from analysis.figures.speaker_figures import MOST_SPEAKERS, reliabilities, speakers
from analysis.scoring.calibration import reliability
from tests.analysis.drawn_figures import every_axis_is_named, points, title_of
from tests.analysis.made_by_hand import decisions_of

CLASSES = {"emodb": ["anger", "fear"]}
EACH = 4  # utterances of a speaker, two of each class


def decided(number: int, **about: Any) -> pd.DataFrame:
    """Of four utterances of each speaker, as many are right as its number's remainder by five."""
    label = np.tile([0, 1, 0, 1], number)
    right = np.tile(np.arange(EACH), number) < np.repeat(np.arange(number) % 5, EACH)
    own: dict[str, Any] = {"utterance": [f"{row:04}" for row in range(EACH * number)]}
    names = [f"s{row:03}" for row in np.repeat(np.arange(number), EACH)]
    return decisions_of(np.where(right, label, 1 - label), label, names, **own, **about)


def drawn(*frames: pd.DataFrame) -> Mapping[str, Drawing]:
    """The figures by name."""
    decisions = pd.concat(frames, ignore_index=True)
    return {one.name: one for one in speakers(score_networks(decisions), decisions, CLASSES)}


def ticks(figure: Figure, panel: int = -1) -> list[str]:
    return [label.get_text() for label in figure.axes[panel].get_xticklabels()]


def test_speakers_stand_in_the_order_of_the_first_methods_wa_in_every_panel() -> None:
    figure = drawn(decided(4), decided(4, rule="gsl"))["speakers-emodb-densenet22-stratified-in_fold"].figure
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["No DSL", "GSL"]
    assert ticks(figure) == ["s000\n4", "s001\n4", "s002\n4", "s003\n4"]
    for axes in figure.axes:
        of_all, wa, ua = axes.get_lines()
        assert points(wa.get_ydata()) == [0, 25, 50, 75] and points(ua.get_ydata()) == [0, 25, 50, 75]
        assert points(of_all.get_ydata()) == [37.5, 37.5]
        assert points(ua.get_xdata()) > points(wa.get_xdata())
    assert every_axis_is_named(figure)


def test_intervals_are_wilsons() -> None:
    figure = drawn(decided(4))["speakers-emodb-densenet22-stratified"].figure
    (bars,) = figure.axes[0].collections
    assert isinstance(bars, LineCollection)
    low, high = bars.get_segments()[0][:, 1]
    z = 1.959963984540054
    assert (low, high) == (pytest.approx(0), pytest.approx(100 * z * z / (4 + z * z)))


def test_recall_by_class_and_speaker_has_a_figure_for_each_method_and_iteration_0_once() -> None:
    of_source = (decided(4, rule="gsl", label_source=source) for source in ("in_fold", "global_oof"))
    figures = drawn(decided(4), *of_source)
    recall = [name.removeprefix("speaker-recall-emodb-densenet22-stratified-") for name in figures if "recall" in name]
    assert recall == ["none", "in_fold-gsl", "global_oof-gsl"]
    alike = [one for name, one in figures.items() if "global_oof" in name]
    assert all("global_oof (leaky)" in title_of(one.figure) + one.caption for one in alike)


def test_fields_hold_recall_and_number_and_are_grey_without_utterances() -> None:
    recall, utterances = np.array([[100.0, 50.0], [np.nan, 0.0]]), np.array([[3.0, 2.0], [0.0, 1.5]])
    figure = draw_speaker_recall(recall, utterances, ["a", "b"], ["anger", "fear"], "")
    assert [text.get_text() for text in figure.axes[0].texts] == ["100", "3", "50", "2", "0", "1.5"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["anger", "fear"]


@pytest.mark.parametrize("number", [1, 4, 12, 40, MOST_SPEAKERS])
def test_names_of_few_speakers_and_of_many_do_not_overlap(number: int) -> None:
    for one in drawn(decided(number)).values():
        renderer = FigureCanvasAgg(one.figure).get_renderer()
        one.figure.draw_without_rendering()
        labels = [label for axes in one.figure.axes for label in axes.get_xticklabels() if label.get_text()][:number]
        boxes = [label.get_window_extent(renderer) for label in labels]
        assert len(boxes) == number
        assert all(box.x1 <= after.x0 + 0.5 for box, after in pairwise(boxes))
        assert one.figure.get_figheight() < 5


def test_of_very_many_the_lowest_and_the_highest_are_drawn_and_the_rest_is_told() -> None:
    figures = drawn(decided(250))
    for one in figures.values():
        assert len(ticks(one.figure, 0)) == MOST_SPEAKERS
        said = "Of 250 speakers the 50 with the lowest and the 50 with the highest WA."
        assert said in one.caption and said.split()[2] in title_of(one.figure)
    wa = points(next(iter(figures.values())).figure.axes[0].get_lines()[1].get_ydata())
    assert wa == [0.0] * 50 + [100.0] * 50


def test_numbers_that_do_not_fit_are_in_the_caption() -> None:
    (_, one) = drawn(decided(40)).values()
    assert not one.figure.axes[0].texts and "of 2 to 2 utterances each" in one.caption


def test_alternative_text_tells_the_reach_of_rates() -> None:
    texts = [one.alt for one in drawn(decided(4), decided(4, rule="gsl")).values()]
    assert "No DSL from 0 to 75, GSL from 0 to 75" in texts[0]
    assert "by speaker anger 0 to 100, fear 0 to 50" in texts[1]


# Calibration


def test_a_reliability_diagram_has_a_point_a_bin_that_holds_decisions() -> None:
    confidence, right = np.array([0.3, 0.3, 0.62, 0.64, 0.99]), np.array([1, 0, 1, 1, 1])
    bins = {"No DSL": reliability(confidence, right)}
    figure = draw_reliability(bins, {"No DSL": 12.34}, "")
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "No DSL: ECE 12.3"
    diagonal, shares = axes.get_lines()
    assert points(diagonal.get_xdata()) == points(diagonal.get_ydata()) == [0, 100]
    assert points(shares.get_xdata()) == pytest.approx([30, 63, 99]) and points(shares.get_ydata()) == [50, 100, 100]
    heights = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert len(heights) == 15 and sum(heights) == pytest.approx(100)
    assert every_axis_is_named(figure)


def test_every_method_with_confidences_has_a_panel() -> None:
    sure = [decided(4, decision=MEAN_POOLING, rule=rule).assign(confidence=0.8) for rule in ("none", "gsl")]
    unknown = decided(4, decision=MEAN_POOLING, rule="hdl").assign(confidence=np.nan)
    forest = decided(4).assign(confidence=np.nan)
    decisions = pd.concat([*sure, unknown, forest], ignore_index=True)
    (one,) = reliabilities(score_networks(decisions), decisions)
    titles = [axes.get_title(loc="left") for axes in one.figure.axes]
    assert titles == ["No DSL: ECE 42.5", "GSL: ECE 42.5"] and "No DSL 42.5, GSL 42.5" in one.alt
    nothing = decisions.assign(**{columns.CONFIDENCE: np.nan})
    assert list(reliabilities(score_networks(nothing), nothing)) == []
