"""Looking after a store: damage is found and mended, and what no grid needs goes."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.data_folder import find_prepared
from ser_sweep.cli import main
from sweep.planning.stages import StageSpec
from sweep.storage.predictions import Predictions
from sweep.storage.store import NewerSchemaError, Store, StoreError
from sweep.storage.upkeep import Remedy, repair, verify

GRID = {"rules": ["none", "bdsl"], "weights": "last", "training": {"epochs": 1, "every": 64}}
DAYS_AGO = time.time() - 2 * 24 * 3600


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder with a grid and its finished store: four stages."""
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


@pytest.fixture
def store(copy: Path) -> Store:
    return Store(copy / "store")


def folder_of(store: Store) -> Path:
    return store.folder.local_path("")


def a_stage(store: Store) -> Path:
    return min((folder_of(store) / "stages").iterdir())


def file_of(stage: Path, pattern: str) -> Path:
    return next(stage.glob(pattern))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


def predict(stage: Path, change: Callable[[Predictions], Predictions]) -> None:
    """Commit a stage with other predictions, as a program with an error in it might."""
    store = Store(stage.parents[1])
    record, predictions = store.read_stage(stage.name), store.read_predictions(stage.name)
    assert record is not None and predictions is not None
    store.delete_stage(stage.name)
    store.commit(StageSpec.of_identity(record["identity"]), change(predictions), {})


def rows(chosen: Any) -> Callable[[Predictions], Predictions]:
    """Predictions of only the `chosen` rows."""
    return lambda found: Predictions(
        found.utterance[chosen], found.segment[chosen], found.test[chosen], found.q[chosen]
    )


def not_a_number(found: Predictions) -> Predictions:
    q = found.q.copy()
    q[3, 0] = np.nan
    return replace(found, q=q)


def below_zero(found: Predictions) -> Predictions:
    q = found.q.copy()
    q[3] = [-1, 2, 0, 0]
    return replace(found, q=q)


@contextmanager
def launch_running(store: Store) -> Iterator[str]:
    """The lease of a launch on the store."""
    store.folder.write("leases/running.json", b"{}")
    yield "leases/running.json"
    store.folder.delete("leases/running.json")


# Verify


def test_a_whole_store_has_no_problems(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verify", "--store", str(whole / "store")]) == 0
    assert capsys.readouterr().out == "everything in the store is whole\n"


def of_two_classes(found: Predictions) -> Predictions:
    return replace(found, q=np.full((len(found.q), 2), 0.5, np.float32))


def of_other_utterances(found: Predictions) -> Predictions:
    return replace(found, utterance=found.utterance + 1)


DAMAGES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("stage.json cut", lambda stage: cut(stage / "stage.json"), "stage.json is damaged"),
    ("no sha256", lambda stage: edit(stage / "stage.json", predictions={"file": 1}), "stage.json is damaged"),
    ("no weights", lambda stage: edit(stage / "stage.json", weights=None), "stage.json does not describe its weights"),
    ("missing", lambda stage: file_of(stage, "predictions-*").unlink(), "its predictions are missing"),
    ("cut", lambda stage: cut(file_of(stage, "predictions-*")), "its predictions are damaged: [0-9,]+ bytes, not"),
    ("flipped", lambda stage: flip(file_of(stage, "predictions-*")), "its predictions are damaged: not what their"),
    ("q twice", lambda stage: predict(stage, lambda found: replace(found, q=found.q * 2)), "are no probabilities"),
    ("q NaN", lambda stage: predict(stage, not_a_number), "are no probabilities"),
    ("q negative", lambda stage: predict(stage, below_zero), "are no probabilities"),
    (
        "classes",
        lambda stage: predict(stage, of_two_classes),
        "foreign: predictions of 2 classes, and the corpus has 4",
    ),
    (
        "utterances",
        lambda stage: predict(stage, of_other_utterances),
        "foreign: its predictions are not of the corpus's",
    ),
    (
        "a row less",
        lambda stage: predict(stage, rows(slice(1, None))),
        "foreign: its predictions are not of the corpus",
    ),
    ("renamed", lambda stage: stage.rename(stage.with_name("0" * 20)), "foreign: its folder is not named after the"),
    ("identity", lambda stage: edit(stage / "stage.json", identity={"seed": 7}), "stage.json is damaged"),
    ("NaN", lambda stage: edit(stage / "stage.json", identity={"seed": float("nan")}), "stage.json is damaged"),
]


