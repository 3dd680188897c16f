"""What figures show is what the data say; files are reproducible, safe and described."""

import json
import re
import shutil
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import ArrayLike

import analysis
from analysis import decide, label_correction
from analysis.figures import (
    Drawing,
    draw_alpha_curve,
    draw_class_recall,
    draw_confusion,
    draw_contours,
    draw_label_correction,
    draw_label_sources,
    draw_learning_curves,
    figures_of,
    fonts,
    save_figure,
    save_figures,
)
from analysis.figures.cells import ChainCell, shown_cells
from analysis.figures.save import slug
from analysis.figures.score_figures import alpha_curves, by_method, class_recall, confusion_counts, confusions
from analysis.figures.stage_figures import label_corrections
from analysis.figures.style import COLORS, HATCHES, ONE_COLUMN, TWO_COLUMNS, bar_style, series_style
from analysis.figures.subject import INTERVALS, Method, notes_on, shown_methods
from analysis.paper.published import load_published
from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from data_prep.segments import segment_centres
from ser_sweep.cli import main
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store
from tests.analysis.made_by_hand import decisions_of, network, scores_of, setup_with
from tests.analysis.recorded_sweep import RECORDED, source_of

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


# Recall by class


def recall_figure(
    values: Sequence[Sequence[float]] | np.ndarray, classes: Sequence[str] = EMOTIONS, title: str = "a title"
) -> Figure:
    methods = [("none", ""), ("bdsl", ""), ("wdsl", "0.2"), ("gsl", ""), ("hdl", "")]
    rows = [{"rule": r, "alpha": a, "recall": list(v)} for (r, a), v in zip(methods, values, strict=False)]
    return draw_class_recall(pd.DataFrame(rows), classes, title)


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


def alpha_points(**more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"series": "random forest", "kind": "trained", "alpha": [1.0, 0.0, 0.2]}
        | {"wa": [70, 60, 80], "ua": [69, 59, 79]}
        | more
    )


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


def contour(iterations: int = 3, segments: int = 20, classes: Sequence[str] = EMOTIONS) -> tuple[Figure, Any, Any]:
    rng = np.random.default_rng(1)
    q = {t: rng.dirichlet(np.ones(len(classes)), segments) for t in range(iterations)}
    seconds = 0.1675 + 0.01 * np.arange(segments)
    return draw_contours(seconds, q, classes, 4 % len(classes), "t"), seconds, q


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


def decisions(label: Sequence[int], *predicted: Sequence[int], **about: Any) -> pd.DataFrame:
    return decisions_of(predicted, label, "s", **about)


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


# Names and files


def test_names_from_files_are_no_markup(tmp_path: Path) -> None:
    name = r"$x^2$ & <b>\frac"
    figure = draw_class_recall(
        pd.DataFrame([{"rule": name, "alpha": "", "recall": [50.0, 60.0]}]), [name, "fear"], f"of {name}"
    )
    texts = [element.text for element in ET.fromstring(rendered(figure, tmp_path / "a.svg")).iter(f"{SVG}text")]
    assert texts.count(name) == 2 and f"of {name}" in texts


@pytest.mark.parametrize("extension", ["png", "svg"])
def test_any_name_of_a_class_can_be_drawn(tmp_path: Path, extension: str) -> None:
    names = ["$\\bad{$", "50% & more", "<i>", "ärger"]
    for figure in (contour(2, 5, names)[0], draw_confusion(np.eye(4), names, "$a$")):
        content = rendered(figure, tmp_path / f"a.{extension}")
        assert extension == "png" or {"50% & more", "<i>"} <= {
            e.text for e in ET.fromstring(content).iter(f"{SVG}text")
        }


def test_what_cannot_be_printed_does_not_break_a_file(tmp_path: Path) -> None:
    figure = recall_figure([[50.0, 60.0]], ["a\x00b\nc\ud800", "fear"])
    ET.fromstring(rendered(figure, tmp_path / "a.svg"))
    assert figure.axes[0].get_xticklabels()[0].get_text() == "a\ufffdb\ufffdc\ufffd"


