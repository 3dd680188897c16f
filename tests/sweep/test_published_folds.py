"""Folds of a file from end to end: imported, shown, trained, resumed, told, and refused where they are wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from data_prep.fold_lists import FoldListError, column_of
from ser_sweep import open_results, open_sweep
from ser_sweep.cli import main
from ser_sweep.sweeps import Sweep
from sweep.planning.grid import GridError
from sweep.storage.store import Store
from sweep.storage.upkeep import verify
from tests.emobox_lists import FILES, write_lists, write_sounds

GRID = {
    "corpora": ["emodb", "savee", "ravdess"],
    "backbones": ["tiny"],
    "rules": ["none", "bdsl"],
    "label_sources": ["in_fold", "global_oof"],
    "folds": {"file": "emobox.csv"},
    "training": {"epochs": 1, "every": 8},
}


def write_grid(folder: Path, **fields: Any) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({**GRID, **fields}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with parts of three corpora in DATA, EmoBox's lists of them in EmoBox, and the grid trained in STORE."""
    place = tmp_path_factory.mktemp("published")
    write_sounds(place / "audio")
    for corpus in FILES:
        source = str(place / "audio" / corpus)
        options = ["--out", str(place / "DATA"), "--allow-partial", "--inline", "--quiet"]
        assert main(["prepare", corpus, "--source", source, *options]) == 0
    write_lists(place / "EmoBox")
    out = str(place / "emobox.csv")
    assert main(["folds", "import", "emobox", str(place / "EmoBox"), "--data", str(place / "DATA"), "--out", out]) == 0
    open_sweep(write_grid(place), place / "DATA", place / "STORE").run(inline=True, quiet=True)
    return place


def sweep_of(place: Path, folder: Path | None = None, store: str = "STORE", **fields: Any) -> Sweep:
    return open_sweep(write_grid(folder or place, **fields), place / "DATA", place / store)


def keys_of(sweep: Sweep) -> set[str]:
    return {stage.key for chain in sweep.chains for stage in chain.stages}


