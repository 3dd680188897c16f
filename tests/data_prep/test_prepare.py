"""Preparing a corpus: whole or not there, resumable, and the same bytes however it was made."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import prepare as preparation
from data_prep.checked import list_values
from data_prep.cluster import ray_session
from data_prep.corpora import Utterance, read_manifest
from data_prep.data_folder import find_prepared
from data_prep.errors import AudioError, CorpusError, ShardError, UserError
from data_prep.features import FeatureSettings
from data_prep.files import sha256_of
from data_prep.prepare import Prepared, prepare
from data_prep.shards import PreparedCorpus, load_corpus, write_shard
from data_prep.synthetic import read_truth
from tests.data_prep.corpus_files import BAD_AUDIO, folder_of, noise, write_manifest, write_sound


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "SEGMENTS_PER_SHARD", 200)


@pytest.fixture
def copy(spoken: Path, tmp_path: Path) -> Path:
    """The manifest of a copy of the spoken corpus, to be changed."""
    return shutil.copytree(spoken.parent, tmp_path / "spoken") / "manifest.csv"


@pytest.fixture
def done(spoken_data: Prepared, tmp_path: Path) -> Path:
    """The folder of a copy of the prepared corpus, to be damaged. Its data folder holds nothing else."""
    name = folder_of(spoken_data.corpus).name
    return shutil.copytree(folder_of(spoken_data.corpus), tmp_path / "data" / name)


def prepare_spoken(manifest: Path, data: Path, **options: Any) -> Prepared:
    truth = read_truth(manifest.parent / "truth.csv")
    return prepare("spoken", read_manifest(manifest), data, **{**options, "inline": True, "truth": truth} | options)


def shard_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def noises(folder: Path, *seconds: float) -> Path:
    """A manifest of sounds of so many seconds, of anger and joy in turn."""
    for number, length in enumerate(seconds):
        write_sound(folder / f"{number}.wav", noise(length, seed=number))
    return write_manifest(folder, *[f"{i}.wav,{('anger', 'joy')[i % 2]},anna" for i in range(len(seconds))])


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
        assert shard["sha256"] == sha256_of(folder / "shards" / shard["file"])
        assert shard["bytes"] == (folder / "shards" / shard["file"]).stat().st_size
    assert sum(shard["segments"] for shard in manifest["shards"]) == manifest["segments"]
    assert sum(shard["utterances"] for shard in manifest["shards"]) == 4
    assert manifest["utterances_sha256"] == sha256_of(folder / "utterances.parquet")


def test_the_utterance_table_has_a_line_per_utterance_in_the_order_of_ids(spoken: Path, spoken_data: Prepared) -> None:
    table = spoken_data.corpus.utterances()
    utterances = sorted(read_manifest(spoken), key=lambda utterance: utterance.id)
    for column in ("id", "speaker", "text", "emotion"):
        assert table[column].tolist() == [getattr(utterance, column) for utterance in utterances]
    assert table["file"].tolist() == [utterance.path.name for utterance in utterances]
    assert table["sha256"].tolist() == [sha256_of(utterance.path) for utterance in utterances]
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


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


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
    content = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
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
    manifest["utterances_sha256"] = sha256_of(done / "utterances.parquet")
    (done / "manifest.json").write_text(json.dumps(manifest))
    assert sounds(find_prepared(done.parent, "spoken")) == sounds(spoken_data.corpus)


def test_shards_whose_utterances_have_other_lengths_are_not_read(done: Path) -> None:
    """As of files that changed when nobody looked: together they have as many segments as the table."""
    table = pd.read_parquet(done / "utterances.parquet").drop(columns=["true_labels", "segments"])
    table["frames"] += [1, -1, 0, 0]
    table.to_parquet(done / "utterances.parquet")
    manifest = json.loads((done / "manifest.json").read_text()) | {"truth": False}
    manifest["utterances_sha256"] = sha256_of(done / "utterances.parquet")
    (done / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match=r"shards and utterances.parquet disagree; prepare the corpus again"):
        load_corpus(find_prepared(done.parent, "spoken"))


# Refused


def test_every_file_that_cannot_be_used_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    manifest = noises(tmp_path, *[1.0] * (len(BAD_AUDIO) + 2))
    for number, (write, _) in enumerate(BAD_AUDIO.values()):
        (tmp_path / f"{number}.wav").unlink()
        write(tmp_path / f"{number}.wav")
    with pytest.raises(AudioError) as raised:
        prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    first, *problems = str(raised.value).splitlines()
    assert first.startswith(
        f"{len(BAD_AUDIO)} of {len(BAD_AUDIO) + 2} audio files cannot be used, nothing was prepared"
    )
    assert [line.split(":")[0] for line in problems] == [f"  - {tmp_path}/{i}.wav" for i in range(len(BAD_AUDIO))]
    assert not (tmp_path / "data").exists()


def test_a_file_shorter_than_a_segment_is_refused_with_both_lengths(tmp_path: Path) -> None:
    manifest = noises(tmp_path, 1.0, 0.25)
    with pytest.raises(AudioError, match=r"1.wav: 0.250 s of sound is shorter than one segment \(0.335 s\)"):
        prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert not (tmp_path / "data").exists()


def test_a_file_of_exactly_one_segment_is_prepared(tmp_path: Path) -> None:
    manifest = noises(tmp_path, 1.0, 0.335)
    made = prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert made.corpus.utterances()["segments"].tolist() == [67, 1]


def test_a_corpus_of_one_emotion_is_refused(tmp_path: Path) -> None:
    noises(tmp_path, 1.0, 1.0)
    manifest = write_manifest(tmp_path, "0.wav,joy,anna", "1.wav,joy,anna")
    with pytest.raises(CorpusError, match="all 2 utterances have the emotion 'joy'; at least two are needed"):
        prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert not (tmp_path / "data").exists()


def test_a_corpus_without_utterances_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no utterances"):
        prepare("nothing", [], tmp_path / "data", inline=True)


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a b", "-x", "a\n"])
def test_a_corpus_name_that_is_no_folder_name_is_refused(spoken: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=r"corpus name .* cannot name a folder: use only letters"):
        prepare(name, read_manifest(spoken), tmp_path / "data", inline=True)
    assert list(tmp_path.iterdir()) == []


# Notices


def test_a_clean_corpus_gives_no_notice(spoken_data: Prepared) -> None:
    assert spoken_data.notices == ()


def test_what_was_changed_or_stands_twice_is_noticed(tmp_path: Path) -> None:
    manifest = noises(tmp_path, *[0.5] * 6)
    write_sound(tmp_path / "0.wav", np.stack([noise(0.5), noise(0.5, 1)], axis=1))
    write_sound(tmp_path / "1.wav", noise(0.5, rate=44_100), 44_100)
    write_sound(tmp_path / "2.wav", noise(0.5, rate=8_000), 8_000)
    write_sound(tmp_path / "3.wav", noise(0.5, seed=7, rate=8_000), 8_000)
    shutil.copy(tmp_path / "3.wav", tmp_path / "5.wav")
    made = prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert made.notices == (
        "1 of 6 files with more than one channel, mixed down to mono",
        "3 files at 8000 Hz resampled to 16000 Hz",
        "1 file at 44100 Hz resampled to 16000 Hz",
        "2 files have the same sound as another; copies in training and test leak labels\n  - 3.wav = 5.wav",
    )


def test_what_is_odd_about_files_is_noticed_by_name_and_level(tmp_path: Path) -> None:
    manifest = noises(tmp_path, *[0.5] * 8)
    write_sound(tmp_path / "0.wav", np.stack([noise(0.5), np.zeros(8000)], axis=1))
    write_sound(tmp_path / "1.wav", np.stack([0.001 * noise(0.5, 1), noise(0.5, 2)], axis=1), subtype="FLOAT")
    write_sound(tmp_path / "2.wav", 8 * noise(0.5, 3), subtype="FLOAT")
    write_sound(tmp_path / "3.wav", 2**-8 * noise(0.5, 4), subtype="PCM_24")
    write_sound(tmp_path / "4.wav", np.stack([noise(0.5, 5), -0.5 * noise(0.5, 5)], axis=1))
    cut = bytearray((tmp_path / "5.wav").read_bytes())
    cut[40:44] = b"\xff" * 4
    (tmp_path / "5.wav").write_bytes(cut)
    (tmp_path / "6.wav").write_bytes((tmp_path / "6.wav").read_bytes() + b"more" * 5000)
    made = prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert made.notices == (
        "3 of 8 files with more than one channel, mixed down to mono",
        "2 of 8 files have a channel that is dead or nearly so\n"
        "  - 0.wav: channel 2 of 2 is silent; mixed down, it loses 6.0 dB\n"
        "  - 1.wav: channel 1 of 2 is 60.0 dB below the loudest; mixed down, it loses 6.0 dB",
        "1 of 8 files are louder than full scale\n  - 2.wav: its loudest sample is 4, 12.0 dB above full scale",
        "1 of 8 files are very quiet, as are values of few bits that are written in many\n"
        "  - 3.wav: its loudest sample is 0.001953, 54.2 dB below full scale",
        "1 of 8 files have channels that cancel one another in part\n  - 4.wav: mixed down, it loses 7.0 dB",
        "1 of 8 files do not say how long they are, and may have been cut off\n"
        "  - 5.wav: its header does not say how long it is: it was read to its end",
        "1 of 8 files hold more than the sound that their headers promise\n"
        "  - 6.wav: 20000 bytes behind its sound were not read",
    )


# Copies


def same_sounds(folder: Path, *lines: str) -> Path:
    """Three sounds as WAV and as other containers."""
    for number in range(3):
        sound = np.round(noise(0.5, number) * 32768) / 32768
        write_sound(folder / "wav" / f"{number}.wav", sound)
        write_sound(folder / "flac" / f"{number}.flac", sound)
        write_sound(folder / "aiff" / f"{number}.aiff", sound, subtype="PCM_24")
    return write_manifest(folder, *lines)


def test_the_same_sound_in_other_containers_is_noticed_with_its_names_and_speakers(tmp_path: Path) -> None:
    manifest = same_sounds(
        tmp_path,
        "wav/0.wav,anger,s1",
        "flac/0.flac,anger,s2",
        "aiff/0.aiff,anger,s1",
        "wav/1.wav,joy,s1",
        "flac/1.flac,joy,s1",
        "wav/2.wav,joy,s1",
    )
    made = prepare("same", read_manifest(manifest), tmp_path / "data", inline=True)
    assert made.notices == (
        "5 files have the same sound as another; copies in training and test leak labels\n"
        "  - aiff/0.aiff (speaker s1) = flac/0.flac (speaker s2) = wav/0.wav (speaker s1)\n"
        "  - flac/1.flac = wav/1.wav",
    )


def test_one_sound_under_two_emotions_is_refused_with_every_name(tmp_path: Path) -> None:
    manifest = same_sounds(
        tmp_path,
        "wav/0.wav,anger,s1",
        "flac/0.flac,joy,s2",
        "wav/1.wav,joy,s1",
        "aiff/1.aiff,anger,s1",
        "wav/2.wav,joy,s1",
    )
    with pytest.raises(CorpusError) as raised:
        prepare("same", read_manifest(manifest), tmp_path / "data", inline=True)
    assert str(raised.value).splitlines() == [
        "2 sounds under more than one emotion, nothing was prepared; remove the wrong copies:",
        "  - aiff/1.aiff (emotion anger) = wav/1.wav (emotion joy)",
        "  - flac/0.flac (emotion joy) = wav/0.wav (emotion anger)",
    ]
    assert not (tmp_path / "data").exists()


def test_one_file_under_two_emotions_is_refused(tmp_path: Path) -> None:
    noises(tmp_path, 0.5, 0.5)
    lines = ["0.wav,anger,anna,a", "0.wav,joy,anna,b", "1.wav,joy,anna,c"]
    manifest = write_manifest(tmp_path, *lines, header="path,emotion,speaker,id")
    with pytest.raises(CorpusError, match=r"0.wav \(emotion anger\) = 0.wav \(emotion joy\)"):
        prepare("same", read_manifest(manifest), tmp_path / "data", inline=True)


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