FIGURES = {
    "recall": lambda: recall_figure(np.full((5, 7), 50), title="Emo-DB\nFolds missing"),
    "contours": lambda: contour()[0],
    "alpha": lambda: draw_alpha_curve(alpha_points(wa_low=50, wa_high=85), "Emo-DB"),
    "confusion": lambda: draw_confusion(np.eye(7), EMOTIONS, "Emo-DB"),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_the_same_figure_is_the_same_file(make: Any, tmp_path: Path) -> None:
    for extension in ("png", "svg"):
        first, second = (rendered(make(), tmp_path / f"{name}.{extension}") for name in "ab")
        assert first == second
        assert b"date" not in first.lower()


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_a_user_s_matplotlibrc_changes_no_file(make: Any, tmp_path: Path) -> None:
    mine = rendered(make(), tmp_path / "a.png")
    odd: dict[Any, object] = {
        "text.usetex": True,
        "figure.dpi": 30,
        "axes.facecolor": "red",
        "font.family": "monospace",
    }
    with matplotlib.rc_context(odd):
        assert rendered(make(), tmp_path / "b.png") == mine


def test_classes_of_a_hundred_characters_leave_the_panel_its_room(tmp_path: Path) -> None:
    names = [f"{'very ' * 20}{name}" for name in EMOTIONS]
    for figure in (draw_confusion(np.eye(7), names, "Emo-DB"), recall_figure(np.full((5, 7), 50), names)):
        rendered(figure, tmp_path / "a.png")
        place = figure.axes[0].get_position()
        assert place.width > 0.35 and place.height > 0.3
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert len(set(labels)) == len(names), "classes that differ at the end look the same"


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_nothing_is_cut_off(make: Any, tmp_path: Path) -> None:
    figure = make()
    content = rendered(figure, tmp_path / "a.png")
    assert content[:4] == b"\x89PNG"
    pixels = imread(tmp_path / "a.png")
    assert pixels.shape[1] == pytest.approx(200 * figure.get_figwidth(), abs=1)
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 1).all()


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_titles_legends_and_panels_do_not_overlap(make: Any, tmp_path: Path) -> None:
    figure = make()
    save_figure(figure, tmp_path / "a.png")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes] + [figure._suptitle.get_window_extent(renderer)]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    for position, box in enumerate(boxes):
        for other in boxes[position + 1 :]:
            assert not (box.width and other.width and box.shrunk(0.98, 0.98).overlaps(other.shrunk(0.98, 0.98)))


def test_text_stays_text_in_svg(tmp_path: Path) -> None:
    tree = ET.fromstring(rendered(recall_figure(np.full((5, 7), 50)), tmp_path / "a.svg"))
    texts = {element.text for element in tree.iter(f"{SVG}text")}
    assert {*EMOTIONS, "WDSL (α = 0.2)", "Recall [%]"} <= texts


@pytest.mark.parametrize(
    "text", ["03a01Fa", "../../etc/passwd", "CON", "a b", "a-b", "ä", "", ".", "..", "x" * 300, "a\x00"]
)
def test_slugs_are_safe(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]+([-.][a-z0-9_]+)*", slug(text))
    assert len(slug(text)) <= 49


def test_different_texts_have_different_slugs() -> None:
    texts = ["a", "A", "a b", "a-b", "ä", "ö", "", "x" * 300, "x" * 301, "0.2", "0..2"]
    assert len({slug(text) for text in texts}) == len(texts)
    assert (slug("emodb"), slug("efficientnet_b0"), slug("0.2")) == ("emodb", "efficientnet_b0", "0.2")


def drawing(*about: str) -> Drawing:
    return Drawing("contours", about, "A caption.", "Lines.", contour(1, 3, ["anger", "fear"])[0])


def test_the_index_lists_figures_with_caption_alternative_text_and_files(tmp_path: Path) -> None:
    save_figures([drawing("emodb", "03a01Fa")], tmp_path / "new" / "out", ["svg", "png", "svg"])
    (one,) = json.loads((tmp_path / "new/out/index.json").read_text())["figures"]
    name = f"contours-emodb-{slug('03a01Fa')}"
    assert one == {
        "name": name,
        "kind": "contours",
        "corpus": "emodb",
        "caption": "A caption.",
        "alt": "Lines.",
        "files": [f"{name}.svg", f"{name}.png"],
    }
    assert sorted(path.name for path in (tmp_path / "new/out").iterdir()) == sorted([*one["files"], "index.json"])


