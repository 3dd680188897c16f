"""The synthetic corpus: the same bytes every time, a truth that tiles, emotions that sound as designed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from data_prep.corpora import read_manifest
from data_prep.errors import CorpusError
from data_prep.synthetic import PROFILES, SyntheticCorpus, read_truth, write_corpus

SMALL = SyntheticCorpus(speakers=2, texts=1, emotions=("anger", "neutral"), takes=1)
ALL_EMOTIONS = SyntheticCorpus(speakers=2, texts=2, emotions=tuple(PROFILES), takes=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def written(folder: Path, **settings: Any) -> dict[str, bytes]:
    """All files of SMALL with other `settings`."""
    write_corpus(folder, SyntheticCorpus(**(vars(SMALL) | settings)))
    return contents(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ALL_EMOTIONS, written once."""
    return write_corpus(tmp_path_factory.mktemp("synthetic"), ALL_EMOTIONS).parent


@pytest.fixture(scope="module")
def sounds(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: soundfile.read(path)[0] for path in sorted((folder / "wav").iterdir())}


@pytest.fixture(scope="module")
def truth(folder: Path) -> pd.DataFrame:
    """One row per stretch, with its length (s) and whether it carries its utterance's emotion."""
    table = read_truth(folder / "truth.csv")
    label = table["id"].str.split("_").str[2]
    return table.assign(length=table["end"] - table["start"], own=table["emotion"] == label)


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a") == written(tmp_path / "b")


def test_the_order_of_emotions_does_not_matter(tmp_path: Path) -> None:
    assert written(tmp_path / "a") == written(tmp_path / "b", emotions=("neutral", "anger"))


def test_another_seed_gives_other_sound(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a"), written(tmp_path / "b", seed=1)
    assert first.keys() == second.keys()
    assert not any(first[name] == second[name] for name in first if name.startswith("wav/"))


@pytest.mark.parametrize("more", [{"speakers": 3}, {"texts": 2}, {"takes": 2}], ids=str)
def test_a_larger_corpus_leaves_the_utterances_it_had_unchanged(tmp_path: Path, more: dict[str, int]) -> None:
    small, large = written(tmp_path / "a"), written(tmp_path / "b", **more)
    assert len(large) > len(small)
    assert all(large[name] == content for name, content in small.items() if name.startswith("wav/"))


def test_no_two_utterances_are_alike(folder: Path) -> None:
    sounds = [content for name, content in contents(folder).items() if name.startswith("wav/")]
    assert len(set(sounds)) == len(sounds) == 2 * 2 * 7 * 2


def test_an_interrupted_call_leaves_no_manifest_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tmp_path / "whole")
    write_corpus(tmp_path / "cut", SyntheticCorpus(**(vars(SMALL) | {"seed": 7})))
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_corpus(tmp_path / "cut", SMALL)
    assert not (tmp_path / "cut" / "manifest.csv").exists()
    assert written(tmp_path / "cut") == whole


def test_the_manifest_reader_takes_the_manifest(folder: Path) -> None:
    utterances = read_manifest(folder / "manifest.csv")
    assert len(utterances) == 56
    first = utterances[0]
    assert (first.id, first.emotion, first.speaker, first.text) == ("s01_t01_anger_1", "anger", "s01", "t01")
    header, line, *_ = (folder / "manifest.csv").read_text().splitlines()
    assert header == "path,emotion,speaker,text,id"
    assert line == "wav/s01_t01_anger_1.wav,anger,s01,t01,s01_t01_anger_1"


def test_sound_files_are_16_khz_mono_pcm16(folder: Path) -> None:
    for path in (folder / "wav").iterdir():
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")


