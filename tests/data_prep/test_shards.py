"""Shards on disk and read back: the schema others rely on, and every number of every segment."""

import json
import os
import re
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import prepare as preparation
from data_prep import shards
from data_prep.corpora import read_manifest
from data_prep.data_folder import find_prepared, list_prepared
from data_prep.errors import ShardError
from data_prep.features import FeatureSettings
from data_prep.prepare import Prepared, prepare
from data_prep.shards import PreparedCorpus, SegmentCorpus, load_corpus
from ser_sweep.cli import main
from tests.data_prep.corpus_files import folder_of, frames_of, naive_segments, noise, write_manifest, write_sound


@pytest.fixture
def done(spoken_data: Prepared, tmp_path: Path) -> PreparedCorpus:
    """A copy of the prepared corpus, to be damaged."""
    folder = folder_of(spoken_data.corpus)
    return PreparedCorpus(shutil.copytree(folder, tmp_path / "data" / folder.name), spoken_data.corpus.manifest)


def segments_of(corpus: SegmentCorpus, utterance: int) -> np.ndarray:
    """All segments of one utterance, in their order."""
    index = np.flatnonzero(corpus.utterance == utterance)
    return corpus.spectrograms(index[np.argsort(corpus.segment[index])])


def assert_read_back(manifest: Path, prepared: PreparedCorpus) -> None:
    """Every segment of `prepared` has the very numbers that its audio file gives."""
    corpus, settings = load_corpus(prepared), prepared.settings
    paths = {utterance.id: utterance.path for utterance in read_manifest(manifest)}
    assert set(corpus.utterances["id"]) == set(paths)
    for number, utterance_id in enumerate(corpus.utterances["id"]):
        expected = naive_segments(frames_of(paths[utterance_id], settings), settings)
        np.testing.assert_array_equal(segments_of(corpus, number), expected)


# On disk


def test_shards_have_the_documented_schema(spoken_data: Prepared) -> None:
    for path in (folder_of(spoken_data.corpus) / "shards").glob("*.parquet"):
        schema = pq.read_schema(path)
        columns: dict[str, pa.DataType] = {
            "utterance_id": pa.string(),
            "segment": pa.int32(),
            "start_frame": pa.int32(),
            "spectrogram": pa.list_(pa.float32(), 2048),
        }
        assert schema.equals(pa.schema(columns))
        assert schema.metadata[b"layout"] == b"32 frames x 64 mels, time-major"


def test_shards_are_compressed_with_zstd_and_spectrograms_have_no_dictionary(spoken_data: Prepared) -> None:
    for path in (folder_of(spoken_data.corpus) / "shards").glob("*.parquet"):
        group = pq.ParquetFile(path).metadata.row_group(0)
        columns = {group.column(i).path_in_schema.split(".")[0]: group.column(i) for i in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert not columns["spectrogram"].has_dictionary_page


def test_overlapping_segments_take_a_tenth_of_their_size(spoken_data: Prepared) -> None:
    manifest = spoken_data.corpus.manifest
    assert sum(shard["bytes"] for shard in manifest["shards"]) < manifest["segments"] * 32 * 64 * 4 / 10


def test_a_row_is_a_segment_of_an_utterance_time_major(spoken: Path, spoken_data: Prepared) -> None:
    paths = {utterance.id: utterance.path for utterance in read_manifest(spoken)}
    files = sorted((folder_of(spoken_data.corpus) / "shards").glob("*.parquet"))
    rows = [row for path in files for row in pq.read_table(path).to_pylist()[::29]]
    assert {row["utterance_id"] for row in rows} == set(paths)
    frames = {utterance_id: frames_of(path, FeatureSettings()) for utterance_id, path in paths.items()}
    for row in rows:
        assert row["start_frame"] == row["segment"]
        spectrogram = np.array(row["spectrogram"], np.float32).reshape(32, 64)
        expected = frames[row["utterance_id"]][row["start_frame"] : row["start_frame"] + 32]
        np.testing.assert_array_equal(spectrogram, expected)


# Read back


def test_every_segment_has_the_numbers_its_audio_gives(spoken: Path, spoken_data: Prepared) -> None:
    assert_read_back(spoken, spoken_data.corpus)


@pytest.mark.parametrize("hop", [1, 3, 32, 40])
def test_segments_are_read_back_at_any_hop_and_across_row_groups_and_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hop: int
) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 7)
    monkeypatch.setattr(preparation, "SEGMENTS_PER_SHARD", 20)
    for number, seconds in enumerate((0.335, 1.2, 0.5, 0.9, 1.5)):
        write_sound(tmp_path / f"{number}.wav", noise(seconds, seed=number))
    manifest = write_manifest(tmp_path, *[f"{i}.wav,{('anger', 'joy')[i % 2]},anna" for i in range(5)])
    settings = FeatureSettings(segment_hop=hop)
    made = prepare("noise", read_manifest(manifest), tmp_path / "data", settings, inline=True)
    assert_read_back(manifest, find_prepared(tmp_path / "data", "noise"))
    for path in (folder_of(made.corpus) / "shards").glob("*.parquet"):
        table = pq.read_table(path)
        np.testing.assert_array_equal(table["start_frame"], np.array(table["segment"]) * hop)


