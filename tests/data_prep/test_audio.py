"""Audio files: decoded, mixed down and resampled, or refused with the reason."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpus_files import BAD_AUDIO, format_chunk, noise, riff, tone, write_sound

from data_prep.audio import read_audio
from data_prep.errors import AudioError


def loudest(samples: np.ndarray) -> float:
    """The frequency (Hz) of the strongest bin of the spectrum of one second at 16 kHz."""
    return float(np.abs(np.fft.rfft(samples, 16_000)).argmax())


def test_samples_of_a_wav_file_are_float32_in_units_of_full_scale(tmp_path: Path) -> None:
    content = np.array([16384, -32768, 1, 0], "<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(riff(format_chunk(), (b"data", content)))
    audio = read_audio(tmp_path / "a.wav", 16_000)
    assert audio.samples.dtype == np.float32
    np.testing.assert_array_equal(audio.samples, [0.5, -1.0, 1 / 32768, 0.0])
    assert (audio.source_rate, audio.channels) == (16_000, 1)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "DOUBLE", 0),
        ("a.flac", "PCM_16", 2**-15),
        ("a.aiff", "PCM_16", 2**-15),
    ],
)
def test_files_of_many_formats_are_decoded(tmp_path: Path, name: str, subtype: str, tolerance: float) -> None:
    samples = noise(0.5)
    read = read_audio(write_sound(tmp_path / name, samples, subtype=subtype), 16_000).samples
    np.testing.assert_allclose(read, samples, rtol=0, atol=tolerance)


def test_channels_are_mixed_down_to_their_mean(tmp_path: Path) -> None:
    left, right = tone(300, 0.1), noise(0.1)
    path = write_sound(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    audio = read_audio(path, 16_000)
    np.testing.assert_array_equal(audio.samples, (left + right) / 2)
    assert audio.channels == 2


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_another_rate_is_resampled_with_duration_pitch_and_level_kept(tmp_path: Path, rate: int) -> None:
    path = write_sound(tmp_path / "a.wav", tone(1000, 1.0, rate), rate)
    audio = read_audio(path, 16_000)
    assert audio.samples.shape == (16_000,)
    assert audio.samples.dtype == np.float32
    assert audio.source_rate == rate
    np.testing.assert_allclose(audio.samples[1000:-1000], tone(1000, 1.0)[1000:-1000], atol=2e-3)
    assert loudest(audio.samples) == 1000


def test_resampling_rounds_a_fraction_of_a_sample_up(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", noise(1.0, rate=44_100)[:44_000], 44_100)
    assert len(read_audio(path, 16_000).samples) == 15_964  # 15,963.7


def test_resampling_lets_no_frequency_above_the_new_half_rate_fold_back(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tone(10_000, 1.0, 44_100), 44_100)
    assert np.abs(read_audio(path, 16_000).samples[1000:-1000]).max() < 1e-3


def test_the_checksum_is_of_the_files_bytes(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", noise(0.1), 8_000)
    assert read_audio(path, 16_000).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("where", ["before", "after", "both"])
def test_other_chunks_around_the_sound_are_passed_over(tmp_path: Path, where: str) -> None:
    samples = np.arange(1, 100, dtype="<i2")
    before = [(b"LIST", b"INFOIART\x05\0\0\0Anna\0\0"), (b"odd ", b"123")] if where != "after" else []
    after = [(b"note", b"x" * 31)] if where != "before" else []
    content = riff(format_chunk(), *before, (b"data", samples.tobytes()), *after)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 16_000).samples * 32768, samples)


@pytest.mark.parametrize(("write", "message"), BAD_AUDIO.values(), ids=BAD_AUDIO)
def test_a_file_that_is_no_sound_is_refused(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "bad.wav"
    write(path)
    with pytest.raises(AudioError, match=f"^{path}: .*{message}"):
        read_audio(path, 16_000)


@pytest.mark.parametrize("missing_bytes", [1, 2, 31_999, 32_000])
def test_a_wav_file_that_ends_before_its_header_says_is_refused(tmp_path: Path, missing_bytes: int) -> None:
    path = write_sound(tmp_path / "a.wav", noise(1))
    path.write_bytes(path.read_bytes()[:-missing_bytes])
    with pytest.raises(AudioError, match=f"promises 32000 bytes of sound and it holds {32_000 - missing_bytes}$"):
        read_audio(path, 16_000)


@pytest.mark.parametrize("held", [4, 11, 12, 19, 20, 40, 43])
def test_a_wav_file_cut_within_its_header_is_refused(tmp_path: Path, held: int) -> None:
    path = write_sound(tmp_path / "a.wav", noise(1))
    path.write_bytes(path.read_bytes()[:held])
    with pytest.raises(AudioError):
        read_audio(path, 16_000)


def test_a_truncated_flac_file_is_refused(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.flac", noise(1))
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(AudioError, match="not an audio file that can be decoded"):
        read_audio(path, 16_000)


def test_channels_that_cancel_out_are_refused(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", np.stack([noise(0.1), -noise(0.1)], axis=1), subtype="FLOAT")
    with pytest.raises(AudioError, match="all 1600 samples are zero"):
        read_audio(path, 16_000)


def test_one_sample_that_is_not_zero_is_sound(tmp_path: Path) -> None:
    samples = np.zeros(1000)
    samples[7] = 0.5
    assert read_audio(write_sound(tmp_path / "a.wav", samples), 16_000).samples.argmax() == 7


@pytest.mark.parametrize(("name", "reason"), [("nowhere.wav", "No such file"), (".", "Is a directory")])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(AudioError, match=rf"cannot be read \({reason}"):
        read_audio(tmp_path / name, 16_000)
