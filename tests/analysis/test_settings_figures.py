"""Figures of settings: by one field at a time, with every setting as a point, and as parallel coordinates."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.figures import draw_parallel, draw_setting_axes, draw_thinning_curve, save_figures
from analysis.figures.settings import SERIES, TEST, VALIDATION, Places
from analysis.figures.settings_figures import settings_figures
from analysis.scoring.ranking import BySetting
from sweep.planning.settings import Setting
from tests.analysis.drawn_figures import curve, names_in_legend, title_of
from tests.analysis.made_by_hand import decisions_of, first_right, setup_with

LABEL = np.arange(40) % 2
SPEAKERS = [f"s{row % 4}" for row in range(40)]


def decided(right: int, validation: float, **about: Any) -> pd.DataFrame:
    rules = {"none": right, "bdsl": right - 4}
    return pd.concat(
        [
            decisions_of(first_right(own, LABEL), LABEL, SPEAKERS, validation_wa=validation, rule=rule, **about)
            for rule, own in rules.items()
        ]
    )


def by(validation: float | None = None) -> BySetting:
    """Two learning rates by two precisions."""
    found = {}
    for number, (rate, precision) in enumerate([(r, p) for r in (0.001, 0.01) for p in ("bfloat16", "float32")]):
        setting = Setting((("learning_rate", rate), ("precision", precision)))
        found[setting] = decided(20 + 4 * number, 50.0 + number if validation is None else validation)
    return BySetting(found, next(iter(found)), "one of 4")


def test_a_grid_of_several_settings_has_a_figure_of_its_fields_and_one_of_all(tmp_path: Path) -> None:
    listed = save_figures(settings_figures(by()), tmp_path, formats=("svg",))
    assert [one["kind"] for one in listed] == ["settings-axes", "settings-parallel"]
    axes, parallel = listed
    assert "learning_rate 0.001: validation 50.5, test 50.0" in axes["alt"]
    assert "precision float32: validation 52.0, test 65.0" in axes["alt"]
    assert "Highest 53.0: BDSL, learning_rate 0.01, precision float32" in parallel["alt"]
    assert all((tmp_path / one["files"][0]).is_file() for one in listed)


def test_a_grid_of_one_setting_has_none() -> None:
    assert list(settings_figures(BySetting({Setting(): decided(20, 50.0)}, Setting()))) == []


def test_without_validation_there_are_no_parallel_coordinates() -> None:
    assert [one.kind for one in settings_figures(by(validation=np.nan))] == ["settings-axes"]


def thinned(*fields: str, **setup: Any) -> BySetting:
    """No DSL and BDSL on every second segment, and on all of them."""
    found = {}
    for every in (1, 2):
        setting = Setting((("every", every), *((field, every) for field in fields)))
        found[setting] = decided(24 - 4 * every, 50.0, setup=setup_with(every=every, **setup))
    return BySetting(found, next(iter(found)), "one of 2")


SEGMENTS = {"emodb": np.array([5, 10, 1])}


def test_the_thinning_curve_stands_beside_the_papers_rates() -> None:
    curve_of_all, *others = settings_figures(thinned(), SEGMENTS)
    assert (curve_of_all.kind, [one.kind for one in others]) == ("thinning", ["settings-axes", "settings-parallel"])
    wa, ua = curve_of_all.figure.axes
    assert curve(wa, "No DSL") == ([9, 16], [40, 50])
    assert curve(wa, "BDSL") == ([9, 16], [30, 40])
    assert [curve(axes, "No DSL, published")[1][0] for axes in (wa, ua)] == [80.37, 79.99]
    assert curve(wa, "BDSL, published")[1][0] == 81.68
    assert wa.containers and "with 95% bootstrap intervals over utterances" in curve_of_all.caption
    assert [one.get_text() for one in ua.get_xticklabels()] == ["9\n1/2", "16\nall"]
    assert "No DSL, 9 segments: 40.0" in curve_of_all.alt and "No DSL, published: 80.37" in curve_of_all.alt
    assert "Set-up: at most 12 epochs, 10 folds" in curve_of_all.caption
    assert "Not the paper's" not in curve_of_all.caption


def test_segments_that_are_close_to_one_another_are_not_all_named() -> None:
    every = np.arange(1, 40)
    many = pd.DataFrame({"every": every, "segments": 131_053 // every, "series": "a", "wa": 70.0, "ua": 69.0})
    figure = draw_thinning_curve(many.assign(complete=True, published_wa=np.nan, published_ua=np.nan), "title")
    ticks = [one.get_text() for one in figure.axes[1].get_xticklabels()]
    assert 4 <= len(ticks) <= 7 and "131,053\nall" in ticks


def test_points_with_folds_missing_are_hollow_and_alone_and_their_share_is_told() -> None:
    by = thinned()
    found = {one: own.assign(folds_done=3) if one.by_field["every"] == 2 else own for one, own in by.decisions.items()}
    drawing, *others = settings_figures(BySetting(found, by.shown), SEGMENTS)
    wa = drawing.figure.axes[0]
    assert curve(wa, "No DSL") == ([16], [50])
    hollow = [one for one in wa.lines if one.get_markerfacecolor() == "white" and len(np.asarray(one.get_xdata()))]
    assert [np.asarray(one.get_xdata()).tolist() for one in hollow] == [[9], [9]]
    assert {one.get_linestyle() for one in hollow} == {"None"}
    assert "folds missing" in names_in_legend(drawing.figure)
    for one in (drawing, *others):
        assert (
            "Folds missing: No DSL at t = 0 (every 2) has 3 of 10; BDSL at t = 1 (every 2) has 3 of 10." in one.caption
        )
        assert "(every 2) has 3 of 10" in title_of(one.figure)
    assert "Hollow points" in drawing.caption and "Hollow" not in next(settings_figures(by, SEGMENTS)).caption


@pytest.mark.parametrize(("decision", "name"), [("forest", "random forest"), ("mean", "mean pooling")])
def test_figures_of_settings_say_who_decided(decision: str, name: str) -> None:
    by = {one: own.assign(decision=decision) for one, own in thinned().decisions.items()}
    curve_of_all, axes, parallel = settings_figures(BySetting(by, Setting()), SEGMENTS)
    assert f"decided by {name}," in curve_of_all.caption and f"thinned, {name}" in in_a_line(curve_of_all.figure)
    assert f"by mean pooling, and on test utterances, by {name}," in axes.caption
    assert f"validation by mean pooling, test by {name}" in in_a_line(axes.figure)
    assert "validation utterances, by mean pooling;" in parallel.caption
    assert "by setting, by mean pooling" in in_a_line(parallel.figure)


def in_a_line(figure: Figure) -> str:
    return " ".join(title_of(figure).split())


def test_it_tells_what_else_is_not_the_papers() -> None:
    drawing = next(settings_figures(thinned(epochs=8, staircase=False), SEGMENTS))
    told = "Not the paper's set-up: at most 8 epochs (paper: 12), continuous decay (paper: not said)."
    assert told in drawing.caption


def test_it_names_the_kind_of_its_intervals() -> None:
    of_kind = {one: own.assign(intervals="speaker") for one, own in thinned().decisions.items()}
    drawing = next(settings_figures(BySetting(of_kind, Setting()), SEGMENTS))
    assert "with 95% bootstrap intervals over speakers by the number of segments" in drawing.caption


def test_of_another_corpus_it_has_no_published_rates() -> None:
    other = BySetting({one: own.assign(corpus="mine") for one, own in thinned().decisions.items()}, Setting())
    drawing = next(settings_figures(other, {"mine": SEGMENTS["emodb"]}))
    assert names_in_legend(drawing.figure) == ["No DSL", "BDSL"]
    assert "paper" not in drawing.caption


def test_where_settings_differ_in_more_than_thinning_there_is_no_thinning_curve() -> None:
    assert "thinning" not in [one.kind for one in settings_figures(thinned("epochs"), SEGMENTS)]


def points() -> pd.DataFrame:
    rows = [(0.001, 32, "a", 50.0, 40.0), (0.001, 64, "a", 60.0, 50.0), (0.01, 32, "a", 70.0, 60.0)]
    return pd.DataFrame(rows, columns=["learning_rate", "batch_size", SERIES, VALIDATION, TEST])


def test_every_setting_is_a_point_and_the_line_leads_through_means() -> None:
    figure = draw_setting_axes(points(), ["learning_rate", "batch_size"], "title")
    first = figure.axes[0]
    dots, mean = first.lines
    assert list(dots.get_ydata()) == [50, 60, 70]  # type: ignore[arg-type]
    assert list(mean.get_ydata()) == [55, 70]  # type: ignore[arg-type]
    assert [one.get_text() for one in first.get_xticklabels()] == ["0.001", "0.01"]
    assert first.get_xlabel() == "learning_rate"


def test_many_numbers_stand_to_scale_without_a_line() -> None:
    rates = np.geomspace(1e-4, 1e-2, 16)
    many = pd.DataFrame({"learning_rate": rates, SERIES: "a", VALIDATION: 50.0, TEST: 40.0})
    dots, legend = draw_setting_axes(many, ["learning_rate"], "title").axes[0].lines
    assert dots.get_xdata() == pytest.approx(np.log10(rates))
    assert len(np.asarray(legend.get_xdata())) == 0
    places, texts = Places(rates.tolist()).ticks()
    assert (places[0], texts[0], texts[-1]) == (pytest.approx(-4), "0.0001", "0.01")


def test_higher_rates_are_darker_and_thicker() -> None:
    figure = draw_parallel(points(), ["learning_rate", "batch_size"], "title")
    low, middle, high = figure.axes[0].lines[:3]
    grey = [float(np.dot(np.array(line.get_color())[:3], (0.299, 0.587, 0.114))) for line in (low, middle, high)]
    assert grey == sorted(grey, reverse=True)
    assert low.get_linewidth() < middle.get_linewidth() < high.get_linewidth()
    assert [line.get_ydata()[-1] for line in (low, middle, high)] == [0, 0.5, 1]  # type: ignore[index]


def test_names_are_drawn_as_they_are() -> None:
    figure = draw_parallel(points().assign(**{SERIES: ["$x$", "a", "b"]}), ["learning_rate"], "title")
    assert {"network", "learning_rate", "validation WA [%]", "$x$"} <= {one.get_text() for one in figure.axes[0].texts}
