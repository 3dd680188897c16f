"""What a preparation refuses, and what it notices of a corpus that it takes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpora import read_manifest
from data_prep.errors import AudioError, CorpusError
from data_prep.prepare import Prepared, prepare
from tests.data_prep.corpus_files import BAD_AUDIO, noise, noises, write_manifest, write_sound

pytestmark = pytest.mark.usefixtures("small_shards")


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


def test_a_column_of_folds_that_no_grid_can_use_is_noticed(tmp_path: Path) -> None:
    noises(tmp_path, 0.5, 0.5, 0.5)
    lines = ("0.wav,joy,anna,0", "1.wav,anger,anna,1.0", "2.wav,joy,anna,")
    manifest = write_manifest(tmp_path, *lines, header="path,emotion,speaker,fold")
    (said,) = prepare("noise", read_manifest(manifest), tmp_path / "data", inline=True).notices
    assert said.splitlines() == [
        "the column fold cannot be used by a grid with folds: {column: fold}:",
        "  - 1 utterance (2) of 3 in no fold; list them",
        "  - 1 fold (1.0) written with a fraction; write whole numbers: 1 for 1.0",
    ]


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
