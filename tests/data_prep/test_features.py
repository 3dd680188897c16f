"""Log-Mel frames against librosa's, and segments against naive slicing (§VI)."""

from typing import Any

import librosa
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.arrays import Floats
from data_prep.features import FeatureSettings, LogMel
from data_prep.segments import cut_segments, frame_count, segment_count, true_labels
from tests.data_prep.corpus_files import naive_segments, noise, tone

PAPER = FeatureSettings()
LOG_MEL = LogMel(PAPER)
# Noise that swells over 60 dB and a tone: every band and level takes part.
SIGNAL = (noise(0.7) * np.geomspace(0.001, 1, 11_200) + 0.5 * tone(700, 0.7)).astype(np.float32)
TOLERANCE = 1e-3


def librosa_frames(samples: np.ndarray = SIGNAL, **changed: Any) -> np.ndarray:
    """The paper's frames by librosa, or others with keyword arguments `changed`: [f, mels].

    librosa too frames by the FFT length, with the window in its middle: 56 samples on each side make that a framing
    by the window.
    """
    arguments: dict[str, Any] = {
        "y": np.pad(samples, 56),
        "sr": 16_000,
        "n_fft": 512,
        "win_length": 400,
        "hop_length": 160,
        "center": False,
        "window": "hann",
        "power": 2.0,
        "n_mels": 64,
        "fmin": 125.0,
        "fmax": 7_500.0,
        "htk": True,
        "norm": None,
    }
    power: Floats = librosa.feature.melspectrogram(**(arguments | changed))
    return np.log(np.maximum(power, 1e-10)).T


def furthest(frames: np.ndarray, others: np.ndarray) -> float:
    count = min(len(frames), len(others))
    return float(np.abs(frames[:count] - others[:count]).max())


# Frames


def test_the_settings_are_the_papers() -> None:
    assert PAPER.as_dict() == {
        "sample_rate": 16_000,
        "window": 400,
        "shift": 160,
        "fft": 512,
        "mels": 64,
        "low_hz": 125.0,
        "high_hz": 7_500.0,
        "floor": 1e-10,
        "segment_frames": 32,
        "segment_hop": 1,
    }


def test_frames_are_librosas() -> None:
    frames = LOG_MEL(SIGNAL)
    assert frames.dtype == np.float32
    assert frames.shape == librosa_frames().shape == (68, 64)
    assert furthest(frames, librosa_frames()) < TOLERANCE


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize(
    "changed",
    [
        {"htk": False},
        {"norm": "slaney"},
        {"center": True},
        {"y": SIGNAL, "center": True},
        {"y": SIGNAL},
        {"y": SIGNAL, "n_fft": 400},
        {"power": 1.0},
        {"fmin": 0.0},
        {"fmax": 8_000.0},
        {"window": "hamming"},
    ],
    ids=lambda changed: " ".join("unpadded" if k == "y" else f"{k}={v}" for k, v in changed.items()),
)
def test_the_tolerance_tells_apart_what_is_not_the_papers(changed: dict[str, Any]) -> None:
    assert furthest(LOG_MEL(SIGNAL), librosa_frames(**changed)) > 1000 * TOLERANCE


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(0, 5_000))
def test_a_frame_is_wherever_a_whole_window_fits(samples: int) -> None:
    naive = len(range(0, samples - 400 + 1, 160))
    assert frame_count(samples, PAPER) == naive
    assert LOG_MEL(np.ones(samples, np.float32)).shape == (naive, 64)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (239, 0), (240, 0), (399, 0), (400, 1), (559, 1), (560, 2)])
def test_less_sound_than_a_window_gives_no_frame(samples: int, frames: int) -> None:
    assert frame_count(samples, PAPER) == frames
    assert len(LOG_MEL(SIGNAL[:samples])) == frames


def test_a_frame_depends_on_its_own_25_ms_only() -> None:
    other = SIGNAL.copy()
    other[: 10 * 160] = noise(0.1, seed=1)
    other[10 * 160 + 400 :] = 0.0
    np.testing.assert_array_equal(LOG_MEL(other)[10], LOG_MEL(SIGNAL)[10])


def test_silence_stands_at_the_logarithm_of_the_floor() -> None:
    np.testing.assert_allclose(LOG_MEL(np.zeros(400, np.float32)), np.log(1e-10), rtol=1e-6)


# Segments


@given(
    frames=st.integers(0, 120),
    length=st.integers(1, 40),
    hop=st.integers(1, 50),
)
def test_a_segment_is_wherever_all_its_frames_are(frames: int, length: int, hop: int) -> None:
    assert segment_count(frames, FeatureSettings(segment_frames=length, segment_hop=hop)) == len(
        range(0, frames - length + 1, hop)
    )


@pytest.mark.parametrize(("frames", "segments"), [(31, 0), (32, 1), (33, 2), (276, 245)])
def test_the_paper_has_as_many_segments_as_frames_less_31(frames: int, segments: int) -> None:
    assert segment_count(frames, PAPER) == segments


@pytest.mark.parametrize("frames", [32, 33, 71, 96])
@pytest.mark.parametrize("hop", [1, 2, 3, 31, 32, 40])
def test_segments_are_those_of_naive_slicing(frames: int, hop: int) -> None:
    changed = FeatureSettings(segment_hop=hop)
    values = np.random.default_rng(0).standard_normal((frames, 64)).astype(np.float32)
    np.testing.assert_array_equal(cut_segments(values, changed), naive_segments(values, changed))


def test_segments_are_a_view_that_cannot_be_written_to() -> None:
    frames = np.zeros((50, 64), np.float32)
    segments = cut_segments(frames, PAPER)
    assert np.shares_memory(segments, frames)
    assert not segments.flags.writeable


# The true emotion of a segment

CLASSES = {"anger": 0, "neutral": 1, "sadness": 2}


def stretches(*rows: tuple[float, float, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["start", "end", "emotion"])


def test_a_segment_belongs_to_the_stretch_that_covers_most_of_its_335_ms() -> None:
    labels = true_labels(stretches((0.0, 1.0, "sadness"), (1.0, 2.0, "neutral")), CLASSES, 160, PAPER)
    assert labels.dtype == np.int8
    assert labels.tolist() == [2] * 84 + [1] * 76  # from 0.84 s on, more than half of it is after 1 s


def test_a_hop_moves_segments_by_as_many_frames() -> None:
    hop_7 = FeatureSettings(segment_hop=7)
    labels = true_labels(stretches((0.0, 1.0, "sadness"), (1.0, 2.0, "neutral")), CLASSES, 20, hop_7)
    assert labels.tolist() == [2] * 12 + [1] * 8


def test_an_emotion_that_comes_back_within_a_segment_counts_as_one() -> None:
    came_back = stretches((0.0, 0.12, "anger"), (0.12, 0.27, "neutral"), (0.27, 1.0, "anger"))
    assert true_labels(came_back, CLASSES, 1, PAPER).tolist() == [0]
