"""A store that version 0.1.0 wrote (made_by_0_1_0/, byte for byte) is read by every later version."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_prep.synthetic import SyntheticCorpus, write_corpus
from ser_sweep.cli import main
from sweep.storage.store import Store

MADE = Path(__file__).parent / "made_by_0_1_0"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A copy: launches write to theirs."""
    return Store(shutil.copytree(MADE / "store", tmp_path / "store"))


@pytest.fixture
def place(store: Store) -> list[str]:
    return [str(MADE / "grid.yaml"), "--data", str(MADE / "data"), "--store", store.uri]


def test_every_stage_has_the_predictions_that_its_file_has(store: Store) -> None:
    files = {path.parent.name: path for path in (MADE / "store" / "stages").glob("*/predictions-*.parquet")}
    assert store.done_keys() == files.keys()
    assert len(files) == 10
    for key, path in files.items():
        found, written = store.read_predictions(key), pq.read_table(path)
        assert found is not None
        np.testing.assert_array_equal(found.q, np.array(written["q"].to_pylist(), dtype=np.float32))
        np.testing.assert_array_equal(found.utterance, written["utterance"])


def test_it_is_whole(store: Store, capsys: Capture) -> None:
    assert main(["store", "verify", "--store", store.uri]) == 0
    assert "everything in the store is whole" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["plan", "status"])
def test_its_stages_are_told_and_not_mixed_with_those_of_now(command: str, place: list[str], capsys: Capture) -> None:
    assert main([command, *place]) == 0
    said = capsys.readouterr().out
    assert "10 of the missing were trained by an earlier version of the method" in said


def test_its_launches_are_told(store: Store, capsys: Capture) -> None:
    assert main(["launches", "--store", store.uri, "--json"]) == 0
    (launch,) = json.loads(capsys.readouterr().out)
    assert (launch["grid"], launch["trained"]) == ("made_by_0_1_0", 10)


def test_all_of_it_can_be_exported(store: Store, tmp_path: Path) -> None:
    assert main(["store", "export", "--store", store.uri, "--out", str(tmp_path / "EXPORT"), "--quiet"]) == 0
    stages = pd.read_parquet(tmp_path / "EXPORT" / "stages.parquet")
    assert set(stages["stage"]) == store.done_keys()
    assert sorted(stages["label_source"].unique()) == ["", "cross_fit", "in_fold"]
    assert set(pd.read_parquet(tmp_path / "EXPORT" / "predictions")["stage"]) == store.done_keys()


def test_its_networks_predict(store: Store, tmp_path: Path, capsys: Capture) -> None:
    recordings = write_corpus(tmp_path / "audio", SyntheticCorpus(speakers=1, texts=1, takes=1)).parent
    recording = sorted(recordings.rglob("*.wav"))[0]
    key = next(record["key"] for record in store.records() if "weights" in record)
    assert main(["predict", "--store", store.uri, "--stage", key, str(recording), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["recordings"]
    assert said["networks"][0]["decision"] in ("anger", "happiness", "neutral", "sadness")


def test_a_launch_of_now_adds_to_it(
    store: Store, small_data: Path, write_grid: Callable[..., Path], capsys: Capture
) -> None:
    before = {path: path.read_bytes() for path in Path(store.uri, "stages").rglob("*") if path.is_file()}
    name = next(path.name for path in small_data.iterdir() if (path / "manifest.json").exists())
    grid = write_grid(corpora=[name], rules=["none"], folds=2, training={"epochs": 1, "every": 64})
    assert main(["run", str(grid), "--data", str(small_data), "--store", store.uri, "--inline", "--quiet"]) == 0
    assert len(store.done_keys()) == 12
    assert {path: path.read_bytes() for path in before} == before
