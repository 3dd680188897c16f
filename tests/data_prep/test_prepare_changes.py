"""What was looked at is what is used, here and by Ray's workers: files that change meanwhile are named."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.checked import list_values
from data_prep.cluster import ray_session
from data_prep.corpora import Utterance
from data_prep.data_folder import find_prepared
from data_prep.errors import AudioError, ShardError, UserError
from data_prep.prepare import Prepared, prepare
from data_prep.shards import PreparedCorpus, load_corpus, sha256
from tests.data_prep.corpus_files import (
    flip_a_byte,
    folder_of,
    noise,
    prepare_spoken,
    shard_files,
    write_sound,
)

pytestmark = pytest.mark.usefixtures("small_shards")


# What was looked at is what is used


def at_the_first_shard(act: Callable[[], Any]) -> Callable[[str, int, int], None]:
    """A progress that acts once, between the look at all files and the first shard."""
    acted: list[Any] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "shards" and not acted:
            acted.append(act())

    return progress


def sounds(corpus: PreparedCorpus) -> list[bytes]:
    """The frames of each utterance, as they are read back."""
    held = load_corpus(corpus)
    segments = [np.flatnonzero(held.utterance == number) for number in range(len(held.utterances))]
    return [held.spectrograms(index).tobytes() for index in segments]


def test_files_that_change_before_they_are_used_are_named_and_no_shard_has_them(copy: Path, tmp_path: Path) -> None:
    check_that_no_shard_has_what_changed(copy, tmp_path, inline=True)


def check_that_no_shard_has_what_changed(copy: Path, tmp_path: Path, inline: bool) -> None:
    files = sorted((copy.parent / "wav").iterdir())
    changed = [files[0], files[-1]]  # of two shards

    def change() -> None:
        for number, file in enumerate(changed):
            write_sound(file, noise(1.0, seed=number))

    with pytest.raises(AudioError) as raised:
        prepare_spoken(copy, tmp_path / "new", inline=inline, truth=None, progress=at_the_first_shard(change))
    first, *problems = str(raised.value).splitlines()
    assert first.startswith("2 of 4 audio files changed while they were prepared; repeat the command when nothing ")
    assert problems == [f"  - {file}: has other bytes than before" for file in changed]
    assert list(tmp_path.glob("new/*/manifest.json")) == []
    again = prepare_spoken(copy, tmp_path / "new", truth=None)
    fresh = prepare_spoken(copy, tmp_path / "fresh", truth=None)
    assert sounds(again.corpus) == sounds(fresh.corpus)


def test_a_file_of_the_same_length_that_changed_is_found_too(copy: Path, tmp_path: Path) -> None:
    file = next((copy.parent / "wav").iterdir())
    with pytest.raises(AudioError, match="has other bytes than before"):
        prepare_spoken(copy, tmp_path / "data", progress=at_the_first_shard(lambda: flip_a_byte(file)))


def test_machines_that_hold_different_copies_are_named(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = next((copy.parent / "wav").iterdir())
    monkeypatch.setattr("platform.node", lambda: "node-1")

    def go_on_elsewhere() -> None:
        monkeypatch.setattr("platform.node", lambda: "node-2")
        flip_a_byte(file)

    message = f"{file}: has other bytes on node-2 than on node-1: machines hold different copies"
    with pytest.raises(AudioError, match=message):
        prepare_spoken(copy, tmp_path / "data", progress=at_the_first_shard(go_on_elsewhere))


def of_other_sound(folder: Path, described: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Put another sound of the same length into a shard, as whole as any, and describe it."""
    file = folder / "shards" / "shard-00001.parquet"
    table = pq.read_table(file)
    values = list_values(table["spectrogram"])
    column = pa.FixedSizeListArray.from_arrays(pa.array(values[::-1].copy()), table.schema.field(3).type.list_size)
    pq.write_table(table.set_column(3, table.schema.field(3), column), file)
    content = {"sha256": sha256(file.read_bytes()), "bytes": file.stat().st_size}
    note = folder / "shards" / "_shard-00001.json"
    note.write_text(json.dumps(described(json.loads(note.read_text()) | content)))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][1] = described(manifest["shards"][1] | content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def as_older_versions_did(shard: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shard.items() if name != "audio"} | {"ids_hash": "0123456789abcdef"}


def with_the_audio_it_has(shard: dict[str, Any]) -> dict[str, Any]:
    return shard | {"audio": "0123456789abcdef"}


@pytest.mark.parametrize("described", [as_older_versions_did, with_the_audio_it_has])
def test_a_shard_that_is_not_known_to_be_of_the_audio_is_made_again(
    spoken: Path, done: Path, spoken_data: Prepared, described: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    of_other_sound(done, described)
    again = prepare_spoken(spoken, done.parent)
    assert again.made == 1
    assert shard_files(done) == shard_files(folder_of(spoken_data.corpus))


def test_a_shard_of_other_audio_is_not_read(spoken: Path, done: Path) -> None:
    of_other_sound(done, with_the_audio_it_has)
    message = r"(?s)other audio than in utterances.parquet in 1 of \d shards?; repeat .*shard-00001.parquet"
    with pytest.raises(ShardError, match=message):
        load_corpus(find_prepared(done.parent, "spoken"))
    prepare_spoken(spoken, done.parent)
    assert len(load_corpus(find_prepared(done.parent, "spoken"))) > 0


def test_what_an_older_version_prepared_is_read(done: Path, spoken_data: Prepared) -> None:
    manifest = json.loads((done / "manifest.json").read_text())
    manifest["shards"] = [as_older_versions_did(shard) for shard in manifest["shards"]]
    table = pd.read_parquet(done / "utterances.parquet").drop(columns="sound")
    table.to_parquet(done / "utterances.parquet")
    manifest["utterances_sha256"] = sha256((done / "utterances.parquet").read_bytes())
    (done / "manifest.json").write_text(json.dumps(manifest))
    assert sounds(find_prepared(done.parent, "spoken")) == sounds(spoken_data.corpus)


def test_shards_whose_utterances_have_other_lengths_are_not_read(done: Path) -> None:
    """As of files that changed when nobody looked: together they have as many segments as the table."""
    table = pd.read_parquet(done / "utterances.parquet").drop(columns=["true_labels", "segments"])
    table["frames"] += [1, -1, 0, 0]
    table.to_parquet(done / "utterances.parquet")
    manifest = json.loads((done / "manifest.json").read_text()) | {"truth": False}
    manifest["utterances_sha256"] = sha256((done / "utterances.parquet").read_bytes())
    (done / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match=r"shards and utterances.parquet disagree; prepare the corpus again"):
        load_corpus(find_prepared(done.parent, "spoken"))


# On Ray


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:1", "127.0.0.1:99999", "ray://127.0.0.1:1"])
def test_a_cluster_that_cannot_be_reached_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    utterances = [Utterance("a", tmp_path / "a.wav", "anna", "", "joy")]
    with pytest.raises(UserError, match=rf"no Ray cluster at address '{address}' .*start one with: ray start --head"):
        prepare("noise", utterances, tmp_path / "data", address=address)
    assert not (tmp_path / "data").exists()


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    import ray

    already = ray.is_initialized()
    with ray_session():
        yield
    assert ray.is_initialized() == already


@pytest.mark.usefixtures("_ray")
def test_ray_makes_the_same_bytes_wherever_its_workers_stand(
    spoken: Path, spoken_data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Ray was started in another folder
    (tmp_path / "corpus").symlink_to(spoken.parent)
    made = prepare_spoken(Path("corpus/manifest.csv"), Path("data"), inline=False)
    assert made.corpus.manifest == spoken_data.corpus.manifest
    assert shard_files(tmp_path / folder_of(made.corpus)) == shard_files(folder_of(spoken_data.corpus))


@pytest.mark.usefixtures("_ray")
def test_an_error_in_a_worker_is_raised_as_it_would_be_here(copy: Path, tmp_path: Path) -> None:
    lost = copy.parent / "wav" / "s01_t01_anger_1.wav"

    def lose(what: str, done: int, total: int) -> None:
        if what == "shards":
            lost.unlink(missing_ok=True)

    with pytest.raises(AudioError) as raised:
        prepare_spoken(copy, tmp_path / "data", inline=False, progress=lose)
    assert str(raised.value) == (
        "1 of 4 audio files changed while they were prepared; repeat the command when nothing writes to them any "
        f"more:\n  - {lost}: cannot be read (No such file or directory)"
    )
    assert type(raised.value) is AudioError


@pytest.mark.usefixtures("_ray")
def test_files_that_change_before_workers_use_them_are_named_and_no_shard_has_them(copy: Path, tmp_path: Path) -> None:
    check_that_no_shard_has_what_changed(copy, tmp_path, inline=False)