def test_two_figures_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two figures are called contours-emodb"):
        save_figures([drawing("emodb"), drawing("emodb")], tmp_path)


# From a store


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder with a grid and its finished store: two label sources, two iterations."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "grid.yaml").write_text(
        "{corpora: [synthetic], backbones: [tiny], rules: [none, bdsl, {wdsl: [0.2, 1]}], iterations: 2, folds: 2,"
        " label_sources: [in_fold, global_oof], training: {epochs: 2, every: 16}}"
    )
    assert main(["run", *arguments(folder, small_data), "--inline"]) == 0
    return folder


def arguments(folder: Path, data: Path) -> list[str]:
    return [str(folder / "grid.yaml"), "--data", str(data), "--store", str(folder / "store")]


def opened(folder: Path, data: Path) -> tuple[Store, list[ChainSpec]]:
    grid = load_grid(folder / "grid.yaml")
    return Store(folder / "store"), grid.expand(resolve_corpora(grid, data))


def drawn(folder: Path, data: Path, utterances: Sequence[str] = ()) -> dict[str, Drawing]:
    store, chains = opened(folder, data)
    made = decide(store, chains, forest_seeds=0)
    return {each.name: each for each in figures_of(store, chains, made, utterances)}


@pytest.fixture(scope="module")
def drawings(swept: Path, small_data: Path) -> dict[str, Drawing]:
    """All figures of the store, by name."""
    return drawn(swept, small_data)


def test_every_kind_of_figure_comes_from_a_store(drawings: dict[str, Drawing]) -> None:
    kinds = [each.kind for each in drawings.values()]
    assert {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} == {
        "class-recall": 2,
        "alpha": 2,
        "label-sources": 2,
        "label-correction": 2,
        "contours": 5,
        "confusion": 5,
        "learning-curves": 5,
    }
    assert all(each.caption.endswith(".") and each.alt for each in drawings.values())


@pytest.mark.parametrize("kind", ["contours", "learning-curves"])
def test_iteration_0_is_drawn_once_for_all_that_share_it(drawings: dict[str, Drawing], kind: str) -> None:
    of_kind = [each for each in drawings.values() if each.kind == kind]
    begins = [each for each in of_kind if each.figure.axes[0].get_title(loc="left") == "Iteration 0"]
    (alone,) = begins
    assert alone.name.startswith(f"{kind}-synthetic-tiny-stratified-none") and len(alone.figure.axes) == 1
    others = [each for each in of_kind if each is not alone]
    assert others and all("Iteration 0, which other rules share, has a figure" in each.caption for each in others)


def cells_of(rules: list[str], **fields: Any) -> list[ChainCell]:
    """The cells of a grid of two iterations."""
    chains = source_of(Store(RECORDED / "store"), rules=rules, label_sources=["in_fold"], **fields).plan.chains
    return shown_cells(chains, {chain.last.corpus: "synthetic" for chain in chains})


def test_an_iteration_0_of_one_chain_is_drawn_with_the_others() -> None:
    (only,) = cells_of(["bdsl"])
    assert list(only.shown) == [0, 1, 2]


def test_an_iteration_0_that_no_rule_asks_for_alone_is_drawn_alone_where_rules_share_it() -> None:
    cells = cells_of(["bdsl", "gsl"])
    assert [(cell.method.rule, list(cell.shown)) for cell in cells] == [
        ("none", [0]),
        ("bdsl", [1, 2]),
        ("gsl", [1, 2]),
    ]


