"""Figures as files: reproducible, safe, legible in any script, and described in an index."""

import json
import re
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from analysis.figures import (
    Drawing,
    draw_alpha_curve,
    draw_class_recall,
    draw_confusion,
    draw_reliability,
    draw_speaker_recall,
    fonts,
    save_figure,
    save_figures,
)
from analysis.figures.save import slug
from analysis.figures.style import ONE_COLUMN
from analysis.scoring.calibration import reliability
from tests.analysis.drawn_figures import (
    EMOTIONS,
    SVG,
    alpha_points,
    contour,
    recall_figure,
    rendered,
    title_of,
)

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
    "speaker-recall": lambda: draw_speaker_recall(
        np.eye(30, 7), np.ones((30, 7)), list(map(str, range(30))), EMOTIONS, "A"
    ),
    "reliability": lambda: draw_reliability(
        {name: reliability([0.5, 0.9], [0, 1]) for name in "abcde"}, dict.fromkeys("abcde", 5.0), "A\nB"
    ),
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
