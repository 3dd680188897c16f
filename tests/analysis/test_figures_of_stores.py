"""The figures of a store: which there are, of what, and the command that draws them."""

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import decide, label_correction
from analysis.figures import (
    Drawing,
    figures_of,
)
from analysis.figures.cells import ChainCell, shown_cells
from analysis.figures.score_figures import class_recall
from analysis.figures.stage_figures import label_corrections
from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from data_prep.segments import segment_centres
from ser_sweep.cli import main
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store
from tests.analysis.drawn_figures import (
    curve,
    line,
    points,
    pooled,
    title_of,
)
from tests.analysis.made_by_hand import network
from tests.analysis.recorded_sweep import RECORDED, source_of

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
        "speakers": 2,
        "speaker-recall": 5,
        "calibration": 2,
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
