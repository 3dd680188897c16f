"""Audio files: decoded, mixed down and resampled, or refused with the reason."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.audio import read_audio
from data_prep.errors import AudioError
from tests.data_prep.corpus_files import BAD_AUDIO, format_chunk, noise, riff, tone, write_sound


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
    with pytest.raises(AudioError, match="2 channels cancel one another: mixed down, it loses all of its level"):
        read_audio(path, 16_000)


def test_one_sample_that_is_not_zero_is_sound(tmp_path: Path) -> None:
    samples = np.zeros(1000)
    samples[7] = 0.5
    assert read_audio(write_sound(tmp_path / "a.wav", samples), 16_000).samples.argmax() == 7


@pytest.mark.parametrize(("name", "reason"), [("nowhere.wav", "No such file"), (".", "Is a directory")])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(AudioError, match=rf"cannot be read \({reason}"):
        read_audio(tmp_path / name, 16_000)


# Levels


@pytest.mark.parametrize(
    ("scale", "subtype", "level"),
    [
        (2**7, "FLOAT", r"64, 36.1 dB above"),
        (2**15, "FLOAT", r"1.638e\+04, 84.3 dB above"),
        (2**15, "DOUBLE", r"1.638e\+04, 84.3 dB above"),
        (2**23, "FLOAT", r"4.194e\+06, 132.5 dB above"),
        (2**31, "DOUBLE", r"1.074e\+09, 180.6 dB above"),
        (2**-16, "PCM_32", r"7.629e-06, 102.4 dB below"),
        (2**-16, "FLOAT", r"7.629e-06, 102.4 dB below"),
        (2**-24, "DOUBLE", r"2.98e-08, 150.5 dB below"),
    ],
)
def test_values_of_another_scale_are_refused_with_their_level(
    tmp_path: Path, scale: float, subtype: str, level: str
) -> None:
    path = write_sound(tmp_path / "a.wav", tone(1000, 0.1).astype(np.float64) * scale, subtype=subtype)
    with pytest.raises(AudioError, match=rf"a.wav: its loudest sample is {level} full scale"):
        read_audio(path, 16_000)


@pytest.mark.parametrize(
    ("peak", "subtype", "remark"),
    [
        (1.0, "FLOAT", []),
        (1.9, "FLOAT", []),
        (4.0, "FLOAT", ["its loudest sample is 4, 12.0 dB above full scale"]),
        (2**-7, "PCM_24", []),
        (2**-8, "PCM_24", ["its loudest sample is 0.003906, 48.2 dB below full scale"]),
        (2**-8, "PCM_16", ["its loudest sample is 0.003906, 48.2 dB below full scale"]),
        (2**-12, "PCM_32", ["its loudest sample is 0.0002441, 72.2 dB below full scale"]),
    ],
)
def test_levels_that_recordings_rarely_have_are_remarked(
    tmp_path: Path, peak: float, subtype: str, remark: list[str]
) -> None:
    path = write_sound(tmp_path / "a.wav", 2 * tone(1000, 0.1).astype(np.float64) * peak, subtype=subtype)
    assert [one.detail for one in read_audio(path, 16_000).remarks] == remark


@pytest.mark.parametrize(("value", "subtype"), [(0.25, "PCM_16"), (-1 / 128, "PCM_U8")])
def test_samples_that_are_all_the_same_are_no_sound(tmp_path: Path, value: float, subtype: str) -> None:
    path = write_sound(tmp_path / "a.wav", np.full(1600, value), subtype=subtype)
    with pytest.raises(AudioError, match="all 1600 samples are the same"):
        read_audio(path, 16_000)


# Channels


def channels(tmp_path: Path, *parts: np.ndarray) -> Path:
    return write_sound(tmp_path / "a.wav", np.stack(parts, axis=1), subtype="FLOAT")


@pytest.mark.parametrize("offset", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("count", [2, 4])
def test_inverted_channels_are_refused_with_what_a_mix_loses(tmp_path: Path, count: int, offset: float) -> None:
    sound = tone(300, 0.5)
    path = channels(tmp_path, *[sign * sound + offset * noise(0.5, n) for n, sign in enumerate((1, -1) * (count // 2))])
    with pytest.raises(AudioError, match=f"its {count} channels cancel one another: mixed down, it loses"):
        read_audio(path, 16_000)


def test_channels_that_cancel_in_part_are_remarked(tmp_path: Path) -> None:
    path = channels(tmp_path, noise(0.5), -0.5 * noise(0.5))
    (remark,) = read_audio(path, 16_000).remarks
    assert remark.detail == "mixed down, it loses 7.0 dB"


@pytest.mark.parametrize("count", [2, 5, 16])
def test_channels_without_anything_in_common_are_not_remarked(tmp_path: Path, count: int) -> None:
    assert read_audio(channels(tmp_path, *[noise(0.5, n) for n in range(count)]), 16_000).remarks == ()


@pytest.mark.parametrize(
    ("level", "remark"),
    [
        (0.0, "channel 2 of 2 is silent; mixed down, it loses 6.0 dB"),
        (0.001, "channel 2 of 2 is 60.0 dB below the loudest; mixed down, it loses 6.0 dB"),
        (0.02, "channel 2 of 2 is 34.0 dB below the loudest; mixed down, it loses 6.0 dB"),
    ],
)
def test_a_channel_that_is_dead_or_nearly_so_is_remarked(tmp_path: Path, level: float, remark: str) -> None:
    parts = [noise(0.5), level * noise(0.5, 1)]
    assert [one.detail for one in read_audio(channels(tmp_path, *parts), 16_000).remarks] == [remark]
    (other,) = read_audio(channels(tmp_path, *parts[::-1]), 16_000).remarks
    assert other.detail == remark.replace("channel 2", "channel 1")


def test_a_dead_channel_with_an_offset_is_dead(tmp_path: Path) -> None:
    path = channels(tmp_path, noise(0.5), np.full(8000, 0.25, np.float32))
    assert [one.detail[:26] for one in read_audio(path, 16_000).remarks] == ["channel 2 of 2 is silent; "]


def test_a_channel_that_is_quieter_is_none_that_is_dead(tmp_path: Path) -> None:
    assert read_audio(channels(tmp_path, noise(0.5), 0.1 * noise(0.5, 1)), 16_000).remarks == ()


# Decoders


@pytest.mark.parametrize(
    ("name", "subtype", "rate"),
    [
        ("a.wav", "GSM610", 8_000),
        ("a.wav", "NMS_ADPCM_32", 8_000),
        ("a.wav", "G721_32", 8_000),
        ("a.au", "G723_24", 8_000),
    ],
)
def test_files_whose_decoders_cannot_seek_are_read(tmp_path: Path, name: str, subtype: str, rate: int) -> None:
    sound = tone(300, 1.0, rate)
    audio = read_audio(write_sound(tmp_path / name, sound, rate, subtype=subtype), rate)
    assert 8_000 <= len(audio.samples) < 8_700
    assert loudest(audio.samples) == 600  # of a rate half of what `loudest` takes it for


@pytest.mark.parametrize("error", [ValueError, RuntimeError, MemoryError, TypeError, AssertionError, IndexError])
def test_whatever_a_decoder_raises_has_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("of no use")

    path = write_sound(tmp_path / "a.wav", noise(0.1))
    monkeypatch.setattr("soundfile.SoundFile.read", fail)
    message = rf"^{path}: not an audio file that can be decoded \({error.__name__}: of no use\)$"
    with pytest.raises(AudioError, match=message):
        read_audio(path, 16_000)


# The same sound

LOSSLESS = [
    ("a.wav", "PCM_16"),
    ("a.wav", "PCM_24"),
    ("a.wav", "PCM_32"),
    ("a.wav", "FLOAT"),
    ("a.wav", "DOUBLE"),
    ("a.flac", "PCM_16"),
    ("a.flac", "PCM_24"),
    ("a.aiff", "PCM_16"),
    ("a.au", "PCM_16"),
    ("a.caf", "ALAC_16"),
    ("a.w64", "PCM_16"),
    ("a.rf64", "PCM_16"),
]


@pytest.mark.parametrize(("name", "subtype"), LOSSLESS)
def test_the_same_sound_in_another_container_is_the_same(tmp_path: Path, name: str, subtype: str) -> None:
    sound = np.round(noise(0.5) * 32768) / 32768
    one = read_audio(write_sound(tmp_path / "one.wav", sound), 16_000).sound
    assert read_audio(write_sound(tmp_path / name, sound, subtype=subtype), 16_000).sound == one
    both = np.stack([sound, sound], axis=1)
    assert read_audio(write_sound(tmp_path / name, both, subtype=subtype), 16_000).sound == one
    around = np.concatenate([np.zeros(100), sound, -np.zeros(7)])
    assert read_audio(write_sound(tmp_path / name, around, subtype=subtype), 16_000).sound == one


def test_another_sound_is_another(tmp_path: Path) -> None:
    sound = np.round(noise(0.5) * 32768) / 32768
    other = sound.copy()
    other[4000] += 1 / 32768
    paths = [
        write_sound(tmp_path / "0.wav", sound),
        write_sound(tmp_path / "1.wav", other),
        write_sound(tmp_path / "2.wav", sound, 8_000),
        write_sound(tmp_path / "3.wav", sound[::-1]),
        write_sound(tmp_path / "4.wav", sound[1:]),
    ]
    assert len({read_audio(path, 16_000).sound for path in paths}) == 5
