"""Audio files -> mono waveforms at 16 kHz, refusing what would train a network on nonsense."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.arrays import Floats
from data_prep.containers import read_container
from data_prep.errors import AudioError, describe_error
from data_prep.text import counted

RATES = 1_000, 400_000  # Hz
LONGEST_SECONDS = 1_800.0
MOST_CHANNELS = 16
# Of the loudest sample, where full scale is 1. Values of 16 bits in 24 are at most 2^-8, in 32 bits 2^-16.
LOUD, TOO_LOUD = 2.0, 8.0
FAINT, TOO_FAINT = 2.0**-8, 2.0**-14
DEAD_DB = 30.0  # below the loudest channel
# The power of a mix against that of as many channels without anything in common, of which nothing cancels.
CANCELS_IN_PART, CANCELS = 0.25, 0.01


@dataclass(frozen=True)
class Remark:
    """What is odd about a recording that can be used: said of several (`kind`), and of this one."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Audio:
    """A decoded recording.

    `samples` is float32 [n] in [-1, 1] at the rate asked for; `source_rate` (Hz) and `channels` are the file's own;
    `sha256` is of the file's bytes, `sound` of the samples before they were resampled: the same in whatever lossless
    format they are written, and whatever silence is around them.
    """

    samples: Floats
    source_rate: int
    channels: int
    sha256: str
    sound: str
    remarks: tuple[Remark, ...] = ()


def read_audio(path: Path, sample_rate: int) -> Audio:
    """Decode `path`, mix it down to mono and resample it to `sample_rate` Hz (librosa, where the file has another).

    Raises AudioError for a file that is missing, not audio, empty, truncated, silent, of a level that no recording has,
    of channels that cancel one another, or that holds NaN or infinity.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return _read_content(content, sample_rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error


def _read_content(content: bytes, sample_rate: int) -> Audio:
    if not content:
        raise AudioError("the file is empty (0 bytes)")
    samples, source_rate, remarks = _decode(content)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    remarks += _level_remarks(samples) + _channel_remarks(samples, mono)
    sound = _sound_hash(mono, source_rate)
    if source_rate != sample_rate:
        import librosa

        mono = librosa.resample(mono, orig_sr=source_rate, target_sr=sample_rate)
    return Audio(
        np.ascontiguousarray(mono),
        source_rate,
        samples.shape[1],
        hashlib.sha256(content).hexdigest(),
        sound,
        remarks,
    )


def _decode(content: bytes) -> tuple[Floats, int, tuple[Remark, ...]]:
    """The samples float32 [n, channels] of a file, their rate in Hz, and what is odd about the file."""
    import soundfile

    try:
        container = read_container(content)
        with soundfile.SoundFile(io.BytesIO(container.content)) as file:
            rate, promised = file.samplerate, file.frames
            _check_length(promised, rate, file.channels)
            samples = file.read(promised, dtype="float32", always_2d=True)
    except AudioError:
        raise
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not an audio file that can be decoded ({error.error_string})") from error
    except Exception as error:  # a decoder meets whatever a file holds
        raise AudioError(f"not an audio file that can be decoded ({describe_error(error)})") from error
    if len(samples) < promised:
        raise AudioError(f"truncated, its header promises {promised} samples and {len(samples)} can be decoded")
    if not len(samples):
        raise AudioError("the file holds no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"NaN or infinite values in {counted(int(np.count_nonzero(~np.isfinite(samples))), 'sample')}")
    remarks = []
    if not container.states_length:
        detail = "its header does not say how long it is: it was read to its end"
        remarks.append(Remark("do not say how long they are, and may have been cut off", detail))
    if container.unread:
        detail = f"{container.unread} bytes behind its sound were not read"
        remarks.append(Remark("hold more than the sound that their headers promise", detail))
    return samples, rate, tuple(remarks)


def _check_length(samples: int, rate: int, channels: int) -> None:
    """Raise AudioError for what no utterance is, before memory is asked for: a header may say anything."""
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"its sampling rate is {rate} Hz, and speech is recorded at {RATES[0]:,} to {RATES[1]:,} Hz")
    if samples / rate > LONGEST_SECONDS or channels > MOST_CHANNELS:
        raise AudioError(
            f"{samples / rate:,.0f} s in {channels} channels; at most {LONGEST_SECONDS:,.0f} s and "
            f"{MOST_CHANNELS} channels are read, so cut it into utterances"
        )


def _level_remarks(samples: Floats) -> tuple[Remark, ...]:
    """Whether the level of `samples` [n, channels] is one of speech. Raises AudioError where it cannot be."""
    if not samples.any():
        raise AudioError(f"all {len(samples)} samples are zero")
    if len(samples) > 1 and not np.ptp(samples, axis=0).any():
        raise AudioError(f"all {len(samples)} samples are the same, which is no sound")
    peak = float(np.abs(samples).max())
    where = "above" if peak > 1 else "below"
    level = f"its loudest sample is {peak:.4g}, {abs(_decibels(peak)):.1f} dB {where} full scale"
    if peak > TOO_LOUD:
        raise AudioError(f"{level} (1): whole numbers were written as float; divide them by the largest, such as 32768")
    if peak <= TOO_FAINT:
        raise AudioError(f"{level}: it is silent, or values of few bits were written with more bits and must be scaled")
    if peak > LOUD:
        return (Remark("are louder than full scale", level),)
    if peak <= FAINT:
        return (Remark("are very quiet, as are values of few bits that are written in many", level),)
    return ()


def _channel_remarks(samples: Floats, mono: Floats) -> tuple[Remark, ...]:
    """Whether mixing `samples` [n, channels] down to `mono` [n] kept the sound. Raises AudioError where it did not."""
    channels = samples.shape[1]
    if channels == 1:
        return ()
    powers = samples.var(axis=0, dtype=np.float64)
    kept = channels**2 * float(mono.var(dtype=np.float64)) / powers.sum()
    lost = "all of its level" if kept == 0 else f"{-_decibels(kept) / 2:.1f} dB"
    if kept < CANCELS:
        raise AudioError(f"its {channels} channels cancel one another: mixed down, it loses {lost}; keep one of them")
    remarks = []
    if kept < CANCELS_IN_PART:
        remarks.append(Remark("have channels that cancel one another in part", f"mixed down, it loses {lost}"))
    dead = np.flatnonzero(powers <= powers.max() * 10 ** (-DEAD_DB / 10))
    if len(dead):
        below = [f"channel {n + 1} of {channels} {_below(powers[n], powers.max())}" for n in dead]
        level = f"mixed down, it loses {-_decibels(mono.std(dtype=np.float64) / powers.max() ** 0.5):.1f} dB"
        remarks.append(Remark("have a channel that is dead or nearly so", f"{', '.join(below)}; {level}"))
    return tuple(remarks)


def _below(power: float, loudest: float) -> str:
    return "is silent" if power == 0 else f"is {_decibels(loudest / power) / 2:.1f} dB below the loudest"


def _decibels(amplitudes: float) -> float:
    return 20 * float(np.log10(amplitudes))


def _sound_hash(mono: Floats, rate: int) -> str:
    """128 bits of the sha256 of what is heard: `mono` [n] without zeros around it."""
    heard = mono != 0
    sound = mono[heard.argmax() : len(mono) - heard[::-1].argmax()] + np.float32(0)  # of the two zeros, one
    found = hashlib.sha256(f"{rate} Hz".encode())
    found.update(sound.astype("<f4", copy=False).tobytes())
    return found.hexdigest()[:32]
