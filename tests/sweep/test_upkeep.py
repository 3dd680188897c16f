"""Looking after a store: damage is found and mended, garbage goes, and predictions come out as one data set."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweep.cli import main
from sweep.store import Predictions, Store, StoreError
from sweep.upkeep import verify

DOCS = Path(__file__).parents[2] / "docs" / "store.md"
GRID = {"rules": ["none", "bdsl"], "weights": "last", "training": {"epochs": 1, "every": 64}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder with a grid and its finished store."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "grid.yaml").write_text(json.dumps({"corpora": ["synthetic"], "backbones": ["tiny"], "folds": 2, **GRID}))
    assert run(folder, small_data) == 0
    return folder


def run(folder: Path, data: Path) -> int:
    place = ["--data", str(data), "--store", str(folder / "store")]
    return main(["run", str(folder / "grid.yaml"), *place, "--inline"])


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def a_stage(folder: Path) -> Path:
    return min((folder / "store" / "stages").iterdir())


def file_of(stage: Path, pattern: str) -> Path:
    return next(stage.glob(pattern))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# Verify


def test_a_whole_store_has_no_problems(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verify", "--store", str(whole / "store")]) == 0
    assert capsys.readouterr().out == "everything in the store is whole\n"


def rename_stage(stage: Path) -> None:
    stage.rename(stage.with_name("f" * 20))


def of_another_corpus(stage: Path) -> None:
    shutil.rmtree(stage.parents[1] / "corpora")


def unknown_probabilities(stage: Path) -> None:
    store = Store(stage.parents[1])
    found = store.read_predictions(stage.name)
    record = store.read_stage(stage.name)
    assert found is not None and record is not None
    twice = Predictions(found.utterance, found.segment, found.test, found.q * 2)
    from sweep.store import _parquet

    store.folder.local_path(f"stages/{stage.name}/{record['predictions']['file']}").unlink()
    described = store._write_described(stage.name, "predictions", "parquet", _parquet(twice))
    store._write_json(f"stages/{stage.name}/stage.json", {**record, "predictions": described})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda stage: cut(stage / "stage.json"), "stage.json is missing or damaged"),
        (lambda stage: (stage / "stage.json").unlink(), "stage.json is missing or damaged"),
        (lambda stage: cut(file_of(stage, "predictions-*")), "predictions are missing or damaged"),
        (lambda stage: flip(file_of(stage, "predictions-*")), "predictions are missing or damaged"),
        (lambda stage: file_of(stage, "predictions-*").unlink(), "predictions are missing or damaged"),
        (rename_stage, "foreign: its folder is not named after its identity"),
        (of_another_corpus, "foreign: the store does not hold its corpus"),
        (unknown_probabilities, "no probabilities"),
    ],
)
def test_damage_is_found_and_repaired_and_trained_again(
    copy: Path, small_data: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], Any], said: str
) -> None:
    damage(a_stage(copy))
    command = ["store", "verify", "--store", str(copy / "store")]
    assert main(command) == 1
    assert said in capsys.readouterr().out
    assert main([*command, "--repair"]) == 0
    assert run(copy, small_data) == 0
    assert main(command) == 0
    assert len(Store(copy / "store").done_keys()) == 4


def test_damaged_weights_are_found(copy: Path) -> None:
    flip(next((copy / "store" / "stages").glob("*/weights-*")))
    assert [problem.what for problem in verify(Store(copy / "store"))] == ["its weights are missing or damaged"]


def test_files_that_no_stage_names_go_and_the_stage_stays(copy: Path) -> None:
    (a_stage(copy) / "predictions-000000000000.parquet").write_bytes(b"of a commit that was cut off")
    (copy / "store" / "checkpoints").mkdir(exist_ok=True)
    (copy / "store" / "checkpoints" / "key").write_bytes(b"half a check")
    assert main(["store", "verify", "--store", str(copy / "store"), "--repair"]) == 0
    assert verify(Store(copy / "store")) == []
    assert len(Store(copy / "store").done_keys()) == 4


def test_problems_are_told_to_programs_too(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut(a_stage(copy) / "stage.json")
    assert main(["store", "verify", "--store", str(copy / "store"), "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)
    assert problem == {
        "path": f"stages/{a_stage(copy).name}",
        "what": "stage.json is missing or damaged",
        "is_stage": True,
    }


def test_a_stage_of_a_newer_version_is_refused(copy: Path) -> None:
    path = a_stage(copy) / "stage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(StoreError, match=r"newer ser-sweep .*upgrade"):
        Store(copy / "store").done_keys()


def test_there_must_be_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verify", "--store", str(tmp_path / "none")]) == 2
    assert "there is no store at" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


# Garbage


def smaller_grid(folder: Path) -> Path:
    path = folder / "smaller.yaml"
    path.write_text(json.dumps({**json.loads((folder / "grid.yaml").read_text()), "rules": ["none"]}))
    return path


def test_garbage_is_told_and_kept_until_delete_is_asked_for(
    copy: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "store" / "failures").mkdir(exist_ok=True)
    (copy / "store" / "failures" / "unknown.json").write_text('{"cause": "x"}')
    command = ["store", "gc", str(smaller_grid(copy)), "--data", str(small_data), "--store", str(copy / "store")]
    assert main(command) == 0
    assert re.search(r"stages +6 files.*\nfailures +1 files.*\nnothing was deleted", capsys.readouterr().out)
    assert len(Store(copy / "store").done_keys()) == 4
    assert main([*command, "--delete"]) == 0
    assert len(Store(copy / "store").done_keys()) == 2
    assert not list((copy / "store" / "failures").iterdir())
    capsys.readouterr()
    assert main(command) == 0
    assert "the grids need all that the store holds" in capsys.readouterr().out


def test_what_any_of_several_grids_needs_stays(copy: Path, small_data: Path) -> None:
    grids = [str(smaller_grid(copy)), str(copy / "grid.yaml")]
    assert main(["store", "gc", *grids, "--data", str(small_data), "--store", str(copy / "store"), "--delete"]) == 0
    assert len(Store(copy / "store").done_keys()) == 4


def test_nothing_is_deleted_while_a_launch_runs(
    copy: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = copy / "store" / "leases" / "running.json"
    lease.parent.mkdir(exist_ok=True)
    lease.write_text("{}")
    command = ["store", "gc", str(smaller_grid(copy)), "--data", str(small_data), "--store", str(copy / "store")]
    assert main([*command, "--delete"]) == 2
    assert "in use by running" in capsys.readouterr().err
    assert len(Store(copy / "store").done_keys()) == 4
    os.utime(lease, (time.time() - 61, time.time() - 61))
    assert main([*command, "--delete"]) == 0
    assert len(Store(copy / "store").done_keys()) == 2


# Export


@pytest.fixture(scope="module")
def exported(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "EXPORT"
    assert main(["store", "export", "--store", str(whole / "store"), "--out", str(out)]) == 0
    return out


def test_an_export_has_every_prediction_and_every_stage(whole: Path, exported: Path) -> None:
    store = Store(whole / "store")
    rows = pd.read_parquet(exported / "predictions")
    stages = pd.read_parquet(exported / "stages.parquet").set_index("stage")
    assert set(stages.index) == store.done_keys()
    for key, found in rows.groupby("stage"):
        expected = store.read_predictions(str(key))
        assert expected is not None
        np.testing.assert_array_equal(np.stack(found["q"].to_list()), expected.q)
        np.testing.assert_array_equal(found["test"], expected.test)
        classes = np.array(stages.loc[key, "classes"])
        np.testing.assert_array_equal(found["predicted"], classes[expected.q.argmax(axis=1)])
        tested = found[found["test"]]
        accuracy = (tested["predicted"] == tested["emotion"]).mean()
        assert accuracy == pytest.approx(stages.loc[key, "test_segment_accuracy"])
    assert set(stages["rule"]) == {"none", "bdsl"}


def snippets() -> dict[str, str]:
    """The examples of docs/store.md, by the library that each imports."""
    found = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return {match[1]: code for code in found if "EXPORT" in code and (match := re.search(r"import (\w+)", code))}


@pytest.mark.parametrize("library", ["duckdb", "polars", "pandas"])
def test_the_documented_examples_read_an_export(exported: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported.parent)
    known: dict[str, Any] = {}
    exec(snippets()[library], known)
    rows = pd.read_parquet(exported / "predictions")
    tested = rows[rows["test"]]
    right = (tested["predicted"] == tested["emotion"]).groupby([tested["rule"], tested["fold"]]).mean()
    accuracy = known["accuracy"]
    frame = accuracy if isinstance(accuracy, pd.DataFrame) else accuracy.to_pandas()
    found = frame.set_index(["rule", "fold"])["accuracy"].sort_index()
    np.testing.assert_allclose(found, right.sort_index())


def test_an_export_can_be_of_one_grid(copy: Path, small_data: Path, tmp_path: Path) -> None:
    grid = [str(smaller_grid(copy)), "--data", str(small_data)]
    assert main(["store", "export", *grid, "--store", str(copy / "store"), "--out", str(tmp_path / "out")]) == 0
    assert set(pd.read_parquet(tmp_path / "out" / "stages.parquet")["rule"]) == {"none"}


def test_an_export_overwrites_nothing_and_leaves_nothing_half_written(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["store", "export", "--store", str(copy / "store"), "--out"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert main([*command, str(tmp_path / "full")]) == 2
    assert "is there already" in capsys.readouterr().err
    flip(file_of(a_stage(copy), "predictions-*"))
    assert main([*command, str(tmp_path / "out")]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "full"]
