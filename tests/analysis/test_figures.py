"""What figures show is what the data say."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.figures import (
    draw_alpha_curve,
    draw_confusion,
    draw_label_correction,
    draw_label_sources,
    draw_learning_curves,
    save_figure,
)
from analysis.figures.score_figures import alpha_curves, class_recall, confusion_counts, confusions
from analysis.figures.style import COLORS, HATCHES, ONE_COLUMN, TWO_COLUMNS, bar_style, series_style
from analysis.figures.subject import notes_on
from analysis.paper.methods import Method, by_method, shown_methods
from analysis.paper.published import load_published
from data_prep.features import FeatureSettings
from data_prep.segments import segment_centres
from tests.analysis.drawn_figures import (
    EMOTIONS,
    alpha_points,
    contour,
    curve,
    decisions,
    every_axis_is_named,
    line,
    names_in_legend,
    points,
    pooled,
    recall_figure,
    title_of,
)
from tests.analysis.made_by_hand import setup_with

# Recall by class


def test_bars_are_as_high_as_the_recalls() -> None:
    recall = np.random.default_rng(0).uniform(0, 100, (5, 7))
    (axes,) = recall_figure(recall).axes
    drawn = [[bar.get_height() for bar in bars] for bars in axes.containers]
    np.testing.assert_array_equal(drawn, recall)


def test_bars_of_a_class_stand_side_by_side_above_its_name() -> None:
    (axes,) = recall_figure(np.full((5, 7), 50)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == EMOTIONS
    for position in range(7):
        edges = [bars[position].get_x() for bars in axes.containers]
        ends = [bars[position].get_x() + bars[position].get_width() for bars in axes.containers]
        np.testing.assert_allclose(edges[1:], ends[:-1])
        assert (edges[0] + ends[-1]) / 2 == pytest.approx(position)


def test_recall_names_methods_as_the_paper_does() -> None:
    figure = recall_figure(np.full((5, 7), 50))
    assert names_in_legend(figure) == ["No DSL", "BDSL", "WDSL (α = 0.2)", "GSL", "HDL"]
    assert every_axis_is_named(figure)
    assert figure.axes[0].get_ylabel() == "Recall [%]"


def test_a_class_without_utterances_has_no_bar() -> None:
    (axes,) = recall_figure([[np.nan, 50.0]], ["anger", "fear"]).axes
    assert np.isnan(axes.containers[0][0].get_height())


def test_few_bars_fit_one_column_and_many_take_two() -> None:
    assert recall_figure(np.full((2, 4), 50), EMOTIONS[:4]).get_figwidth() == ONE_COLUMN
    assert recall_figure(np.full((5, 7), 50)).get_figwidth() == TWO_COLUMNS


def test_long_class_names_lean_and_leave_the_bars_their_height(tmp_path: Path) -> None:
    short, long = (
        recall_figure(np.full((5, 7), 50)),
        recall_figure(np.full((5, 7), 50), [f"class_{'x' * 20}{i}" for i in range(7)]),
    )
    assert {label.get_rotation() for label in short.axes[0].get_xticklabels()} == {0}
    assert {label.get_rotation() for label in long.axes[0].get_xticklabels()} == {35}
    heights = []
    for figure in (short, long):
        save_figure(figure, tmp_path / "a.png")
        heights.append(figure.axes[0].get_position().height * figure.get_figheight())
    assert heights[1] > 0.85 * heights[0]


# Series


def test_series_differ_in_colour_line_and_marker_and_bars_in_colour_and_hatch() -> None:
    looks = {tuple(map(str, series_style(position).values())) for position in range(56)}
    assert len(looks) == 56
    assert len({str(series_style(position)["marker"]) for position in range(8)}) == 8
    assert len({(bar_style(i)["color"], bar_style(i)["hatch"]) for i in range(16)}) == 16
    assert len(set(COLORS)) == len(set(HATCHES)) == 8


# The alpha curve


def test_the_alpha_curve_goes_through_the_rates_in_order_of_alpha() -> None:
    wa, ua = draw_alpha_curve(alpha_points(), "t").axes
    assert curve(wa, "random forest") == ([0, 0.2, 1], [60, 80, 70])
    assert curve(ua, "random forest") == ([0, 0.2, 1], [59, 79, 69])
    assert (wa.get_ylabel(), ua.get_ylabel()) == ("WA [%]", "UA [%]")


def test_panels_of_rates_share_their_axis() -> None:
    """WA from 60 to 80 and UA from 40 to 59 are as far apart as they are drawn."""
    wa, ua = draw_alpha_curve(alpha_points(ua=[50, 40, 59]), "t").axes
    assert wa.get_ylim() == ua.get_ylim()
    rows = [{"label_source": "in_fold", "iteration": t, "wa": 60 + 9 * t, "ua": 40 + t} for t in (0, 1)]
    wa, ua = draw_label_sources(pd.DataFrame(rows), "t").axes
    assert wa.get_ylim() == ua.get_ylim()


def test_intervals_reach_from_low_to_high() -> None:
    limits = {"wa_low": [65, 55, 75], "wa_high": [77, 66, 88], "ua_low": np.nan, "ua_high": np.nan}
    wa, ua = draw_alpha_curve(alpha_points(**limits), "t").axes
    (bars,) = (c for c in wa.containers)
    ends = sorted((round(s[0, 1]), round(s[1, 1])) for s in bars[2][0].get_segments())
    assert ends == [(55, 66), (65, 77), (75, 88)]
    assert not ua.containers


def test_without_columns_of_intervals_the_curve_has_none() -> None:
    assert not draw_alpha_curve(alpha_points(), "t").axes[0].containers


def test_the_published_curve_stands_beside_ours() -> None:
    lines = [line(), line(rule="bdsl"), line(rule="wdsl", alpha="0.2"), line(rule="wdsl", alpha="1", wa=71.0)]
    (drawing,) = alpha_curves(pooled(*lines))
    paper = load_published()
    wanted = paper[(paper["table"] == "IV") & (paper["corpus"] == "emodb") & (paper["metric"] == "UA")]
    x, y = curve(drawing.figure.axes[1], "published (EfficientNet-B0)")
    assert x == pytest.approx(wanted["row"].astype(float).tolist())
    assert y == wanted["value"].tolist()
    assert curve(drawing.figure.axes[0], "random forest") == ([0, 0.2, 1], [75, 75, 75])
    assert curve(drawing.figure.axes[0], "random forest, retraining control")[1] == [71]


def test_intervals_of_scores_are_drawn_and_said() -> None:
    limits = {"wa_low": 70.0, "wa_high": 79.0, "ua_low": 69.0, "ua_high": 78.0}
    lines = [line(corpus="mine"), line(corpus="mine", rule="wdsl", alpha="0.2")]
    (plain,) = alpha_curves(pooled(*lines))
    (drawing,) = alpha_curves(pooled(*(each | limits for each in lines)))
    assert "95% bootstrap intervals" in drawing.caption and "intervals" not in plain.caption
    assert drawing.figure.axes[0].containers and not plain.figure.axes[0].containers
    assert names_in_legend(plain.figure) == ["random forest"]


def test_a_set_up_beside_the_published_curve_is_told_with_what_is_not_the_papers() -> None:
    setup = setup_with(every=16, folds=5)
    lines = [line(setup=setup), line(rule="wdsl", alpha="0.2", setup=setup)]
    (drawing,) = alpha_curves(pooled(*lines))
    departures = "Not the paper's set-up: every 16th segment (paper: every), 5 folds (paper: 10)."
    assert departures in drawing.caption and departures in title_of(drawing.figure).replace("\n", " ")
    assert (
        "Set-up: every 16th segment, at most 12 epochs, 5 folds, stratified split, 1 training seed." in drawing.caption
    )
    (drawing,) = alpha_curves(pooled(line(), line(rule="wdsl", alpha="0.2")))
    assert "Not the paper's" not in drawing.caption


@pytest.mark.parametrize("other", [{"split": "speaker"}, {"labels": "permuted"}])
def test_no_published_curve_stands_beside_another_split_or_permuted_labels(other: dict[str, str]) -> None:
    (drawing,) = alpha_curves(pooled(line(**other), line(rule="wdsl", alpha="0.2", **other)))
    assert names_in_legend(drawing.figure) == ["random forest"]


def test_one_alpha_is_no_curve() -> None:
    assert list(alpha_curves(pooled(line(), line(rule="bdsl"), line(rule="gsl")))) == []


# Contours


def test_contours_are_the_probabilities_a_panel_an_iteration() -> None:
    figure, seconds, q = contour()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Iteration 0", "Iteration 1", "Iteration 2"]
    for axes, probabilities in zip(figure.axes, q.values(), strict=True):
        np.testing.assert_array_equal([drawn.get_ydata() for drawn in axes.get_lines()], probabilities.T)
        np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), seconds)
    assert figure.axes[-1].get_xlabel() == "Centre of segment [s]"
    assert every_axis_is_named(figure)


def test_the_label_of_an_utterance_is_named_and_thicker() -> None:
    figure, _, _ = contour()
    assert names_in_legend(figure)[4] == "happiness (label)"
    widths = [drawn.get_linewidth() for drawn in figure.axes[0].get_lines()]
    assert widths[4] > 2 * max(widths[:4] + widths[5:])


@pytest.mark.parametrize("iterations", [1, 7, 8])
def test_there_are_as_many_panels_as_iterations(iterations: int) -> None:
    figure, _, _ = contour(iterations)
    assert len(figure.axes) == iterations
    assert every_axis_is_named(figure)


def test_an_utterance_of_one_segment_is_drawn_as_points() -> None:
    figure, _, _ = contour(segments=1)
    assert all(drawn.get_marker() not in ("", "None") for drawn in figure.axes[0].get_lines())


def test_the_first_segment_has_its_centre_at_half_its_length() -> None:
    centres = segment_centres(np.array([0, 1, 8]), FeatureSettings())
    assert centres == pytest.approx([0.1675, 0.1775, 0.2475])
    assert segment_centres(np.array([1]), FeatureSettings(segment_hop=3)) == pytest.approx([0.1975])


# Confusions, learning curves, label sources, label correction


def test_fields_of_a_confusion_matrix_hold_percent_of_the_row_and_counts() -> None:
    figure = draw_confusion(np.array([[6.0, 2.0], [0.5, 1.5]]), ["anger", "fear"], "t")
    axes = figure.axes[0]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), [[75, 25], [25, 75]])
    assert [text.get_text() for text in axes.texts] == ["75", "6", "25", "2", "25", "0.5", "75", "1.5"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Decided class", "Class of the utterance")


def test_a_class_without_utterances_has_an_empty_row() -> None:
    axes = draw_confusion(np.array([[0.0, 0.0], [1.0, 3.0]]), ["anger", "fear"], "t").axes[0]
    assert [text.get_text() for text in axes.texts] == ["25", "1", "75", "3"]


def test_confusion_counts_are_means_over_forest_seeds() -> None:
    counts = confusion_counts(decisions([0, 0, 1], [0, 1, 1], [0, 0, 1]), 2)
    np.testing.assert_array_equal(counts, [[1.5, 0.5], [0, 1]])


def test_iteration_0_that_label_sources_share_has_one_confusion_matrix() -> None:
    sources = [{}, *({"rule": "bdsl", "label_source": source} for source in ("in_fold", "global_oof"))]
    made = pd.concat([decisions([0, 1], [0, 1], **fields) for fields in sources])
    names = [
        drawing.name
        for drawing in confusions(pooled(*(line(**fields) for fields in sources)), made, {"emodb": ["anger", "fear"]})
    ]
    assert names == [
        "confusion-emodb-densenet22-stratified-none",
        "confusion-emodb-densenet22-stratified-in_fold-bdsl",
        "confusion-emodb-densenet22-stratified-global_oof-bdsl",
    ]


def test_learning_curves_show_each_fold_and_the_mean_as_far_as_all_go() -> None:
    rows = [
        {"iteration": t, "run": run, "epoch": epoch, "loss": run + epoch, "validation_loss": 2.0 * run + epoch}
        for t in (0, 1)
        for run, epochs in ((0, 2), (1, 3))
        for epoch in range(1, epochs + 1)
    ]
    figure = draw_learning_curves(pd.DataFrame(rows), "t")
    assert len(figure.axes) == 2 and every_axis_is_named(figure)
    folds_and_mean = [points(drawn.get_ydata()) for drawn in figure.axes[0].get_lines()[:3]]
    assert folds_and_mean[0][:2] == [1, 2] and np.isnan(folds_and_mean[0][2])
    assert folds_and_mean[1:] == [[2, 3, 4], [1.5, 2.5]]
    assert points(figure.axes[0].get_lines()[5].get_ydata()) == [2, 3]


def test_learning_curves_without_validation_show_the_training_alone() -> None:
    rows = [{"iteration": 0, "run": 0, "epoch": t, "loss": 3.0 - t, "validation_loss": np.nan} for t in (1, 2)]
    figure = draw_learning_curves(pd.DataFrame(rows), "t")
    assert [points(drawn.get_ydata()) for drawn in figure.axes[0].get_lines()] == [[2, 1], [2, 1]]
    assert names_in_legend(figure) == ["training, mean", "one fold"]


def test_a_leaky_label_source_is_dashed_comes_last_and_is_named_so() -> None:
    rows = [
        {"label_source": s, "iteration": t, "wa": 50 + t, "ua": 40 + t}
        for s in ("global_oof", "in_fold")
        for t in (0, 1)
    ]
    figure = draw_label_sources(pd.DataFrame(rows), "t", chance=25.0)
    wa, ua = figure.axes
    assert names_in_legend(figure) == ["in_fold", "global_oof (leaky)", "chance"]
    assert [drawn.get_linestyle() for drawn in wa.get_lines()] == ["-", "--"]
    assert curve(ua, "global_oof (leaky)") == ([0, 1], [40, 41])
    assert curve(ua, "chance")[1] == [25, 25]


def test_label_correction_begins_at_the_inherited_labels_share() -> None:
    rows = [("none", "", 0, 70.0), ("bdsl", "", 1, 75.0), ("bdsl", "", 2, 72.0), ("hdl", "", 2, 80.0)]
    frame = pd.DataFrame(rows, columns=["rule", "alpha", "iteration", "targets_right"])
    figure = draw_label_correction(frame, [Method("bdsl"), Method("hdl"), Method("gsl")], "t")
    (axes,) = figure.axes
    assert names_in_legend(figure) == ["inherited labels", "BDSL", "HDL"]
    assert curve(axes, "inherited labels")[1] == [70, 70]
    assert curve(axes, "BDSL") == ([0, 1, 2], [70, 75, 72])
    assert np.isnan(curve(axes, "HDL")[1][1])


# What is shown, and what a reader is told


def test_of_several_alphas_the_one_nearest_to_the_papers_best_is_shown() -> None:
    last_alphas: dict[Method, float | None] = {Method("wdsl", f"{alpha:g}"): alpha for alpha in (1.0, 0.25, 0.0)}
    last_alphas |= {Method("wdsl", "0.5→0.3"): 0.3, Method("ema", "0.9"): 0.9, Method("none"): None}
    assert shown_methods(last_alphas) == [Method("none"), Method("wdsl", "0.25"), Method("ema", "0.9")]


def test_methods_come_in_the_papers_order() -> None:
    lines = [line(rule=rule) for rule in ("cleanlab", "hdl", "gsl", "bdsl", "none")]
    assert by_method(pooled(*lines))["rule"].tolist() == ["none", "bdsl", "gsl", "hdl", "cleanlab"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"folds_done": 7}, "7 of 10 folds."),
        ({"partial": True}, "A part of the corpus."),
        ({"labels": "permuted"}, "Labels permuted: anything above chance is a leak."),
        ({"rule": "bdsl", "label_source": "global_oof"}, "label source global_oof (leaky)"),
        ({"split": "speaker"}, "split speaker"),
    ],
)
def test_what_a_reader_must_know_is_in_title_and_caption(fields: dict[str, Any], said: str) -> None:
    (drawing,) = class_recall(pooled(line(**fields)), {"emodb": ["anger", "fear"]})
    assert said in title_of(drawing.figure).replace("\n", " ")
    assert said in drawing.caption


def test_cells_with_missing_folds_are_named_where_others_are_whole() -> None:
    (note,) = notes_on(pooled(line(), line(rule="bdsl", folds_done=7)))
    assert note == "Folds missing: BDSL at t = 1 has 7 of 10."


def test_alternative_text_tells_the_numbers() -> None:
    (drawing,) = class_recall(pooled(line(recall=[81.4, np.nan])), {"emodb": ["anger", "fear"]})
    assert drawing.alt == "Bar chart of recall in percent. No DSL: anger 81."
