"""Audio files -> mono waveforms at 16 kHz, refusing what would train a network on nonsense."""

import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.errors import AudioError

RATES = 1_000, 400_000  # Hz
LONGEST_SECONDS = 1_800.0
MOST_CHANNELS = 16


@dataclass(frozen=True)
class Audio:
    """A decoded recording.

    `samples` is float32 [n] in [-1, 1] at the rate asked for; `source_rate` (Hz) and `channels` are the file's own;
    `sha256` is of the file's bytes.
    """

    samples: np.ndarray
    source_rate: int
    channels: int
    sha256: str


def read_audio(path: Path, sample_rate: int) -> Audio:
    """Decode `path`, mix it down to mono and resample it to `sample_rate` Hz (librosa, where the file has another).

    Raises AudioError for a file that is missing, not audio, empty, all zeros or holds NaN or infinity, and for a
    truncated WAV or FLAC file.
    """
    import soundfile

    try:
        content = path.read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from error
    if not content:
        raise AudioError(f"{path}: the file is empty (0 bytes)")
    _check_wav_is_whole(path, content)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            source_rate = file.samplerate
            _check_length(path, file.frames, source_rate, file.channels)
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not an audio file that can be decoded ({error.error_string})") from error
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: {np.count_nonzero(~np.isfinite(samples))} samples are NaN or infinite")
    channels = samples.shape[1]
    mono = samples[:, 0] if channels == 1 else samples.mean(axis=1)
    if not len(mono):
        raise AudioError(f"{path}: the file holds no samples")
    if not mono.any():
        raise AudioError(f"{path}: all {len(mono)} samples are zero")
    if source_rate != sample_rate:
        mono = _resample(mono, source_rate, sample_rate)
    return Audio(np.ascontiguousarray(mono), source_rate, channels, hashlib.sha256(content).hexdigest())


def _check_length(path: Path, samples: int, rate: int, channels: int) -> None:
    """Raise AudioError for what no utterance is, before memory is asked for: a header may say anything."""
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"{path}: {rate} Hz, and speech is recorded at {RATES[0]:,} to {RATES[1]:,} Hz")
    if samples / rate > LONGEST_SECONDS or channels > MOST_CHANNELS:
        raise AudioError(
            f"{path}: {samples / rate:,.0f} s in {channels} channels; at most {LONGEST_SECONDS:,.0f} s and "
            f"{MOST_CHANNELS} channels are read, so cut it into utterances"
        )


def _resample(samples: np.ndarray, source_rate: int, sample_rate: int) -> np.ndarray:
    import librosa

    return librosa.resample(samples, orig_sr=source_rate, target_sr=sample_rate)


def _check_wav_is_whole(path: Path, content: bytes) -> None:
    """Raise AudioError where a RIFF file is shorter than its data chunk says: decoders pass over that in silence."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return
    position = 12
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        held = len(content) - position - 8
        if name == b"data":
            if size > held:
                raise AudioError(f"{path}: truncated, its header promises {size} bytes of sound and it holds {held}")
            return
        position += 8 + size + size % 2
    raise AudioError(f"{path}: truncated, it has no data chunk")
