"""All predictions of a store as one data set, and what the documentation says can be asked of it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import sweep.storage.export
from dsl.labels import LabelUpdate, labels_of
from ser_sweep.cli import main
from sweep.planning.stages import StageSpec
from sweep.storage.export import export
from sweep.storage.predictions import Predictions
from sweep.storage.store import Store, StoreError

DOCS = Path(__file__).parents[2] / "docs" / "store.md"
WriteGrid = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder with a grid, its finished store, and an EXPORT of that."""
    folder = tmp_path_factory.mktemp("exported")
    grid = {"corpora": ["synthetic"], "backbones": ["tiny"], "rules": ["none", "bdsl"], "folds": 2}
    training = {"epochs": 1, "every": 64}
    (folder / "grid.yaml").write_text(json.dumps({**grid, "weights": "last", "training": training}), encoding="utf-8")
    place = ["--data", str(small_data), "--store", str(folder / "store")]
    assert main(["run", str(folder / "grid.yaml"), *place, "--inline"]) == 0
    assert main(["store", "export", "--store", str(folder / "store"), "--out", str(folder / "EXPORT")]) == 0
    return folder


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(folder / "store")


def read(store: Store, key: str) -> Predictions:
    predictions = store.read_predictions(key)
    assert predictions is not None
    return predictions


def exported(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "predictions")


def test_every_prediction_of_every_stage_is_there(folder: Path, store: Store) -> None:
    rows = exported(folder / "EXPORT")
    assert set(rows["stage"]) == store.done_keys()
    for record in store.records():
        found, expected = rows[rows["stage"] == record["key"]], read(store, record["key"])
        _, utterances = store.read_corpus(record["identity"]["corpus"])
        said = utterances.iloc[expected.utterance]
        best = expected.q.argmax(axis=1)
        np.testing.assert_array_equal(np.stack(found["q"].to_list()), expected.q)
        np.testing.assert_array_equal(found["predicted"], np.array(record["classes"])[best])
        np.testing.assert_array_equal(found["probability"], expected.q.max(axis=1))
        np.testing.assert_array_equal(found["test"], expected.test)
        np.testing.assert_array_equal(found["segment"], expected.segment)
        for column, original in (("utterance", "id"), ("speaker", "speaker"), ("emotion", "emotion")):
            np.testing.assert_array_equal(found[column], said[original])
        truth = [labels[segment] for labels, segment in zip(said["true_labels"], expected.segment, strict=True)]
        np.testing.assert_array_equal(found["true_emotion"], np.array(record["classes"])[truth])


def test_a_stage_has_a_row_of_what_it_is_and_what_came_of_it(folder: Path, store: Store) -> None:
    stages = pd.read_parquet(folder / "EXPORT" / "stages.parquet").set_index("stage")
    assert set(stages.index) == store.done_keys()
    for record in store.records():
        row, identity = stages.loc[record["key"]], record["identity"]
        assert [row[name] for name in ("corpus", "backbone", "fold")] == [
            identity[name] for name in ("corpus", "backbone", "fold")
        ]
        assert row["iteration"] == record["iteration"]
        assert row["setting_every"] == identity["training"]["every"]
        assert row["test_segment_accuracy"] == record["metrics"]["test_segment_accuracy"]
        assert row["finished"] == pd.Timestamp(record["timing"]["finished"])
        assert row["device_host"] == record["device"]["host"]
        assert row["version_torch"] == record["versions"]["torch"]
        assert row["weights"] == ("weights" in record)
        assert list(row["classes"]) == record["classes"]
        assert [epoch["validation_loss"] for epoch in row["history"]] == [
            epoch["validation_loss"] for epoch in record["history"]
        ]
    assert set(zip(stages["rule"], stages["label_source"], strict=True)) == {("none", ""), ("bdsl", "in_fold")}


def test_identity_is_in_both_tables(folder: Path, store: Store, tmp_path: Path) -> None:
    record = next(store.records())
    annealed = (LabelUpdate("wdsl", 0.5), LabelUpdate("wdsl", 0.2))
    stage = replace(
        StageSpec.of_identity(record["identity"]),
        updates=annealed,
        label_source="cross_fit",
        inner_folds=5,
        inner_fold=3,
        labels="permuted",
        seed=2**32 - 1,
    )
    own = Store(tmp_path / "store")
    own.create()
    about, utterances = store.read_corpus(stage.corpus)
    copy_corpus(store, own, stage.corpus)
    predictions = read(store, record["key"])
    own.commit(stage, predictions, {})
    assert export(own, tmp_path / "out") == 1
    expected = {
        "stage": stage.key,
        "corpus": stage.corpus,
        "backbone": "tiny",
        "split": "stratified",
        "folds": 2,
        "fold": stage.fold,
        "seed": 2**32 - 1,
        "label_source": "cross_fit",
        "rule": "wdsl",
        "alpha": "0.5→0.2",
        "iteration": 2,
        "inner_fold": 3,
        "labels": "permuted",
    }
    rows = exported(tmp_path / "out")
    (row,) = pd.read_parquet(tmp_path / "out" / "stages.parquet").to_dict("records")
    assert {name: row[name] for name in expected} == expected
    assert rows[list(expected)].drop_duplicates().to_dict("records") == [expected]
    permuted = labels_of(utterances, "permuted", stage.seed)[predictions.utterance]
    np.testing.assert_array_equal(rows["emotion"], np.array(list(about["classes"]))[permuted])


