"""The stage store: whole stages or none, and nothing that is not ours."""

import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.data_folder import find_prepared
from data_prep.disk import Disk
from data_prep.folders import Folder
from data_prep.shards import PreparedCorpus
from dsl.settings import TrainingSettings
from sweep.planning.stages import StageSpec
from sweep.storage.predictions import Predictions
from sweep.storage.store import Store, StoreError

STAGE = StageSpec("c-0", "tiny", "stratified", 2, 0, 0, None, (), TrainingSettings())
Q = np.random.default_rng(0).dirichlet(np.ones(3), 5).astype(np.float32)
PREDICTIONS = Predictions(
    utterance=np.array([0, 0, 1, 1, 1], np.int32),
    segment=np.array([0, 1, 0, 1, 2], np.int32),
    test=np.array([True, True, False, False, False]),
    q=Q,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.create()
    return store


@pytest.fixture
def prepared(small_data: Path) -> PreparedCorpus:
    return find_prepared(small_data, "synthetic")


def stage_folder(store: Store) -> Path:
    return Path(store.uri) / "stages" / STAGE.key


def predictions_file(store: Store) -> Path:
    return next(stage_folder(store).glob("*.parquet"))


def test_a_committed_stage_is_read_back_to_the_same_bits(store: Store) -> None:
    store.commit(STAGE, PREDICTIONS, {"metrics": {"epochs": 3}})
    read = store.read_predictions(STAGE.key)
    assert read is not None
    for name in ("utterance", "segment", "test", "q"):
        np.testing.assert_array_equal(getattr(read, name), getattr(PREDICTIONS, name))
    stage = store.read_stage(STAGE.key)
    assert stage is not None
    assert stage["identity"]["backbone"] == "tiny"
    assert stage["metrics"] == {"epochs": 3}
    assert store.done_keys() == {STAGE.key}


def test_a_stage_whose_commit_was_cut_off_before_stage_json_is_not_there(store: Store) -> None:
    store.commit(STAGE, PREDICTIONS, {})
    (stage_folder(store) / "stage.json").unlink()
    assert store.done_keys() == set()
    assert store.read_predictions(STAGE.key) is None


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b'{"predictions": 1}', b'{"predictions": {}}', b"\xff\xfe"),
        b'{"timing": {"finished": "2026-13-01T00:00:00Z"}}',
    ],
)
def test_a_stage_with_a_damaged_stage_json_is_not_there(store: Store, content: bytes) -> None:
    store.commit(STAGE, PREDICTIONS, {})
    (stage_folder(store) / "stage.json").write_bytes(content)
    assert store.done_keys() == set()
    assert store.read_predictions(STAGE.key) is None


def test_a_stage_with_truncated_or_missing_predictions_is_not_there(store: Store) -> None:
    store.commit(STAGE, PREDICTIONS, {})
    file = predictions_file(store)
    file.write_bytes(file.read_bytes()[:-1])
    assert store.done_keys() == set()
    file.unlink()
    assert store.done_keys() == set()


def test_flipped_bits_are_found_by_the_checksum_and_committed_anew(store: Store) -> None:
    store.commit(STAGE, PREDICTIONS, {})
    file = predictions_file(store)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert store.read_predictions(STAGE.key) is None
    assert store.damaged([STAGE.key]) == [STAGE.key]
    assert store.commit(STAGE, PREDICTIONS, {})
    assert store.damaged([STAGE.key]) == []


def test_a_stage_is_had_only_while_its_files_are_whole(store: Store) -> None:
    assert not store.has(STAGE.key)
    store.commit(STAGE, PREDICTIONS, {})
    assert store.has(STAGE.key)
    predictions_file(store).write_bytes(predictions_file(store).read_bytes()[:-1])
    assert not store.has(STAGE.key)


def test_what_killed_launches_left_of_finished_stages_is_taken_away(store: Store) -> None:
    for key in ("finished", "unfinished"):
        store.write_checkpoint(key, b"state")
        store.note_failure(key, "no luck")
    store.discard_leftovers(["finished"])
    assert store.read_checkpoint("finished") is None
    assert store.read_checkpoint("unfinished") == b"state"
    assert set(store.failures()) == {"unfinished"}


def test_whole_stages_are_not_damaged(store: Store) -> None:
    store.commit(STAGE, PREDICTIONS, {})
    assert store.damaged([STAGE.key]) == []