def test_sound_is_neither_clipped_nor_digitally_silent(sounds: dict[str, np.ndarray]) -> None:
    for name, samples in sounds.items():
        assert 0.02 < np.abs(samples).max() <= 0.91, name
        windows = samples[: len(samples) // 160 * 160].reshape(-1, 160)
        assert windows.any(axis=1).all(), f"{name}: 10 ms of zeros"


def test_durations_lie_in_the_documented_range(sounds: dict[str, np.ndarray]) -> None:
    seconds = [len(samples) / 16_000 for samples in sounds.values()]
    assert min(seconds) >= 1.2
    assert max(seconds) <= 2.8


def test_the_truth_tiles_each_utterance(truth: pd.DataFrame, sounds: dict[str, np.ndarray]) -> None:
    assert truth["id"].unique().tolist() == sorted(sounds)
    for name, stretches in truth.groupby("id"):
        start, end = stretches["start"].to_numpy(), stretches["end"].to_numpy()
        assert start[0] == 0
        assert (start[1:] == end[:-1]).all()
        assert abs(end[-1] * 16_000 - len(sounds[str(name)])) <= 1


def test_a_fifth_to_a_half_of_each_utterance_has_another_emotion(truth: pd.DataFrame) -> None:
    other = (truth["length"] * ~truth["own"]).groupby(truth["id"]).sum()
    share = other / truth.groupby("id")["length"].sum()
    assert share.between(0.2, 0.5).all()


def test_stretches_outlast_a_segment_and_neighbours_differ(truth: pd.DataFrame) -> None:
    assert truth["length"].min() > 0.335
    same_utterance = truth["id"].eq(truth["id"].shift())
    assert not (same_utterance & truth["emotion"].eq(truth["emotion"].shift())).any()


def test_other_emotions_are_mostly_neutral_and_always_of_the_corpus(truth: pd.DataFrame, tmp_path: Path) -> None:
    of_emotional = truth[~truth["own"] & ~truth["id"].str.contains("neutral")]
    assert 0.5 < (of_emotional["emotion"] == "neutral").mean() < 1
    written(tmp_path, emotions=("fear", "sadness"))
    assert set(read_truth(tmp_path / "truth.csv")["emotion"]) == {"fear", "sadness"}


def level(samples: np.ndarray) -> float:
    """dB."""
    return float(10 * np.log10(np.mean(samples**2)))


def brightness(samples: np.ndarray) -> float:
    """Energy of 1-3 kHz against that below 1 kHz, dB: frication noise lies above."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / 16_000)
    return float(10 * np.log10(power[(hz > 1000) & (hz < 3000)].sum() / power[hz <= 1000].sum()))


def pitches(samples: np.ndarray) -> np.ndarray:
    """Semitones above 100 Hz of the periodic 40 ms windows, from the peak of their autocorrelation."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, 640)[::160] * np.hanning(640)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(windows, 2048)) ** 2)[:, :320]
    correlation /= correlation[:, :1]
    lags = 35 + correlation[:, 35:250].argmax(axis=1)
    periodic = correlation[np.arange(len(lags)), lags] > 0.5
    found: np.ndarray = 12 * np.log2(16_000 / lags[periodic] / 100)
    return found


@pytest.fixture(scope="module")
def measured(truth: pd.DataFrame, sounds: dict[str, np.ndarray]) -> pd.DataFrame:
    """Means over the stretches that carry their utterance's emotion, minus those of neutral: a row each.

    Texts and speakers are balanced over emotions, so what they add cancels.
    """
    rows = []
    for stretch in truth[truth["own"]].to_dict("records"):
        samples = sounds[stretch["id"]][round(stretch["start"] * 16_000) : round(stretch["end"] * 16_000)]
        semitones = pitches(samples)
        rows.append(
            {
                "emotion": stretch["emotion"],
                "level": level(samples),
                "brightness": brightness(samples),
                "pitch": np.median(semitones),
                "movement": np.subtract(*np.percentile(semitones, [75, 25])),
                "duration": len(sounds[stretch["id"]]) / 16_000,
            }
        )
    means = pd.DataFrame(rows).groupby("emotion").mean()
    return means - means.loc["neutral"]


@pytest.mark.parametrize(
    ("emotion", "quantity", "least", "most"),
    [
        ("anger", "level", 3, 12),
        ("anger", "brightness", 2, 15),
        ("anger", "pitch", 1, 7),
        ("boredom", "pitch", -6, -0.5),
        ("boredom", "duration", 0.1, 1),
        ("disgust", "level", 0.5, 6),
        ("disgust", "pitch", -6, -0.5),
        ("fear", "pitch", 5, 13),
        ("fear", "duration", -1, -0.05),
        ("happiness", "pitch", 3, 11),
        ("happiness", "movement", 1, 8),
        ("sadness", "level", -12, -3),
        ("sadness", "brightness", -15, -1.5),
        ("sadness", "duration", 0.1, 1),
    ],
)
def test_an_emotion_differs_from_neutral_as_designed(
    measured: pd.DataFrame, emotion: str, quantity: str, least: float, most: float
) -> None:
    assert least < measured[quantity][emotion] < most


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"speakers": 0}, "speakers: 0 "),
        ({"texts": -1}, "texts: -1 "),
        ({"takes": 0}, "takes: 0 "),
        ({"seed": -3}, "seed: -3 "),
        ({"emotions": ("anger", "joy")}, "emotions: 'joy' unknown; choose from anger, "),
        ({"emotions": ("anger", "fear", "anger")}, "emotions: anger given more than once"),
        ({"emotions": ("anger",)}, r"emotions: \('anger',\) given, at least 2"),
        ({"emotions": ()}, r"emotions: \(\) given, at least 2"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_by_name_and_value(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        SyntheticCorpus(**settings)


def test_the_manifest_of_another_corpus_is_not_overwritten(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,emotion,speaker\n")
    with pytest.raises(CorpusError, match="is not of a synthetic corpus"):
        write_corpus(tmp_path, SMALL)
    assert manifest.read_text() == "path,emotion,speaker\n"


def test_a_truth_that_is_missing_or_another_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"truth .*truth.csv is not a file"):
        read_truth(tmp_path / "truth.csv")
    (tmp_path / "truth.csv").write_text("id,emotion\n")
    with pytest.raises(CorpusError, match="columns id, emotion, expected id, start, end, emotion"):
        read_truth(tmp_path / "truth.csv")
