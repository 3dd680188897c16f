"""Preparing a corpus: whole or not there, resumable, and the same bytes however it was made."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_prep import prepare as preparation
from data_prep.corpora import read_manifest
from data_prep.data_folder import find_prepared
from data_prep.errors import ShardError
from data_prep.features import FeatureSettings
from data_prep.prepare import Prepared, prepare
from data_prep.shards import load_corpus, sha256, write_shard
from data_prep.synthetic import read_truth
from tests.data_prep.corpus_files import (
    flip_a_byte,
    folder_of,
    noises,
    prepare_spoken,
    shard_files,
    write_manifest,
)

pytestmark = pytest.mark.usefixtures("small_shards")


# What is written


def test_the_manifest_tells_what_the_corpus_holds(spoken_data: Prepared) -> None:
    folder, manifest = folder_of(spoken_data.corpus), spoken_data.corpus.manifest
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    table = pd.read_parquet(folder / "utterances.parquet")
    assert manifest["schema"] == 1
    assert manifest["corpus"] == "spoken"
    assert folder.name == f"spoken-{manifest['fingerprint']}"
    assert len(manifest["fingerprint"]) == 12
    assert manifest["settings"] == FeatureSettings().as_dict()
    assert manifest["classes"] == {"anger": 2, "sadness": 2}
    assert (manifest["speakers"], manifest["utterances"]) == (2, 4)
    assert manifest["frames"] == table["frames"].sum()
    assert manifest["segments"] == table["segments"].sum() == table["frames"].sum() - 4 * 31
    assert manifest["seconds"] == pytest.approx(table["samples"].sum() / 16_000, abs=1e-3)
    assert (manifest["truth"], manifest["partial"]) == (True, False)
    assert {"python", "numpy", "torchaudio", "pyarrow", "soundfile"} == manifest["versions"].keys()


def test_the_manifest_tells_checksum_and_size_of_every_file(spoken_data: Prepared) -> None:
    folder, manifest = folder_of(spoken_data.corpus), spoken_data.corpus.manifest
    assert len(manifest["shards"]) > 1
    assert [s["file"] for s in manifest["shards"]] == [n for n in shard_files(folder) if n.endswith(".parquet")]
    for shard in manifest["shards"]:
        assert shard["sha256"] == sha256((folder / "shards" / shard["file"]).read_bytes())
        assert shard["bytes"] == (folder / "shards" / shard["file"]).stat().st_size
    assert sum(shard["segments"] for shard in manifest["shards"]) == manifest["segments"]
    assert sum(shard["utterances"] for shard in manifest["shards"]) == 4
    assert manifest["utterances_sha256"] == sha256((folder / "utterances.parquet").read_bytes())


def test_the_utterance_table_has_a_line_per_utterance_in_the_order_of_ids(spoken: Path, spoken_data: Prepared) -> None:
    table = spoken_data.corpus.utterances()
    utterances = sorted(read_manifest(spoken), key=lambda utterance: utterance.id)
    for column in ("id", "speaker", "text", "emotion"):
        assert table[column].tolist() == [getattr(utterance, column) for utterance in utterances]
    assert table["file"].tolist() == [utterance.path.name for utterance in utterances]
    assert table["sha256"].tolist() == [sha256(utterance.path.read_bytes()) for utterance in utterances]
    assert table["label"].tolist() == [["anger", "sadness"].index(utterance.emotion) for utterance in utterances]
    assert [len(labels) for labels in table["true_labels"]] == table["segments"].tolist()


def test_the_order_of_utterances_does_not_matter(spoken: Path, spoken_data: Prepared, tmp_path: Path) -> None:
    truth = read_truth(spoken.parent / "truth.csv")
    made = prepare("spoken", read_manifest(spoken)[::-1], tmp_path, truth=truth, inline=True)
    assert made.corpus.manifest == spoken_data.corpus.manifest
    assert shard_files(folder_of(made.corpus)) == shard_files(folder_of(spoken_data.corpus))


def test_nothing_else_is_left_in_the_folder(spoken_data: Prepared) -> None:
    folder = folder_of(spoken_data.corpus)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "shards", "utterances.parquet"]
    assert all(path.suffix in (".parquet", ".json") for path in (folder / "shards").iterdir())


def test_progress_ends_with_all_files_and_all_shards(spoken: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    made = prepare_spoken(spoken, tmp_path, progress=lambda *call: calls.append(call))
    assert ("audio files", 4, 4) in calls
    assert calls[-1] == ("shards", made.made, made.made)


# Going on


def test_a_second_run_keeps_every_shard(spoken: Path, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done / "shards").iterdir()}
    again = prepare_spoken(spoken, done.parent)
    assert (again.made, again.kept) == (0, len(before) // 2)
    assert {path: path.stat().st_mtime_ns for path in (done / "shards").iterdir()} == before


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def describe_another(path: Path) -> None:
    shutil.copy(path.with_name("_shard-00000.json"), path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("shard-00001.parquet", flip_a_byte),
        ("shard-00001.parquet", truncate),
        ("shard-00001.parquet", Path.unlink),
        ("_shard-00001.json", Path.unlink),
        ("_shard-00001.json", cut_in_half),
        ("_shard-00001.json", describe_another),
    ],
)
def test_a_damaged_shard_is_made_again_with_the_same_bytes(
    spoken: Path, done: Path, name: str, damage: Callable[[Path], None]
) -> None:
    before = shard_files(done)
    damage(done / "shards" / name)
    again = prepare_spoken(spoken, done.parent)
    assert (again.made, again.kept) == (1, len(before) // 2 - 1)
    assert shard_files(done) == before


def test_a_shard_of_other_utterances_is_made_again(spoken: Path, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "SEGMENTS_PER_SHARD", 10_000)
    again = prepare_spoken(spoken, done.parent)
    assert (again.made, again.kept) == (1, 0)
    assert len(load_corpus(again.corpus)) == again.corpus.manifest["segments"]


def test_an_interrupted_run_leaves_no_manifest_and_the_next_one_goes_on(
    spoken: Path, spoken_data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_shard
    written: list[Path] = []

    def write_only_one(path: Path, *arguments: Any) -> dict[str, Any]:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        return whole(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "write_shard", write_only_one)
        with pytest.raises(KeyboardInterrupt):
            prepare_spoken(spoken, tmp_path)
    folder = tmp_path / folder_of(spoken_data.corpus).name
    assert list(shard_files(folder)) == ["_shard-00000.json", "shard-00000.parquet"]
    assert not (folder / "manifest.json").exists()
    with pytest.raises(ShardError, match="no prepared corpus"):
        find_prepared(tmp_path, "spoken")
    again = prepare_spoken(spoken, tmp_path)
    assert again.kept == 1
    assert shard_files(folder) == shard_files(folder_of(spoken_data.corpus))
    assert again.corpus.manifest == spoken_data.corpus.manifest


def test_a_shard_cut_off_while_it_is_written_leaves_no_file(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_prep.disk.os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        prepare_spoken(spoken, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_shards_that_are_not_there_after_they_were_made_are_told(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_make_shard", lambda job: [])
    with pytest.raises(ShardError, match=r"(?s)shards? made, but not whole .*store:.*shard-00000.parquet"):
        prepare_spoken(spoken, tmp_path)
    assert not list(tmp_path.glob("*/manifest.json"))


# Identity


def change_audio(manifest: Path) -> dict[str, Any]:
    flip_a_byte(next((manifest.parent / "wav").iterdir()))
    return {}


def change_speaker(manifest: Path) -> dict[str, Any]:
    manifest.write_text(manifest.read_text().replace("s02,", "s03,"))
    return {}


def change_truth(manifest: Path) -> dict[str, Any]:
    path = manifest.parent / "truth.csv"
    path.write_text(path.read_text().replace("anger\n", "sadness\n", 1))
    return {}


@pytest.mark.parametrize(
    "change",
    [
        change_audio,
        change_speaker,
        change_truth,
        lambda manifest: {"truth": None},
        lambda manifest: {"settings": FeatureSettings(segment_hop=2)},
        lambda manifest: {"settings": FeatureSettings(floor=1e-9)},
    ],
    ids=["audio", "speaker", "truth", "no truth", "hop", "floor"],
)
def test_another_input_gives_another_folder(
    copy: Path, spoken_data: Prepared, tmp_path: Path, change: Callable[[Path], dict[str, Any]]
) -> None:
    options = change(copy)
    made = prepare_spoken(copy, tmp_path / "data", **options)
    assert folder_of(made.corpus).name != folder_of(spoken_data.corpus).name


def test_where_the_audio_lies_does_not_matter(copy: Path, done: Path) -> None:
    again = prepare_spoken(copy, done.parent)
    assert (folder_of(again.corpus), again.made) == (done, 0)


def test_a_corpus_keeps_the_name_that_stores_know_it_by(tmp_path: Path) -> None:
    manifest = write_manifest(noises(tmp_path, 0.5, 0.5).parent, "0.wav,anger,anna", "1.wav,joy,anna")
    made = prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert made.corpus.name == "noise-47b29ae5e06a"
