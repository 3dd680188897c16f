"""The doctor finds what is wrong, says what to do, and leaves nothing behind."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from data_prep.data_folder import find_prepared
from data_prep.folders import Folder
from ser_sweep.checks import State
from ser_sweep.cli import main
from ser_sweep.doctor import check_data, check_open_files, check_store, check_threads, clock_result, unlocked, unmet
from sweep.storage.store import Store

Run = Callable[..., dict[str, dict[str, str]]]  # arguments and the status to expect -> results by name


@pytest.fixture
def by_name(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str, status: int) -> dict[str, dict[str, str]]:
        assert main(["doctor", "--json", *arguments]) == status
        return {one["what"]: one for one in json.loads(capsys.readouterr().out)}

    return run


def test_a_machine_that_is_well_has_no_problem(by_name: Run, small_data: Path, tmp_path: Path) -> None:
    found = by_name("--store", str(tmp_path / "new" / "store"), "--data", str(small_data), status=0)
    assert found["python"]["state"] == found["packages"]["state"] == found["torch"]["state"] == "ok"
    assert found["store access"]["said"] == "a file was written, renamed, read, listed and deleted"
    assert found["clock"]["state"] == "ok"
    assert found["data"]["said"].startswith("synthetic-")


def test_what_is_wrong_has_a_remedy_and_status_1(by_name: Run, tmp_path: Path) -> None:
    found = by_name("--data", str(tmp_path / "none"), status=1)
    assert found["data"]["state"] == "problem"
    assert "ser-sweep prepare" in found["data"]["remedy"]


def test_nothing_of_the_trial_stays_in_a_store(tmp_path: Path) -> None:
    list(check_store(str(tmp_path / "not" / "there")))
    assert list(tmp_path.iterdir()) == []
    store = Store(tmp_path / "store")
    store.create()
    list(check_store(store.uri))
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["store.json"]


def test_a_store_in_s3_is_tried_too(s3_bucket: str) -> None:
    found = {one.what: one for one in check_store(f"{s3_bucket}/store")}
    assert found["store access"].state is State.OK
    assert found["clock"].state is State.OK
    assert Folder(f"{s3_bucket}/store").entries(recursive=True) == []


def test_a_bucket_that_is_not_there_is_a_problem(s3_bucket: str) -> None:
    (problem,) = [one for one in check_store(f"{s3_bucket}-none/store") if one.state is State.PROBLEM]
    assert "keys, region and endpoint" in problem.remedy


def test_a_file_in_the_place_of_a_store_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    assert [one.state for one in check_store(str(tmp_path / "store"))][-1] is State.PROBLEM


def test_a_storage_whose_clock_goes_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Folder.write

    def late(self: Folder, name: str, content: bytes, durable: bool = True) -> None:
        written(self, name, content, durable)
        os.utime(self.local_path(name), (time.time() - 90, time.time() - 90))

    monkeypatch.setattr(Folder, "write", late)
    found = {one.what: one for one in check_store(str(tmp_path / "store"))}
    assert found["clock"].state is State.PROBLEM
    assert found["clock"].said.startswith("89 s apart")


@pytest.mark.parametrize(("skew", "state"), [(0.0, State.OK), (8.0, State.WARNING), (31.0, State.PROBLEM)])
def test_a_clock_is_judged_by_how_long_leases_last(skew: float, state: State) -> None:
    assert clock_result(skew).state is state


def test_data_with_a_shard_cut_off_is_a_problem(small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data, tmp_path / "data")
    folder = Path(str(find_prepared(tmp_path / "data", "synthetic").folder))
    shard = next((folder / "shards").glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:100])
    (result,) = check_data(str(tmp_path / "data"))
    assert result.state is State.PROBLEM
    assert "1 of 1 shard" in result.said


def change_shards(data: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """What a corpus's manifest says of its shards."""
    path = next(data.glob("synthetic-*/manifest.json"))
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for shard in manifest["shards"]:
        change(shard)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_shards_of_other_audio_are_a_problem_and_are_not_trained_on(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_data, tmp_path / "data")
    change_shards(tmp_path / "data", lambda shard: shard.update(audio="0123456789abcdef"))
    (result,) = check_data(str(tmp_path / "data"))
    assert result.state is State.PROBLEM
    assert "other audio than in utterances.parquet in 1 of 1 shard" in result.said
    assert "prepare" in result.remedy
    grid = tmp_path / "grid.yaml"
    grid.write_text("{corpora: [synthetic], backbones: [tiny], rules: [bdsl], folds: 2}", encoding="utf-8")
    place = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store")]
    assert main(["run", str(grid), *place, "--inline"]) == 2
    assert "other audio than in utterances.parquet in 1 of 1 shard" in capsys.readouterr().err


def test_shards_that_an_older_version_made_are_a_warning(small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data, tmp_path / "data")
    change_shards(tmp_path / "data", lambda shard: shard.pop("audio"))
    (result,) = check_data(str(tmp_path / "data"))
    assert result.state is State.WARNING
    assert "an older ser-sweep made them and did not record their audio files" in result.said


def test_a_damaged_table_of_utterances_is_a_problem(small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data, tmp_path / "data")
    next((tmp_path / "data").glob("*/utterances.parquet")).write_bytes(b"")
    (result,) = check_data(str(tmp_path / "data"))
    assert result.state is State.PROBLEM
    assert "utterances.parquet is missing or damaged" in result.said


def test_versions_that_do_not_fit_are_named() -> None:
    assert unmet(Requirement("numpy>=2.0")) is None
    assert unmet(Requirement("numpy>=99")) is not None
    assert unmet(Requirement("not-a-package-of-anyone")) == "not-a-package-of-anyone is missing"


def test_what_is_installed_is_compared_with_the_lock_file() -> None:
    lock = "numpy==0.1 ; python_version < '3'\n    --hash=sha256:00\nnot-a-package-of-anyone==1\n"
    assert [name for name, _ in unlocked(lock)] == ["numpy"]


def test_more_threads_than_cores_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    (result,) = check_threads()
    assert result.state is State.WARNING


def test_the_limit_of_open_files_is_told() -> None:
    (result,) = check_open_files()
    assert result.said


def test_colors_are_for_terminals_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "\033[" not in capsys.readouterr().out