def test_splits_in_view_are_told_in_titles_the_papers_too() -> None:
    """Of scores, of single trainings, and of label correction, which mixed them."""
    lines = pooled(line(), line(split="speaker"))
    found = class_recall(lines, {"emodb": ["anger", "fear"]})
    assert ["split stratified" in title_of(each.figure) for each in found] == [False, True]
    cells = cells_of(["bdsl"], splits=["stratified", "speaker"])
    assert [cell.title.split(", ")[3] for cell in cells] == ["split speaker", "split stratified"]
    right = pd.concat(
        pd.DataFrame([network("bdsl" if iteration else "none", split=split) | {"targets_right": share}])
        for split, shares in (("stratified", (70.0, 75.0)), ("speaker", (70.0, 60.0)))
        for iteration, share in enumerate(shares)
    )
    made = list(label_corrections(right))
    assert [curve(each.figure.axes[0], "BDSL")[1] for each in made] == [[70, 60], [70, 75]]
    assert ["split speaker" in title_of(each.figure) for each in made] == [True, False]
    assert len({each.name for each in made}) == 2


def test_contours_are_those_of_the_fold_that_tested_the_utterance(swept: Path, small_data: Path) -> None:
    store, chains = opened(swept, small_data)
    about, utterances = store.read_corpus(chains[0].last.corpus)
    row = 5
    one = utterances["id"].iloc[row]
    figure = next(
        each
        for name, each in drawn(swept, small_data, [one]).items()
        if "contours" in name and "-in_fold-bdsl-" in name
    ).figure
    assert f"Utterance {one}, label {utterances['emotion'].iloc[row]}" in title_of(figure)
    assert len(figure.axes) == 2  # iteration 0 is not that of this rule alone
    of_rule = [c.last for c in chains if c.last.rule == "bdsl" and c.last.label_source == "in_fold"]
    for iteration, axes in enumerate(figure.axes, start=1):
        for stage in of_rule:
            predictions = store.read_predictions(stage.at(iteration).key)
            assert predictions is not None
            own = predictions.utterance == row
            same = np.array_equal([points(line.get_ydata()) for line in axes.get_lines()], predictions.q[own].T)
            assert same == predictions.test[own].all()
    settings = FeatureSettings(**about["settings"])
    assert predictions is not None
    np.testing.assert_allclose(
        points(figure.axes[0].get_lines()[0].get_xdata()), segment_centres(predictions.segment[own], settings)
    )