def test_frames_are_kept_once(spoken_data: Prepared) -> None:
    corpus = load_corpus(spoken_data.corpus)
    assert corpus.frames.shape == (spoken_data.corpus.manifest["frames"], 64)
    assert corpus.frames.dtype == np.float32


def test_a_segment_inherits_the_label_of_its_utterance(spoken_data: Prepared) -> None:
    corpus = load_corpus(spoken_data.corpus)
    emotion = corpus.utterances["emotion"].to_numpy()[corpus.utterance]
    assert np.array(corpus.classes)[corpus.label].tolist() == emotion.tolist()
    assert corpus.classes == ("anger", "sadness")


def test_true_labels_are_those_of_the_utterance_table(spoken_data: Prepared) -> None:
    corpus = load_corpus(spoken_data.corpus)
    assert corpus.true_label is not None
    for number, labels in enumerate(spoken_data.corpus.utterances()["true_labels"]):
        np.testing.assert_array_equal(corpus.true_label[corpus.utterance == number], labels)
    assert 0.5 < np.mean(corpus.true_label == corpus.label) < 0.8


def test_a_corpus_without_truth_has_no_true_labels(spoken: Path, tmp_path: Path) -> None:
    made = prepare("spoken", read_manifest(spoken), tmp_path, inline=True)
    assert load_corpus(made.corpus).true_label is None


@pytest.mark.parametrize("every", [1, 4, 1000])
def test_a_thinned_corpus_has_every_nth_segment_of_each_utterance(spoken_data: Prepared, every: int) -> None:
    whole = load_corpus(spoken_data.corpus)
    thinned = whole.thinned(every)
    assert whole.true_label is not None and thinned.true_label is not None
    for utterance in range(4):
        of_whole, of_thinned = whole.utterance == utterance, thinned.utterance == utterance
        assert thinned.segment[of_thinned].tolist() == list(range(0, of_whole.sum(), every))
        np.testing.assert_array_equal(segments_of(thinned, utterance), segments_of(whole, utterance)[::every])
        np.testing.assert_array_equal(thinned.true_label[of_thinned], whole.true_label[of_whole][::every])
    np.testing.assert_array_equal(thinned.label, thinned.utterances["label"].to_numpy()[thinned.utterance])


# Damaged


def test_a_missing_and_a_damaged_shard_are_refused_with_the_remedy(done: PreparedCorpus) -> None:
    (folder_of(done) / "shards" / "shard-00000.parquet").unlink()
    path = folder_of(done) / "shards" / "shard-00001.parquet"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError) as raised:
        load_corpus(done)
    first, *problems = str(raised.value).splitlines()
    assert first.startswith(f"{done.folder}: 2 of {len(done.manifest['shards'])} shards cannot be used; repeat the ")
    assert "ser-sweep prepare" in first
    assert problems[0] == "  - shard-00000.parquet: missing"
    assert problems[1].startswith("  - shard-00001.parquet: damaged")