@pytest.mark.parametrize(("damage", "said"), [pytest.param(*each[1:], id=each[0]) for each in DAMAGES])
def test_a_damaged_or_foreign_stage_is_found_and_removed(
    store: Store, damage: Callable[[Path], Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(a_stage(store))
    (problem,) = verify(store)
    assert re.search(said, problem.what)
    assert problem.remedy == Remedy.TRAIN
    command = ["store", "verify", "--store", store.uri]
    assert main(command) == 1
    assert capsys.readouterr().out == f"{problem.path}: {problem.what}\nproblems: 1\n"
    assert main([*command, "--repair"]) == 0
    assert f"removed {problem.path}\nstages that the next ser-sweep run trains again: 1\n" in capsys.readouterr().err
    assert main(command) == 0
    assert not (folder_of(store) / problem.path).exists()
    assert len(store.done_keys()) == 3


def test_a_store_json_that_is_missing_is_written_again(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (folder_of(store) / "store.json").unlink()
    command = ["store", "verify", "--store", store.uri]
    assert main(command) == 1
    assert capsys.readouterr().out == "store.json: missing or damaged\nproblems: 1\n"
    assert main([*command, "--repair"]) == 0
    assert "wrote store.json" in capsys.readouterr().err
    assert main(command) == 0


def test_damaged_weights_are_found(store: Store) -> None:
    weights = min((folder_of(store) / "stages").glob("*/weights-*"))
    flip(weights)
    (problem,) = verify(store)
    assert problem.path == f"stages/{weights.parent.name}"
    assert problem.what == "its weights are damaged: not what their checksum says"


def test_what_was_repaired_is_trained_again_to_the_same_bits(
    copy: Path, store: Store, whole: Path, small_data: Path
) -> None:
    flip(file_of(a_stage(store), "predictions-*"))
    (problem,) = verify(store)
    assert repair(store, [problem]) == []
    assert run(copy, small_data) == 0
    key = problem.path.rpartition("/")[2]
    again, before = store.read_predictions(key), Store(whole / "store").read_predictions(key)
    assert again is not None and before is not None
    np.testing.assert_array_equal(again.q, before.q)


@pytest.fixture(scope="module")
def crowded(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with something of every kind."""
    path = shutil.copytree(whole / "store", tmp_path_factory.mktemp("crowded") / "store")
    store = Store(path)
    store.write_checkpoint("unfinished", b"epoch 3")
    store.write_decisions("decided", b"anger")
    store.note_failure("failed", "loss became NaN")
    assert verify(store) == []
    return store


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_ends_early_is_one_problem_wherever_it_ends(crowded: Store, data: st.DataObject) -> None:
    described = ("stages", "corpora", "checkpoints", "decisions", "failures")
    entries = [e for e in crowded.folder.entries(recursive=True) if e.path.parts[0] in described]
    entry = data.draw(st.sampled_from(sorted(entries, key=lambda each: str(each.path))))
    # Without its last line break, JSON is still whole.
    size = data.draw(st.integers(0, entry.size - 2))
    content = crowded.folder.read(str(entry.path))
    assert content is not None
    crowded.folder.write(str(entry.path), content[:size], durable=False)
    try:
        (problem,) = verify(crowded)
        assert str(entry.path).startswith(problem.path)
    finally:
        crowded.folder.write(str(entry.path), content, durable=False)


def test_damaged_checkpoints_decisions_and_failures_go(store: Store) -> None:
    for kind in ("checkpoints/a", "decisions/b", "failures/c.json"):
        store.folder.write(kind, b"half a file")
    problems = verify(store)
    assert {problem.path for problem in problems} == {"checkpoints/a", "decisions/b", "failures/c.json"}
    assert repair(store, problems) == []
    assert verify(store) == []
    assert len(store.done_keys()) == 4


def test_a_damaged_corpus_is_added_again_and_its_stages_stay(copy: Path, store: Store, small_data: Path) -> None:
    (corpus,) = (folder_of(store) / "corpora").iterdir()
    flip(corpus / "utterances.parquet")
    (problem,) = verify(store)
    assert problem.path == f"corpora/{corpus.name}"
    assert "damaged" in problem.what
    assert repair(store, [problem]) == []
    (problem,) = verify(store)
    assert "not in the store, which has 4 stages of it; ser-sweep run with its data adds it" in problem.what
    assert repair(store, [problem]) == [problem]
    assert main(["store", "verify", "--store", store.uri, "--repair"]) == 1
    assert run(copy, small_data) == 0
    assert verify(store) == []
    assert len(store.done_keys()) == 4


def test_a_corpus_under_another_name_is_found(store: Store) -> None:
    (corpus,) = (folder_of(store) / "corpora").iterdir()
    shutil.copytree(corpus, corpus.with_name("emodb-0123"))
    (problem,) = verify(store)
    assert problem.path == "corpora/emodb-0123"
    assert f"corpus.json is of {corpus.name}" in problem.what


def test_what_a_commit_that_was_cut_off_left_goes_and_the_stage_stays(store: Store) -> None:
    left = [f"stages/{a_stage(store).name}/predictions-000000000000.parquet", "stages/half/weights-0.safetensors"]
    for name in [*left, "corpora/half-0/utterances.parquet"]:
        store.folder.write(name, b"written before stage.json")
    problems = verify(store)
    assert {problem.path for problem in problems} == {*left, "corpora/half-0/utterances.parquet"}
    assert repair(store, problems) == []
    assert verify(store) == []
    assert len(store.done_keys()) == 4


def test_temporary_files_are_left_over_after_a_day(store: Store) -> None:
    temporary = a_stage(store) / ".0123.tmp"
    temporary.write_bytes(b"half")
    assert verify(store) == []
    os.utime(temporary, (DAYS_AGO, DAYS_AGO))
    (problem,) = verify(store)
    assert repair(store, [problem]) == []
    assert not temporary.exists()


def test_a_commit_that_a_launch_is_about_to_end_is_no_problem(store: Store) -> None:
    store.folder.write("stages/new/predictions-0.parquet", b"stage.json is next")
    with launch_running(store):
        assert verify(store) == []
        os.utime(folder_of(store) / "stages" / "new" / "predictions-0.parquet", (DAYS_AGO, DAYS_AGO))
        (problem,) = verify(store)
        with pytest.raises(StoreError, match="in use by running"):
            repair(store, [problem])
    assert store.folder.read(problem.path) == b"stage.json is next"


def test_problems_are_told_to_programs_too(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    cut(a_stage(store) / "stage.json")
    assert main(["store", "verify", "--store", store.uri, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told == [{"path": f"stages/{a_stage(store).name}", "what": "stage.json is damaged", "remedy": "train"}]


def test_there_must_be_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verify", "--store", str(tmp_path / "none")]) == 2
    assert "there is no store at" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


# What newer versions wrote


def test_a_stage_of_a_newer_version_is_refused_and_never_taken_for_missing(copy: Path, store: Store) -> None:
    stage = a_stage(store)
    edit(stage / "stage.json", schema=99)
    newer = rf"stage {stage.name} in store .* was written by a newer ser-sweep \(schema 99, .*upgrade"
    for use in (
        lambda: store.done_keys(),
        lambda: store.has(stage.name),
        lambda: store.read_predictions(stage.name),
        lambda: store.read_weights(stage.name),
    ):
        with pytest.raises(NewerSchemaError, match=newer):
            use()


def test_a_run_on_a_store_with_newer_stages_is_one_message(
    copy: Path, store: Store, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(a_stage(store) / "stage.json", schema=99)
    assert run(copy, small_data) == 2
    assert "upgrade to use it" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["stages/*/stage.json", "corpora/*/corpus.json"])
def test_what_a_newer_version_wrote_is_told_and_not_repaired_away(store: Store, file: str) -> None:
    path = min(folder_of(store).glob(file))
    edit(path, schema=99)
    (problem,) = verify(store)
    assert "newer ser-sweep" in problem.what
    assert repair(store, [problem]) == [problem]
    assert path.exists()


def test_a_corpus_of_a_newer_version_is_refused(store: Store) -> None:
    (name,) = store.corpora()
    edit(folder_of(store) / "corpora" / name / "corpus.json", schema=99)
    with pytest.raises(NewerSchemaError, match=f"corpus {name} in store .*schema 99"):
        store.read_corpus(name)


# Garbage


@pytest.fixture
def gc(copy: Path, small_data: Path) -> list[str]:
    """The command that keeps what the grid without bdsl needs: two of the four stages."""
    path = copy / "smaller.yaml"
    path.write_text(json.dumps({**json.loads((copy / "grid.yaml").read_text()), "rules": ["none"]}))
    return ["store", "gc", str(path), "--data", str(small_data), "--store", str(copy / "store")]


def files(store: Store) -> set[str]:
    return {str(entry.path) for entry in store.folder.entries(recursive=True)}


def test_garbage_is_told_and_kept_until_delete_is_asked_for(
    gc: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(store)
    assert main(gc) == 0
    assert re.search(r"^stages +2 +0\.\d MB\nnothing was deleted; .*--delete", capsys.readouterr().out)
    assert files(store) == before
    assert main([*gc, "--delete"]) == 0
    assert len(store.done_keys()) == 2
    assert files(store) < before
    capsys.readouterr()
    assert main(gc) == 0
    assert capsys.readouterr().out == "the grids need all that the store holds\n"


def test_what_any_of_several_grids_needs_stays(gc: list[str], copy: Path, store: Store) -> None:
    before = files(store)
    assert main([*gc[:3], str(copy / "grid.yaml"), *gc[3:], "--delete"]) == 0
    assert files(store) == before


def test_what_is_unfinished_stays_and_what_was_for_finished_or_unknown_stages_goes(gc: list[str], store: Store) -> None:
    keys = {record["identity"]["fold"]: record["key"] for record in store.records() if record["iteration"] == 0}
    store.delete_stage(keys[1])
    for key in (keys[0], keys[1], "unknown"):
        store.write_checkpoint(key, b"epoch 3")
        store.note_failure(key, "lost")
    assert main([*gc, "--delete"]) == 0
    assert {entry.path.name for entry in store.folder.entries("checkpoints")} == {keys[1]}
    assert store.failures() == {keys[1]: "lost"}
    assert store.done_keys() == {keys[0]}


def test_corpora_that_no_grid_names_and_old_temporary_files_go(gc: list[str], store: Store, small_data: Path) -> None:
    prepared = find_prepared(small_data, "synthetic")
    store.add_corpus(replace(prepared, manifest={**prepared.manifest, "corpus": "other"}))
    old, new = (folder_of(store) / "decisions" / name for name in (".old.tmp", ".new.tmp"))
    old.parent.mkdir(exist_ok=True)
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (DAYS_AGO, DAYS_AGO))
    assert main([*gc, "--delete"]) == 0
    assert store.corpora() == [prepared.name]
    assert (old.exists(), new.exists()) == (False, True)


def test_decisions_that_the_grids_tables_use_stay(gc: list[str], copy: Path, store: Store) -> None:
    tables = ["tables", str(copy / "grid.yaml"), *gc[3:], "--no-forests"]
    assert main(tables) == 0
    both = {entry.path.name for entry in store.folder.entries("decisions")}
    assert main([*gc, "--delete"]) == 0
    kept = {entry.path.name for entry in store.folder.entries("decisions")}
    assert (len(both), len(kept)) == (2, 1)
    assert main(["tables", *gc[2:], "--no-forests"]) == 0
    assert {entry.path.name for entry in store.folder.entries("decisions")} == kept


def test_a_grid_on_other_data_deletes_nothing(
    gc: list[str], store: Store, tmp_path: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = find_prepared(small_data, "synthetic")
    (tmp_path / "data" / "other").mkdir(parents=True)
    (tmp_path / "data" / "other" / "manifest.json").write_text(
        json.dumps({**prepared.manifest, "fingerprint": "f" * 12}), encoding="utf-8"
    )
    shutil.copy(Path(str(prepared.folder)) / "utterances.parquet", tmp_path / "data" / "other")
    before = files(store)
    gc[gc.index("--data") + 1] = str(tmp_path / "data")
    assert main([*gc, "--delete"]) == 2
    assert "belongs to other data" in capsys.readouterr().err
    assert files(store) == before


def test_nothing_is_deleted_while_a_launch_runs(
    gc: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with launch_running(store) as lease:
        assert main([*gc, "--delete"]) == 2
        assert "in use by running" in capsys.readouterr().err
        assert len(store.done_keys()) == 4
        os.utime(folder_of(store) / lease, (time.time() - 61, time.time() - 61))
        assert main([*gc, "--delete"]) == 0
    assert len(store.done_keys()) == 2


@pytest.mark.parametrize("delete", ["repair", "gc"])
def test_a_deletion_that_is_cut_off_leaves_no_stage_without_its_files(
    gc: list[str], store: Store, delete: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(folder: Any, name: str) -> None:
        raise OSError("the machine went away")

    monkeypatch.setattr("data_prep.folders.Folder.delete_folder", fails)
    if delete == "repair":
        flip(file_of(a_stage(store), "predictions-*"))
        command = ["store", "verify", "--store", store.uri, "--repair"]
    else:
        command = [*gc, "--delete"]
    assert main(command) == 2
    monkeypatch.undo()
    assert len(store.done_keys()) == 3
    assert all(problem.remedy == Remedy.NOTHING for problem in verify(store))


# On S3


def test_stores_on_s3_are_verified_repaired_and_rid_of_garbage(
    s3_bucket: str, gc: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Store(f"{s3_bucket}/deep/store")
    for name in files(store):
        there.folder.write(name, store.folder.read(name) or b"")
    there.write_checkpoint("unknown", b"epoch 3")
    verify_there = ["store", "verify", "--store", there.uri]
    assert main(verify_there) == 0
    key = a_stage(store).name
    there.folder.write(f"stages/{key}/stage.json", b"{")
    there.folder.write("stages/half/predictions-0.parquet", b"half")
    capsys.readouterr()
    assert main(verify_there) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"stages/{key}: stage.json is damaged",
        "stages/half/predictions-0.parquet: left over from a commit that was cut off",
        "problems: 2",
    ]
    assert main([*verify_there, "--repair"]) == 0
    assert main(verify_there) == 0
    assert there.done_keys() == store.done_keys() - {key}
    gc[gc.index("--store") + 1] = there.uri
    with launch_running(there):
        assert main([*gc, "--delete"]) == 2
    assert main([*gc, "--delete"]) == 0
    needed = {record["key"] for record in store.records() if record["iteration"] == 0}
    assert there.done_keys() == needed - {key}
    assert there.folder.entries("checkpoints") == []