def test_by_default_contours_are_along_the_longest_utterance(
    swept: Path, small_data: Path, drawings: dict[str, Drawing]
) -> None:
    store, chains = opened(swept, small_data)
    _, utterances = store.read_corpus(chains[0].last.corpus)
    thinned = -(-utterances["segments"] // 16)
    longest = utterances["id"].iloc[int(thinned.to_numpy().argmax())]
    contours = [each for each in drawings.values() if each.kind == "contours"]
    assert all(f"Utterance {longest}," in title_of(each.figure) for each in contours)


def test_iterations_that_are_not_trained_are_said(swept: Path, small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "copy")
    store, chains = opened(tmp_path / "copy", small_data)
    for chain in chains:
        if chain.last.rule == "bdsl" and chain.last.label_source == "in_fold":
            shutil.rmtree(Path(store.uri) / "stages" / chain.last.key)
    found = drawn(tmp_path / "copy", small_data)
    contours = next(
        each for name, each in found.items() if name.startswith("contours-synthetic-tiny-stratified-in_fold-bdsl")
    )
    assert len(contours.figure.axes) == 1 and "Iterations missing: 2." in title_of(contours.figure)
    curves = found["learning-curves-synthetic-tiny-stratified-in_fold-bdsl"]
    assert "Folds missing: of 2 there are 0 at t = 2." in title_of(curves.figure)


def test_epochs_are_counted_from_one(drawings: dict[str, Drawing]) -> None:
    figure = drawings["learning-curves-synthetic-tiny-stratified-none"].figure
    assert points(figure.axes[0].get_lines()[0].get_xdata()) == [1, 2]


def test_label_correction_is_what_stages_say(swept: Path, small_data: Path) -> None:
    store, chains = opened(swept, small_data)
    frame = label_correction(store, chains)
    (found,) = frame[(frame["rule"] == "bdsl") & (frame["label_source"] == "in_fold") & (frame["iteration"] == 2)][
        "targets_right"
    ]
    stages = [c.last for c in chains if c.last.rule == "bdsl" and c.last.label_source == "in_fold"]
    said = [(store.read_stage(stage.key) or {})["metrics"]["targets_right"] for stage in stages]
    assert found == pytest.approx(100 * np.mean(said))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions by mean pooling alone, which take no time."""
    monkeypatch.setattr(analysis, "decide", partial(decide, forest_seeds=0))


def test_the_command_writes_figures_and_their_index(
    swept: Path, small_data: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures"
    assert main(["figures", *arguments(swept, small_data), "--out", str(out), "--format", "svg"]) == 0
    figures = json.loads((out / "index.json").read_text())["figures"]
    assert f"{len(figures)} figures in {out}" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"index.json"} | {file for one in figures for file in one["files"]}
    for path in out.glob("*.svg"):
        ET.parse(path)


def test_an_unknown_utterance_is_refused_with_near_ones(
    swept: Path, small_data: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "figures",
        *arguments(swept, small_data),
        "--out",
        str(tmp_path / "out"),
        "--utterance",
        "s01_t01_anger_9",
    ]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "utterance 's01_t01_anger_9' is in none of the grid's corpora; similar ids: s01_t01_anger_" in said
    assert not (tmp_path / "out" / "index.json").exists()


def test_an_utterance_that_no_network_was_tested_on_is_refused(swept: Path, small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "copy")
    store, chains = opened(tmp_path / "copy", small_data)
    gone = next(chain.last.at(0) for chain in chains if chain.last.fold == 1)
    predictions = store.read_predictions(gone.key)
    assert predictions is not None
    one = store.read_corpus(gone.corpus)[1]["id"].iloc[int(predictions.utterance[predictions.test][0])]
    for chain in chains:
        for stage in chain.stages:
            if stage.fold == 1:
                shutil.rmtree(Path(store.uri) / "stages" / stage.key, ignore_errors=True)
    with pytest.raises(UserError, match="the fold that tests it is not trained"):
        drawn(tmp_path / "copy", small_data, [one])


def test_a_store_with_nothing_trained_is_an_error_that_says_what_to_run(
    small_data: Path, tmp_path: Path, swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "figures",
        str(swept / "grid.yaml"),
        "--data",
        str(small_data),
        "--store",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 2
    assert "train them with: ser-sweep run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Fonts for names in any script


def made_font(folder: Path, name: str, characters: str) -> Path:
    """A font with these characters, each a square."""
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pen = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen(None)
    corners = ((0, 0), (0, 800), (800, 800), (800, 0))
    pen.moveTo(corners[0])
    for corner in corners[1:]:
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(one):X}" for one in characters)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(one): f"u{ord(one):X}" for one in characters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (900, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(folder / f"{name}-Regular.ttf")
    return folder / f"{name}-Regular.ttf"


def test_a_text_is_drawn_in_the_installed_font_that_has_its_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font = made_font(tmp_path, "Made", "怒喜")
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(font)])
    for known in (fonts._installed, fonts._fonts_for):
        known.cache_clear()
    figure = recall_figure([[50.0, 60.0, 70.0]], ["怒喜", "怒り", "fear"])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        content = rendered(figure, tmp_path / "a.svg").decode()
    families = {label.get_text(): label.get_fontfamily() for label in figure.axes[0].get_xticklabels()}
    assert families == {"怒喜": ["DejaVu Sans", "Made"], "怒り": ["DejaVu Sans", "Made"], "fear": ["DejaVu Sans"]}
    assert "Made" in content
    (warned,) = found
    assert issubclass(warned.category, fonts.NoFontWarning)
    assert str(warned.message).startswith("no installed font has り (U+308A): figures show a box")
    for known in (fonts._installed, fonts._fonts_for):
        known.cache_clear()


def test_a_title_of_wide_characters_has_shorter_lines() -> None:
    title = "語" * 70
    lines = title_of(recall_figure([[50.0, 60.0]], ["anger", "fear"], title)).split("\n")
    assert "".join(lines) == title and max(map(len, lines)) <= ONE_COLUMN * 17 / 2


def test_figures_whose_characters_all_are_in_matplotlibs_font_look_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> list[str]:
        raise AssertionError("looked for fonts")

    monkeypatch.setattr(fonts, "findSystemFonts", refuse)
    rendered(recall_figure([[50.0, 60.0]], ["Ärger", "радость"]), tmp_path / "a.png")