def changed(place: Path, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """`folder`, with a changed file of the folds."""
    lines = change(pd.read_csv(place / "emobox.csv", dtype=str))
    lines.to_csv(folder / "emobox.csv", index=False)
    return folder


def test_the_grid_is_trained_in_the_folds_of_each_corpus_and_resumed_without_training(place: Path) -> None:
    sweep = sweep_of(place)
    folds = {stage.corpus.partition("-")[0]: stage.folds for stage in sweep.plan.stages.values()}
    assert folds == {"emodb": 5, "savee": 4, "ravdess": 6}
    assert sweep.plan.counts() == {"total": 45, "done": 45, "missing": 0, "failed": 0}
    assert sweep.run(inline=True, quiet=True).outcome.trained == 0


def test_networks_are_tested_on_what_the_file_says(place: Path) -> None:
    lines = pd.read_csv(place / "emobox.csv").set_index("utterance")["fold"]
    decisions = sweep_of(place).decisions()
    assert set(decisions["utterance"]) == set(lines.index)
    assert (decisions["fold"] == decisions["utterance"].map(lines)).all()
    assert set(decisions["split"]) == {"emobox.csv"}
    assert set(decisions["decision"]) == {"forest", "mean"}  # each fold has a forest of its own


def test_neither_order_nor_numbers_nor_the_name_of_the_file_change_a_key(place: Path, tmp_path: Path) -> None:
    lines = pd.read_csv(place / "emobox.csv")
    shuffled = lines.sample(frac=1, random_state=0).assign(fold=lambda one: one["fold"] + 1)
    shuffled.to_csv(tmp_path / "other.csv", index=False)
    assert keys_of(sweep_of(place, tmp_path, folds={"file": "other.csv"})) == keys_of(sweep_of(place))


def test_another_fold_of_an_utterance_changes_the_keys_of_its_corpus_alone(place: Path, tmp_path: Path) -> None:
    def other(lines: pd.DataFrame) -> pd.DataFrame:
        return lines.assign(fold=lines["fold"].where(lines["utterance"] != "03a01Wa", "4"))

    plan = sweep_of(place, changed(place, tmp_path, other)).plan
    missing = {stage.corpus.partition("-")[0] for stage in plan.to_train.values()}
    assert missing == {"emodb"} and plan.counts()["missing"] == 15


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lines: pd.concat([lines, pd.DataFrame([["savee", "DC_a01", "2"]], columns=lines.columns)]),
            "folds: emobox.csv, savee: 1 utterance (DC_a01) tested in more than one fold; leave each in one",
        ),
        (
            lambda lines: lines[~lines["utterance"].str.startswith("03")],
            "folds: emobox.csv, emodb: 4 utterances (03a01Na, 03a01Wa, 03b02Na, …) of 40 in no fold; list them",
        ),
        (
            lambda lines: lines.assign(fold=lines["fold"].replace({"5": "6"})),
            "folds: emobox.csv, ravdess: 1 fold (5) missing between 0 and 6; number the folds without gaps",
        ),
        (
            lambda lines: lines[lines["corpus"] != "savee"],
            "folds: emobox.csv, savee: the file has no line of the corpus; its column corpus has emodb, ravdess",
        ),
        (
            lambda lines: lines.drop(columns="corpus"),
            "folds: emobox.csv, emodb: the file has no column corpus, and the grid has several corpora",
        ),
    ],
    ids=["overlap", "incomplete", "gap", "no corpus", "no column corpus"],
)
def test_a_file_that_does_not_fit_is_refused_by_name(
    place: Path, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    with pytest.raises(GridError) as refused:
        sweep_of(place, changed(place, tmp_path, change))
    assert said in str(refused.value)


def test_a_file_that_is_gone_is_asked_for_and_the_store_has_its_folds(place: Path, tmp_path: Path) -> None:
    with pytest.raises(FoldListError, match="or the list that a store keeps"):
        sweep_of(place, tmp_path)
    (kept,) = (place / "STORE" / "corpora").glob("savee-*/folds-*.json")
    again = sweep_of(place, tmp_path, corpora=["savee"], folds={"file": str(kept)})
    assert again.plan.counts() == {"total": 12, "done": 12, "missing": 0, "failed": 0}


def test_a_store_is_whole_by_itself_and_says_where_it_is_not(place: Path, tmp_path: Path) -> None:
    store = shutil.copytree(place / "STORE", tmp_path / "STORE")
    assert verify(Store(store)) == []
    (kept,) = store.glob("corpora/savee-*/folds-*.json")
    digest = kept.stem.removeprefix("folds-")
    _, utterances = Store(store).read_corpus(kept.parent.name)
    assert dict(utterances[["id", column_of(digest)]].to_numpy())["JE_a01"] == "ltll"
    kept.write_text("{}")
    damaged, missing = verify(Store(store))
    assert (damaged.what[:7], missing.path) == ("damaged", str(kept.relative_to(store)))
    sweep = open_sweep(write_grid(place), place / "DATA", store)
    sweep.run(inline=True, quiet=True)
    assert verify(Store(store)) == []


def test_results_alone_hold_the_folds(place: Path, tmp_path: Path) -> None:
    sweep = sweep_of(place, corpora=["savee"], label_sources=["in_fold"], folds={"file": str(place / "emobox.csv")})
    sweep.export_results(tmp_path / "RESULTS")
    moved = (tmp_path / "RESULTS").rename(tmp_path / "moved")
    assert yaml.safe_load((moved / "grid.yaml").read_text())["folds"] == {"file": "emobox.csv"}
    pd.testing.assert_frame_equal(open_results(moved).scores(), sweep.scores())


def test_a_report_shows_what_folds_share_and_its_cells_can_be_run(place: Path, tmp_path: Path) -> None:
    sweep = sweep_of(place, corpora=["savee"], label_sources=["in_fold"])
    sweep.report(tmp_path / "REPORT", forests=False)
    page = (tmp_path / "REPORT" / "index.html").read_text()
    assert "0 of 24 test utterances: by a speaker whom training or validation has, too" in page
    (cell,) = (tmp_path / "REPORT" / "cells").glob("savee-*-bdsl-in_fold-*.yaml")
    again = open_sweep(cell, place / "DATA", place / "STORE")
    assert again.plan.counts() == {"total": 8, "done": 8, "missing": 0, "failed": 0}


def test_the_command_shows_them_for_people_and_programs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["folds", "show", str(write_grid(place)), "--data", str(place / "DATA")]
    assert main(command) == 0
    assert "), 6 folds, seed 0\n\n| fold" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    shown = {one["corpus"].partition("-")[0]: one for one in json.loads(capsys.readouterr().out)}
    assert [one["overlaps"]["speaker"]["values"] for one in shown["ravdess"]["parts"]] == [4] * 6


def test_an_import_says_what_the_folds_are_and_what_is_not_there(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["folds", "import", "emobox", str(place / "EmoBox"), "--out", str(tmp_path / "folds.csv")]
    assert main([*command, "--corpora", "savee"]) == 0
    said = capsys.readouterr().out
    assert "savee: 24 utterances, 4 folds; each fold leaves out 1 speaker (DC; JE; JK; KL)" in said
    assert main([*command, "--corpora", "iemocap"]) == 2
    assert "--corpora iemocap: EmoBox's lists of it are not there" in capsys.readouterr().err
    assert main(command) == 2
    assert "has other folds than would be written; give another --out" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert main([*command, "--data", str(tmp_path / "none")]) == 2
    assert "no corpus of EmoBox's (emodb, savee, ravdess) is prepared in" in capsys.readouterr().err


def single(lines: pd.DataFrame) -> pd.DataFrame:
    """One fold of SAVEE, which tests a speaker."""
    own = lines[lines["corpus"] == "savee"]
    return own.assign(fold=0, part=own["fold"].map({"0": "test"}).fillna("train"))


def test_a_list_that_tests_a_part_says_so(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "6 of 24 utterances are tested"
    of_savee: dict[str, Any] = {"corpora": ["savee"], "rules": ["none"], "label_sources": ["in_fold"]}
    sweep = sweep_of(place, changed(place, tmp_path, single), store="SINGLE", **of_savee)
    notices: list[str] = []
    sweep.run(inline=True, quiet=True, notice=notices.append)
    assert notices[:1] == [f"notice: savee, emobox.csv: {said}; all rates are of these alone"]
    grid = [str(tmp_path / "grid.yaml"), "--data", str(place / "DATA")]
    with_store = [*grid, "--store", str(place / "SINGLE")]
    for command in (["folds", "show", *grid], ["plan", *with_store], ["tables", *with_store, "--no-forests"]):
        assert main(command) == 0
        assert said in capsys.readouterr().out
    sweep.report(tmp_path / "REPORT", forests=False)
    assert f"{said}: all rates are of these alone" in (tmp_path / "REPORT" / "index.html").read_text()


def test_an_export_says_which_list_it_is(place: Path, tmp_path: Path) -> None:
    sweep = sweep_of(place, corpora=["savee"], label_sources=["in_fold"])
    sweep.export(tmp_path / "EXPORT")
    (listed,) = {stage.listed for stage in sweep.plan.stages.values()}
    assert listed is not None
    for part in ("stages.parquet", "predictions"):
        found = pd.read_parquet(tmp_path / "EXPORT" / part)[["fold_list", "fold_list_digest"]]
        assert found.drop_duplicates().to_numpy().tolist() == [["emobox.csv", listed.digest]]


def test_what_cannot_be_asked_of_listed_folds_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"splits: leave it out; folds says how utterances are split"):
        sweep_of(place, tmp_path, splits=["speaker"])
    with pytest.raises(GridError, match=r"folds: takes a file or a column"):
        sweep_of(place, tmp_path, folds={"file": "a.csv", "column": "fold"})

    folder = changed(place, tmp_path, single)
    with pytest.raises(GridError, match=r"emobox\.csv has 1 fold of savee: nothing is left to be stopped"):
        sweep_of(place, folder, corpora=["savee"], label_sources=["in_fold"], scheduler={"halving": {}})
    with pytest.raises(GridError, match=r"emobox\.csv has no test of 18 utterances \(JE_a01, JE_a02, JE_a03, …\) of"):
        sweep_of(place, folder, corpora=["savee"])
    clean: dict[str, Any] = {"corpora": ["savee"], "label_sources": ["in_fold", "cross_fit"], "inner_folds": 3}
    alone = sweep_of(place, folder, store="ALONE", **clean)
    assert {stage.folds for stage in alone.plan.stages.values()} == {1}


def test_labels_that_a_speaker_gives_away_need_folds_without_the_speaker(place: Path) -> None:
    permuted: dict[str, Any] = {"labels": "permuted_by_speaker", "label_sources": ["in_fold"]}
    sweep_of(place, corpora=["savee"], **permuted)
    with pytest.raises(GridError, match="permuted_by_speaker can be learnt, where a speaker is in training and test"):
        sweep_of(place, corpora=["emodb"], **permuted)