@pytest.mark.parametrize("damage", ["missing", "other labels", "cut off"])
def test_a_damaged_utterance_table_is_refused_with_the_remedy(done: PreparedCorpus, damage: str) -> None:
    path = folder_of(done) / "utterances.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        table = done.utterances()
        table.assign(label=1 - table["label"]).to_parquet(path)
    with pytest.raises(ShardError, match=r"utterances.parquet is missing or damaged; repeat the ser-sweep prepare"):
        load_corpus(done)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"1", b"{}", b"\xff", b'{"schema": "one"}', b'{"schema": 1'], ids=repr
)
def test_a_damaged_manifest_is_refused_with_the_remedy(done: PreparedCorpus, content: bytes) -> None:
    path = folder_of(done) / "manifest.json"
    path.write_bytes(content)
    prepared, unreadable = list_prepared(folder_of(done).parent)
    assert not prepared
    assert re.match(f"{path} is damaged .*; prepare the corpus again", str(unreadable[done.name]))


def test_a_manifest_of_a_newer_version_is_refused(done: PreparedCorpus) -> None:
    path = folder_of(done) / "manifest.json"
    path.write_text(json.dumps({**done.manifest, "schema": 2}))
    with pytest.raises(ShardError, match=r"newer ser-sweep \(schema 2\); upgrade to read it"):
        find_prepared(folder_of(done).parent, "spoken")


# Found by name


@pytest.fixture
def two(done: PreparedCorpus, spoken: Path) -> tuple[PreparedCorpus, PreparedCorpus]:
    """Two preparations of the same corpus in one data folder."""
    settings = FeatureSettings(segment_hop=4)
    return done, prepare("spoken", read_manifest(spoken), folder_of(done).parent, settings, inline=True).corpus


def test_a_corpus_is_found_by_its_name(done: PreparedCorpus) -> None:
    assert find_prepared(folder_of(done).parent, "spoken") == done


def test_a_name_with_two_preparations_is_refused_with_what_tells_them_apart(
    two: tuple[PreparedCorpus, PreparedCorpus],
) -> None:
    with pytest.raises(ShardError) as raised:
        find_prepared(folder_of(two[0]).parent, "spoken")
    first, *lines = str(raised.value).splitlines()
    assert "corpus 'spoken' is ambiguous" in first
    expected = [f"  - {one.name} (4 utterances, {one.manifest['segments']} segments; segment_hop " for one in two]
    assert sorted(line[: line.rindex("hop ") + 4] for line in lines) == sorted(expected)


def test_the_full_name_tells_two_preparations_apart(two: tuple[PreparedCorpus, PreparedCorpus]) -> None:
    for one in two:
        assert find_prepared(folder_of(one).parent, one.name) == one


def test_a_name_that_is_not_there_is_refused_with_those_that_are(done: PreparedCorpus) -> None:
    with pytest.raises(ShardError, match=rf"corpus 'emodb' is not in .* \(there: {done.name}\); make it with"):
        find_prepared(folder_of(done).parent, "emodb")


def test_a_data_folder_that_does_not_exist_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="nowhere does not exist; make it with: ser-sweep prepare"):
        list_prepared(tmp_path / "nowhere")


# One that cannot be read keeps no other from being used


@pytest.fixture
def beside(done: PreparedCorpus) -> PreparedCorpus:
    """A whole corpus beside folders that no command can read."""
    data = folder_of(done).parent
    for name, manifest in {
        "damaged-0": {**done.manifest, "settings": {}},
        "hop-0": {**done.manifest, "settings": {**done.manifest["settings"], "segment_hop": 10_001}},
        "newer-0": {**done.manifest, "schema": 9},
        "spoken-0": {**done.manifest, "classes": {}},
    }.items():
        (data / name).mkdir()
        (data / name / "manifest.json").write_text(json.dumps(manifest))
    (data / "folder-0" / "manifest.json").mkdir(parents=True)
    (data / "caf\udce9-0").mkdir()
    return done