@contextmanager
def no_room() -> Iterator[None]:
    """No file may grow beyond 100 bytes: every write of a stage's predictions fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(OSError, match="File too large"), no_room():
        store.commit(STAGE, PREDICTIONS, {})
    assert store.done_keys() == set()
    assert not list(stage_folder(store).iterdir())


def test_committing_removes_the_checkpoint_and_the_failure(store: Store) -> None:
    store.write_checkpoint(STAGE.key, b"epoch 3")
    store.note_failure(STAGE.key, "worker died")
    assert store.failures() == {STAGE.key: "worker died"}
    store.commit(STAGE, PREDICTIONS, {})
    assert store.read_checkpoint(STAGE.key) is None
    assert store.failures() == {}


def test_a_damaged_checkpoint_is_as_good_as_none(store: Store) -> None:
    store.write_checkpoint(STAGE.key, b"some state")
    assert store.read_checkpoint(STAGE.key) == b"some state"
    file = Path(store.uri) / "checkpoints" / STAGE.key
    for content in (file.read_bytes()[:-1], b"", b"short"):
        file.write_bytes(content)
        assert store.read_checkpoint(STAGE.key) is None


def test_a_folder_with_other_files_is_not_taken_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(StoreError, match="holds other files and is not a store"):
        Store(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("there", ["a stage", "an event log alone"])
def test_a_store_without_its_store_json_is_made_one_again(store: Store, there: str) -> None:
    if there == "a stage":
        store.commit(STAGE, PREDICTIONS, {})
    else:
        store.folder.write("events/one.jsonl", b"")
    (Path(store.uri) / "store.json").unlink(missing_ok=True)
    again = Store(store.uri)
    assert again.exists == (there == "a stage")
    again.create()
    assert again.is_named and len(again.done_keys()) == (there == "a stage")


def test_launches_that_begin_at_the_same_time_make_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has looked for store.json when another writes it, and files of its own."""
    first, second = Store(tmp_path / "store"), Store(tmp_path / "store")
    looks = type(first.folder).entries

    def look(folder: Folder, *arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        second.create()
        return looks(folder, *arguments, **options)

    monkeypatch.setattr(type(first.folder), "entries", look)
    first.create()
    assert first.is_named


@pytest.mark.parametrize("content", [b"", b'{"kind": "ser-swe'])
def test_a_store_whose_store_json_is_damaged_is_made_one_again(store: Store, content: bytes) -> None:
    (Path(store.uri) / "store.json").write_bytes(content)
    Store(store.uri).create()
    assert Store(store.uri).is_named


def test_what_a_launch_that_was_killed_has_tried_is_nobody_elses_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """World 72446 of the simulation: with store.json damaged besides, the store was refused from then on."""
    store.commit(STAGE, PREDICTIONS, {})
    monkeypatch.setattr(type(store.folder), "delete", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.check_writable()
    monkeypatch.undo()
    (Path(store.uri) / "store.json").write_bytes(b"{")
    Store(store.uri).create()
    assert Store(store.uri).is_named


def test_the_first_of_two_commits_stands(store: Store) -> None:
    assert store.commit(STAGE, PREDICTIONS, {"metrics": {"epochs": 1}})
    assert not store.commit(STAGE, PREDICTIONS, {"metrics": {"epochs": 2}})
    assert (store.read_stage(STAGE.key) or {})["metrics"] == {"epochs": 1}


def test_a_damaged_stage_that_another_launch_has_committed_anew_stays(store: Store) -> None:
    """Two launches find the same stage damaged; the second does so when the first has trained it again."""
    store.commit(STAGE, PREDICTIONS, {})
    predictions_file(store).write_bytes(b"damaged")
    second = Store(store.uri)
    assert store.damaged([STAGE.key]) == second.damaged([STAGE.key]) == [STAGE.key]
    assert store.commit(STAGE, PREDICTIONS, {}) or store.has(STAGE.key)
    assert second.has(STAGE.key)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps on the disk, as they are made."""
    made: list[str] = []
    for name in ("create", "rename", "link", "sync_folder"):
        step = getattr(Disk, name)

        def noted(disk: Disk, path: Path, *rest: Any, name: str = name, step: Any = step) -> Any:
            target = rest[0] if name in ("rename", "link") else path
            made.append(f"{name} {Path(target).name}")
            return step(disk, path, *rest)

        monkeypatch.setattr(Disk, name, noted)
    return made


def test_a_folder_whose_maker_was_killed_before_its_name_was_on_the_disk_is_synced(
    store: Store, steps: list[str]
) -> None:
    """World 10850 of the simulation: a stage was lost with the folder of all stages when the power failed."""
    (Path(store.uri) / "stages" / STAGE.key).mkdir(parents=True)
    store.commit(STAGE, PREDICTIONS, {})
    first = steps.index(f"rename {predictions_file(store).name}")
    assert {"sync_folder store", "sync_folder stages"} <= set(steps[:first])
    steps.clear()
    store.folder.write(f"stages/{STAGE.key}/more", b"")
    assert steps[-1] == f"sync_folder {STAGE.key}" and "sync_folder stages" not in steps


def test_a_write_and_a_deletion_that_others_follow_are_on_the_disk(store: Store, steps: list[str]) -> None:
    """What a power failure leaves depends on the names that were synced, in the order of these steps."""
    store.commit(STAGE, PREDICTIONS, {})
    named = [step for step in steps if "create" not in step and "stages" not in step]
    predictions = predictions_file(store).name
    synced = f"sync_folder {STAGE.key}"
    assert named == ["sync_folder store", f"rename {predictions}", synced, "link stage.json", synced]
    assert steps.index("sync_folder stages") < steps.index(f"rename {predictions}")
    steps.clear()
    store.delete_stage(STAGE.key)
    assert steps == [synced]


def test_a_file_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "file").create()


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    (Path(store.uri) / "store.json").write_text(json.dumps({"kind": "ser-sweep store", "schema": 99}))
    with pytest.raises(StoreError, match=r"newer ser-sweep .schema 99"):
        Store(store.uri)


GROUP, ANNE, BERT = 50_000, 50_001, 50_002


def as_user(user: int, do: Callable[[], object]) -> None:
    """Do something in a process of another user, whose umask keeps the group from writing."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.umask(0o022)
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(user)
            do()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that a group may write to, and others may reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shared = Path(folder) / "store"
        shared.mkdir()
        os.chown(shared, ANNE, GROUP)
        shared.chmod(0o2775)
        yield shared


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be several users")
def test_users_of_one_group_share_a_store(shared_folder: Path) -> None:
    def begin() -> None:
        store = Store(shared_folder)
        store.create()
        store.check_writable()
        store.commit(replace(STAGE, fold=1), PREDICTIONS, {})
        store.write_checkpoint(STAGE.key, b"epoch 1")
        store.note_failure(STAGE.key, "killed")

    def go_on() -> None:
        store = Store(shared_folder)
        store.check_writable()
        assert store.read_checkpoint(STAGE.key) == b"epoch 1"
        store.write_checkpoint(STAGE.key, b"epoch 2")
        store.commit(STAGE, PREDICTIONS, {})

    as_user(ANNE, begin)
    as_user(BERT, go_on)
    store = Store(shared_folder)
    assert len(store.done_keys()) == 2 and not store.failures() and store.read_checkpoint(STAGE.key) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be several users")
def test_what_another_user_keeps_to_herself_is_told_before_training_and_fails_no_commit(shared_folder: Path) -> None:
    def begin() -> None:
        store = Store(shared_folder)
        store.create()
        store.note_failure(STAGE.key, "killed")
        (shared_folder / "failures").chmod(0o755)

    def go_on() -> None:
        store = Store(shared_folder)
        with pytest.raises(StoreError, match=r"failures cannot be written to .*chmod -R g\+rwX"):
            store.check_writable()
        store.commit(STAGE, PREDICTIONS, {})
        store.note_failure("another", "killed")

    as_user(ANNE, begin)
    as_user(BERT, go_on)
    assert Store(shared_folder).done_keys() == {STAGE.key}


def test_looking_at_a_store_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert not store.exists
    assert store.done_keys() == set()
    assert store.failures() == {}
    assert not (tmp_path / "none").exists()


def test_an_address_that_cannot_be_used_is_named() -> None:
    with pytest.raises(StoreError, match="store nowhere://bucket cannot be reached"):
        Store("nowhere://bucket")


def test_a_store_that_belongs_to_other_data_is_refused(store: Store, prepared: PreparedCorpus) -> None:
    store.add_corpus(prepared)
    store.check_corpus(prepared, "synthetic")
    other = PreparedCorpus(prepared.folder, {**prepared.manifest, "fingerprint": "f" * 12})
    with pytest.raises(StoreError, match=f"belongs to other data: it holds {prepared.name}, .* synthetic-ffffffffffff"):
        store.check_corpus(other, "synthetic")
    store.check_corpus(other, other.name)  # named in full: meant


def test_corpora_of_other_names_share_a_store(store: Store, prepared: PreparedCorpus) -> None:
    store.add_corpus(prepared)
    store.check_corpus(PreparedCorpus(prepared.folder, {**prepared.manifest, "corpus": "emodb"}), "emodb")


@pytest.mark.parametrize("file", ["corpus.json", "utterances.parquet"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_corpus_of_which_a_file_is_cut_off_is_noted_again(
    store: Store, prepared: PreparedCorpus, file: str, share: float
) -> None:
    store.add_corpus(prepared)
    path = Path(store.uri) / "corpora" / prepared.name / file
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    store.add_corpus(prepared)
    assert path.read_bytes() == content


def test_the_store_alone_knows_its_corpora(store: Store, prepared: PreparedCorpus) -> None:
    store.add_corpus(prepared)
    about, utterances = store.read_corpus(prepared.name)
    assert about["classes"] == prepared.classes
    assert len(utterances) == prepared.manifest["utterances"]
    with pytest.raises(StoreError, match="does not hold corpus emodb-0"):
        store.read_corpus("emodb-0")


def test_relative_stores_mean_the_same_folder_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    uri = Store("runs/store").uri
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Store(uri).create()
    assert (tmp_path / "runs" / "store" / "store.json").is_file()
