"""Corpora on disk to test with, good and bad."""

import struct
from collections.abc import Callable, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from data_prep.audio import read_audio
from data_prep.corpora import read_manifest
from data_prep.corpora.emodb import EMODB_COUNTS, EMODB_EMOTIONS
from data_prep.features import FeatureSettings, LogMel
from data_prep.prepare import Prepared, prepare
from data_prep.shards import PreparedCorpus
from data_prep.synthetic import read_truth

RATE = 16_000  # Hz
SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")


def emodb_names() -> list[str]:
    """535 file names as Emo-DB's, with its number of utterances of every emotion."""
    names = []
    for letter, emotion in EMODB_EMOTIONS.items():
        every = (f"{s}{t}{letter}{v}.wav" for v, s, t in product("ab", SPEAKERS, TEXTS))
        names += list(islice(every, EMODB_COUNTS[emotion]))
    return sorted(names)


def write_emodb(folder: Path, names: Sequence[str]) -> Path:
    """A folder of empty files called `names`."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def write_manifest(folder: Path, *lines: str, header: str = "path,emotion,speaker") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """float32 [n] in [-0.5, 0.5]."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def tone(frequency: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """float32 [n], a sine of amplitude 0.5 at `frequency` Hz."""
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_sound(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WAV file of `chunks` (name, content) in their order."""
    parts = [struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2) for name, content in chunks]
    body = b"WAVE" + b"".join(parts)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def format_chunk(rate: int = RATE) -> tuple[bytes, bytes]:
    """Mono PCM16."""
    return b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)


def write_truncated(path: Path) -> None:
    write_sound(path, noise(1))
    path.write_bytes(path.read_bytes()[:-1000])


def write_with_nan(path: Path) -> None:
    samples = noise(1)
    samples[100:103] = np.nan, np.inf, -np.inf
    write_sound(path, samples, subtype="FLOAT")


# What a file can be instead of sound, and what is said about it.
BAD_AUDIO: dict[str, tuple[Callable[[Path], object], str]] = {
    "not-audio": (lambda path: path.write_text("no sound"), "not an audio file that can be decoded"),
    "empty-file": (lambda path: path.touch(), r"the file is empty \(0 bytes\)"),
    "truncated": (write_truncated, "truncated, its header promises 32000 bytes of sound and it holds 31000"),
    "no-data-chunk": (lambda path: path.write_bytes(riff(format_chunk())), "truncated, it has no data chunk"),
    "no-samples": (lambda path: write_sound(path, noise(0)), "holds no samples"),
    "all-zeros": (lambda path: write_sound(path, np.zeros(RATE)), "all 16000 samples are zero"),
    "nan": (write_with_nan, "NaN or infinite values in 3 samples"),
}


def frames_of(path: Path, settings: FeatureSettings) -> np.ndarray:
    """The log-Mel frames [f, mels] of an audio file, computed as for a shard: in one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return LogMel(settings)(read_audio(path, settings.sample_rate).samples)
    finally:
        torch.set_num_threads(threads)


def naive_segments(frames: np.ndarray, settings: FeatureSettings) -> list[np.ndarray]:
    """Every `segment_frames` of `frames` in a row, beginning at multiples of the hop."""
    length = settings.segment_frames
    return [frames[i : i + length] for i in range(0, len(frames) - length + 1, settings.segment_hop)]


def folder_of(prepared: PreparedCorpus) -> Path:
    """Where a corpus that is on this machine's disk lies."""
    assert isinstance(prepared.folder, Path)
    return prepared.folder


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


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