def test_an_unreadable_corpus_keeps_no_other_from_being_found(beside: PreparedCorpus) -> None:
    assert find_prepared(folder_of(beside).parent, beside.name) == beside
    prepared, unreadable = list_prepared(folder_of(beside).parent)
    assert prepared == [beside]
    assert sorted(unreadable) == ["caf\udce9-0", "damaged-0", "folder-0", "hop-0", "newer-0", "spoken-0"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("damaged-0", "damaged-0/manifest.json is damaged"),
        ("damaged", "damaged-0/manifest.json is damaged"),
        ("hop", "hop-0/manifest.json is damaged .settings.segment_hop"),
        ("newer", "was written by a newer ser-sweep"),
        ("folder", "folder-0/manifest.json cannot be read"),
        ("other", "cannot be read: caf\ufffd-0, damaged-0, folder-0, hop-0, newer-0, spoken-0"),
    ],
)
def test_the_one_that_is_asked_for_is_told(beside: PreparedCorpus, name: str, message: str) -> None:
    with pytest.raises(ShardError, match=message):
        find_prepared(folder_of(beside).parent, name)


def test_another_preparation_that_is_unreadable_is_not_passed_over(beside: PreparedCorpus) -> None:
    with pytest.raises(ShardError, match=f"(?s)spoken-0/manifest.json is damaged.*or write in the grid: {beside.name}"):
        find_prepared(folder_of(beside).parent, "spoken")


def test_corpora_lists_what_can_be_read_and_tells_the_rest(
    beside: PreparedCorpus, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder_of(beside), folder_of(beside).parent / "cut-0")
    (folder_of(beside).parent / "cut-0" / "utterances.parquet").write_bytes(b"")
    assert main(["corpora", "--data", str(folder_of(beside).parent)]) == 1
    told = capsys.readouterr()
    assert beside.name in told.out
    assert told.err.count("notice: ") == 7


def test_a_name_in_another_unicode_form_finds_the_corpus(tmp_path: Path, spoken: Path) -> None:
    done = prepare("\u00c4rger", read_manifest(spoken), tmp_path / "data", inline=True).corpus
    assert find_prepared(tmp_path / "data", "A\u0308rger") == done


# What differs


def test_preparations_of_one_name_are_told_apart_by_date_files_sound_and_labels(tmp_path: Path) -> None:
    for n in range(6):
        write_sound(tmp_path / "wav" / f"u{n}.wav", noise(1, n))
    lines = [f"wav/u{n}.wav,{['anger', 'joy'][n % 2]},anna" for n in range(6)]
    first = prepare("mine", read_manifest(write_manifest(tmp_path, *lines[:5])), tmp_path / "data", inline=True).corpus
    write_sound(tmp_path / "wav" / "u1.wav", noise(1, 99))
    lines[2] = "wav/u2.wav,anger,otto"
    second = prepare("mine", read_manifest(write_manifest(tmp_path, *lines)), tmp_path / "data", inline=True).corpus
    os.utime(folder_of(first) / "manifest.json", (0, datetime(2026, 5, 4, 10, 11).timestamp()))
    with pytest.raises(ShardError) as raised:
        find_prepared(tmp_path / "data", "mine")
    lines = str(raised.value).splitlines()
    of_first = next(line for line in lines if line.startswith(f"  - {first.name}"))
    of_second = next(line for line in lines if line.startswith(f"  - {second.name}"))
    assert "made 2026-05-04 10:11" in of_first
    assert "not in" not in of_first
    assert f"1 utterance (wav/u5) not in {first.name}" in of_second
    for line, other in ((of_first, second), (of_second, first)):
        assert f"1 utterance (wav/u1) of other sound than in {other.name}" in line
        assert f"1 utterance (wav/u2) of other labels than in {other.name}" in line
