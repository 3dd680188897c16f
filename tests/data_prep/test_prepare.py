"""Preparing a corpus: whole or not there, resumable, and the same bytes however it was made."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from corpus_files import BAD_AUDIO, noise, write_manifest, write_sound

from data_prep import prepare as preparation
from data_prep.cluster import ray_session
from data_prep.corpora import Utterance, read_manifest
from data_prep.errors import AudioError, CorpusError, ShardError, UserError
from data_prep.features import FeatureSettings
from data_prep.files import sha256_of
from data_prep.prepare import Prepared, prepare
from data_prep.shards import find_prepared, load_corpus
from data_prep.synthetic import read_truth


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
    name = spoken_data.corpus.folder.name
    return shutil.copytree(spoken_data.corpus.folder, tmp_path / "data" / name)


def prepare_spoken(manifest: Path, data: Path, **options: Any) -> Prepared:
    options = {"truth": read_truth(manifest.parent / "truth.csv"), "inline": True} | options
    return prepare("spoken", read_manifest(manifest), data, **options)


def shard_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def noises(folder: Path, *seconds: float) -> Path:
    """A manifest of sounds of so many seconds, of anger and joy in turn."""
    for number, length in enumerate(seconds):
        write_sound(folder / f"{number}.wav", noise(length, seed=number))
    return write_manifest(folder, *[f"{i}.wav,{('anger', 'joy')[i % 2]},anna" for i in range(len(seconds))])


# What is written


def test_the_manifest_tells_what_the_corpus_holds(spoken_data: Prepared) -> None:
    folder, manifest = spoken_data.corpus.folder, spoken_data.corpus.manifest
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
    folder, manifest = spoken_data.corpus.folder, spoken_data.corpus.manifest
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
    assert shard_files(made.corpus.folder) == shard_files(spoken_data.corpus.folder)


def test_nothing_else_is_left_in_the_folder(spoken_data: Prepared) -> None:
    folder = spoken_data.corpus.folder
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
    whole = preparation.write_shard
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
    folder = tmp_path / spoken_data.corpus.folder.name
    assert list(shard_files(folder)) == ["_shard-00000.json", "shard-00000.parquet"]
    assert not (folder / "manifest.json").exists()
    with pytest.raises(ShardError, match="no prepared corpus"):
        find_prepared(tmp_path, "spoken")
    again = prepare_spoken(spoken, tmp_path)
    assert again.kept == 1
    assert shard_files(folder) == shard_files(spoken_data.corpus.folder)
    assert again.corpus.manifest == spoken_data.corpus.manifest


def test_a_shard_cut_off_while_it_is_written_leaves_no_file(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_prep.folders.os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        prepare_spoken(spoken, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_shards_that_are_not_there_after_they_were_made_are_told(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_make_shard", lambda job: None)
    with pytest.raises(ShardError, match=r"(?s)shards were made but are not whole .*store:.*shard-00000.parquet"):
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
    assert made.corpus.folder.name != spoken_data.corpus.folder.name


def test_where_the_audio_lies_does_not_matter(copy: Path, done: Path) -> None:
    again = prepare_spoken(copy, done.parent)
    assert (again.corpus.folder, again.made) == (done, 0)


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
    with pytest.raises(CorpusError, match="all 2 utterances have the emotion 'joy'; two or more are needed"):
        prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert not (tmp_path / "data").exists()


def test_a_corpus_without_utterances_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no utterances"):
        prepare("nothing", [], tmp_path / "data", inline=True)


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a b", "-x", "a\n"])
def test_a_corpus_name_that_is_no_folder_name_is_refused(spoken: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=r"corpus name .* names a folder: use letters"):
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
    shutil.copy(tmp_path / "4.wav", tmp_path / "5.wav")
    made = prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True)
    assert made.notices == (
        "1 of 6 files have more than one channel and were mixed down to mono",
        "2 files at 8000 Hz were resampled to 16000 Hz",
        "1 files at 44100 Hz were resampled to 16000 Hz",
        "2 files have the same bytes as another; copies in training and test leak labels",
    )


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
    assert shard_files(tmp_path / made.corpus.folder) == shard_files(spoken_data.corpus.folder)


@pytest.mark.usefixtures("_ray")
def test_an_error_in_a_worker_is_raised_as_it_would_be_here(copy: Path, tmp_path: Path) -> None:
    lost = copy.parent / "wav" / "s01_t01_anger_1.wav"

    def lose(what: str, done: int, total: int) -> None:
        if what == "shards":
            lost.unlink(missing_ok=True)

    with pytest.raises(AudioError) as raised:
        prepare_spoken(copy, tmp_path / "data", inline=False, progress=lose)
    assert str(raised.value) == f"{lost}: cannot be read (No such file or directory)"
    assert type(raised.value) is AudioError