def copy_corpus(store: Store, other: Store, name: str) -> None:
    for entry in store.folder.entries(f"corpora/{name}"):
        other.folder.write(str(entry.path), store.folder.read(str(entry.path)) or b"")


def test_large_exports_are_of_several_files(
    folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep.storage.export, "PART_BYTES", 0)
    export(store, tmp_path / "out")
    assert [path.name for path in sorted((tmp_path / "out").rglob("part-*"))] == [
        f"part-{number:05d}.parquet" for number in range(4)
    ]
    pd.testing.assert_frame_equal(exported(tmp_path / "out"), exported(folder / "EXPORT"))


def test_a_file_has_a_row_group_for_each_stage(folder: Path) -> None:
    (path,) = (folder / "EXPORT" / "predictions").rglob("*.parquet")
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(number, ["stage"])["stage"].unique().to_pylist() for number in range(4)]
    assert all(len(stages) == 1 for stages in groups)
    assert file.num_row_groups == 4


def test_stages_that_versions_described_differently_are_in_one_table(store: Store, tmp_path: Path) -> None:
    record = next(store.records())
    stage = StageSpec.of_identity(record["identity"])
    own = Store(tmp_path / "store")
    own.create()
    copy_corpus(store, own, stage.corpus)
    described: list[dict[str, Any]] = [{"metrics": {"kept": 3}}, {"metrics": {"kept": "last"}, "cost": {"kwh": 0.1}}]
    for seed, facts in enumerate(described):
        own.commit(replace(stage, seed=seed), read(store, record["key"]), facts)
    export(own, tmp_path / "out")
    stages = pd.read_parquet(tmp_path / "out" / "stages.parquet").sort_values("seed")
    assert list(stages["kept"]) == ["3", "last"]
    assert list(stages["cost_kwh"].fillna(-1)) == [-1, 0.1]


def snippets() -> dict[str, str]:
    """The examples of docs/store.md, by the library that each imports."""
    found = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return {match[1]: code for code in found if "EXPORT" in code and (match := re.search(r"import (\w+)", code))}


@pytest.mark.parametrize("library", ["duckdb", "polars", "pandas"])
def test_the_documented_examples_tell_the_accuracy_of_segments(
    folder: Path, store: Store, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    known: dict[str, Any] = {}
    exec(snippets()[library], known)
    accuracy = known["accuracy"]
    frame = accuracy if isinstance(accuracy, pd.DataFrame) else accuracy.to_pandas()
    found = frame.set_index(["rule", "fold"])["accuracy"].to_dict()
    records = {record["key"]: record for record in store.records()}
    assert found == {
        (stage.rule, stage.fold): pytest.approx(records[stage.key]["metrics"]["test_segment_accuracy"])
        for stage in (StageSpec.of_identity(record["identity"]) for record in records.values())
    }


def test_an_export_can_be_of_one_grid(
    folder: Path, small_data: Path, write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(rules=["none"], seeds=[0, 1], training={"epochs": 1, "every": 64})
    place = ["--data", str(small_data), "--store", str(folder / "store")]
    assert main(["store", "export", str(grid), *place, "--out", str(tmp_path / "out")]) == 0
    assert f"2 stages of the grid's 4 in {tmp_path / 'out'}" in capsys.readouterr().out
    assert set(pd.read_parquet(tmp_path / "out" / "stages.parquet")["rule"]) == {"none"}
    assert main(["store", "export", str(grid), *place[2:], "--out", str(tmp_path / "other")]) == 2
    assert "needs both the grid file and --data" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["mine.txt", ".hidden"])
def test_an_export_overwrites_nothing(
    store: Store, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / file).write_text("mine")
    assert main(["store", "export", "--store", store.uri, "--out", str(tmp_path / "out")]) == 2
    assert "already exists; give an empty or new folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [file]


def test_an_empty_folder_is_as_good_as_a_new_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(store, tmp_path / "out") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_that_fails_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = max(store.done_keys())
    whole = store.read_predictions
    monkeypatch.setattr(store, "read_predictions", lambda key: None if key == damaged else whole(key))
    with pytest.raises(StoreError, match=f"stage {damaged} is damaged"):
        export(store, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_empty_store_has_nothing_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path / "store").create()
    assert main(["store", "export", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 2
    assert "holds no stage to export" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_export_from_s3_to_s3_is_the_same(folder: Path, store: Store, s3_bucket: str, tmp_path: Path) -> None:
    there = Store(f"{s3_bucket}/store")
    for entry in store.folder.entries(recursive=True):
        there.folder.write(str(entry.path), store.folder.read(str(entry.path)) or b"")
    command = ["store", "export", "--store", there.uri, "--out", f"{s3_bucket}/export"]
    assert main(command) == 0
    exports = there.folder.parent / "export"
    for entry in exports.entries(recursive=True):
        assert exports.read(str(entry.path)) == (folder / "EXPORT" / entry.path).read_bytes()
    assert len(exports.entries(recursive=True)) == 2
    assert main(command) == 2
