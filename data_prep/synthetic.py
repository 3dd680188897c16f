"""A speech-like corpus whose emotion is known at every moment, to measure how well segments are relabelled.

    from data_prep.synthetic import SyntheticCorpus, write_corpus
    manifest = write_corpus(Path("corpora/synthetic"), SyntheticCorpus(speakers=4, seed=0))

An utterance carries one emotion, its label, and between a quarter and a half of it is spoken with another
one, as an actor's emotion comes and goes within a sentence: `truth.csv` says where. The voice is a
source-filter model: glottal pulses with jitter, shimmer and aspiration noise through moving formants, with
closures and noise between vowels. An emotion is a change of pitch, pitch movement, rate, level, spectral tilt
and breathiness.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, product, starmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.io import wavfile

from data_prep.arrays import Floats
from data_prep.errors import CorpusError
from data_prep.files import atomic_path, write_text
from data_prep.synthesis import FRAME, SAMPLE_RATE, Tracks, synthesize

TRUTH_COLUMNS = ("id", "start", "end", "emotion")
MANIFEST_COLUMNS = ("path", "emotion", "speaker", "text", "id")


class Prosody(NamedTuple):
    """How a stretch is spoken."""

    pitch: float  # semitones above the speaker's base
    movement: float  # semitones, size of a pitch accent
    rate: float  # octaves, log2 of the syllable rate against the text's own
    level: float  # dB
    tilt: float  # dB per octave above 500 Hz
    breath: float  # dB, aspiration noise against the glottal pulses


PROFILES = {
    "anger": Prosody(pitch=3.0, movement=3.5, rate=0.20, level=7.0, tilt=1.0, breath=-42.0),
    "boredom": Prosody(pitch=-2.5, movement=0.5, rate=-0.30, level=-2.0, tilt=-4.5, breath=-34.0),
    "disgust": Prosody(pitch=-2.0, movement=2.5, rate=-0.15, level=2.5, tilt=-1.5, breath=-20.0),
    "fear": Prosody(pitch=9.0, movement=1.5, rate=0.25, level=-2.0, tilt=-3.5, breath=-19.0),
    "happiness": Prosody(pitch=7.0, movement=6.5, rate=0.05, level=3.0, tilt=-1.5, breath=-36.0),
    "neutral": Prosody(pitch=0.0, movement=1.5, rate=0.0, level=0.0, tilt=-3.0, breath=-36.0),
    "sadness": Prosody(pitch=0.5, movement=0.7, rate=-0.25, level=-7.0, tilt=-6.5, breath=-22.0),
}
SPEAKER_SPREAD = Prosody(pitch=0.0, movement=0.3, rate=0.05, level=0.8, tilt=0.4, breath=1.5)
UTTERANCE_SPREAD = Prosody(pitch=0.8, movement=0.4, rate=0.06, level=1.0, tilt=0.4, breath=1.5)
STRETCH_SPREAD = Prosody(pitch=0.6, movement=0.3, rate=0.04, level=0.8, tilt=0.4, breath=1.5)

OTHER_SHARE = (0.25, 0.45)  # of an utterance's duration not spoken with its emotion
NEUTRAL_SHARE = 0.75  # of those stretches, in an emotional utterance
SHORTEST_STRETCH = 0.35  # s: longer than a segment of 335 ms
DURATION = (1.2, 2.8)  # s


@dataclass(frozen=True)
class SyntheticCorpus:
    """What to make: speakers x texts x emotions x takes utterances.

    Raises CorpusError for a count below 1, a negative seed, and emotions that are unknown, repeated or fewer
    than 2.
    """

    speakers: int = 4
    texts: int = 3
    emotions: tuple[str, ...] = ("anger", "happiness", "neutral", "sadness")
    takes: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("speakers", "texts", "takes"):
            if getattr(self, name) < 1:
                raise CorpusError(f"{name}: {getattr(self, name)} given, at least 1 is needed")
        if self.seed < 0:
            raise CorpusError(f"seed: {self.seed} given, it must not be negative")
        unknown = [emotion for emotion in self.emotions if emotion not in PROFILES]
        if unknown:
            raise CorpusError(f"emotions: {', '.join(map(repr, unknown))} unknown; choose from {', '.join(PROFILES)}")
        repeated = sorted({emotion for emotion in self.emotions if self.emotions.count(emotion) > 1})
        if repeated:
            raise CorpusError(f"emotions: {', '.join(repeated)} given more than once")
        if len(self.emotions) < 2:
            raise CorpusError(f"emotions: {self.emotions!r} given, at least 2 are needed")


def write_corpus(folder: Path, corpus: SyntheticCorpus) -> Path:
    """Write a corpus; return the path of its `manifest.csv`, beside which `truth.csv` and `wav/<id>.wav` lie.

    Sound is mono PCM16 at 16 kHz. The same settings give the same bytes, and an utterance's sound does not
    depend on the numbers of speakers, texts and takes. An old manifest is removed first and the new one comes
    last, so a manifest always stands for a whole corpus, and a call that was interrupted can be repeated.
    Raises CorpusError where `folder` holds another corpus's manifest.
    """
    manifest = folder / "manifest.csv"
    if manifest.exists() and not (folder / "truth.csv").exists():
        raise CorpusError(f"{manifest} is not of a synthetic corpus (no truth.csv beside it); give another folder")
    manifest.unlink(missing_ok=True)
    entries, truth = [], []
    speakers, texts, takes = (range(1, n + 1) for n in (corpus.speakers, corpus.texts, corpus.takes))
    for item in starmap(_Item, product(speakers, texts, sorted(corpus.emotions), takes)):
        samples, stretches = _utterance(corpus, item)
        path = f"wav/{item.id}.wav"
        with atomic_path(folder / path) as temporary:
            wavfile.write(temporary, SAMPLE_RATE, np.round(samples * 32767).astype("<i2"))
        entries.append((path, item.emotion, f"s{item.speaker:02d}", f"t{item.text:02d}", item.id))
        truth += [(item.id, f"{start:.3f}", f"{end:.3f}", emotion) for start, end, emotion in stretches]
    for file, columns, rows in (("truth.csv", TRUTH_COLUMNS, truth), ("manifest.csv", MANIFEST_COLUMNS, entries)):
        write_text(folder / file, pd.DataFrame(rows, columns=columns).to_csv(index=False))
    return manifest


def read_truth(path: Path) -> pd.DataFrame:
    """The columns id, start, end (seconds) and emotion of `truth.csv`, one row per stretch.

    The stretches of an utterance stand in order and tile it without a gap. Raises CorpusError where the file
    is missing or has other columns.
    """
    if not path.is_file():
        raise CorpusError(f"truth {path} is not a file; write_corpus makes it beside manifest.csv")
    truth = pd.read_csv(path, dtype={"id": str, "emotion": str})
    if tuple(truth.columns) != TRUTH_COLUMNS:
        raise CorpusError(
            f"truth {path}: columns {', '.join(truth.columns)}, expected {', '.join(TRUTH_COLUMNS)}; "
            "write the corpus again"
        )
    return truth


class _Item(NamedTuple):
    """One utterance to make; numbers count from 1."""

    speaker: int
    text: int
    emotion: str
    take: int

    @property
    def id(self) -> str:
        return f"s{self.speaker:02d}_t{self.text:02d}_{self.emotion}_{self.take}"


def _utterance(corpus: SyntheticCorpus, item: _Item) -> tuple[Floats, list[tuple[float, float, str]]]:
    """The samples [n] of an utterance in [-1, 1] and its stretches (start s, end s, emotion)."""
    emotion_number = sorted(PROFILES).index(item.emotion)
    rng = _generator(corpus.seed, _UTTERANCE, item.speaker, item.text, emotion_number, item.take)
    voice = _draw_voice(corpus.seed, item.speaker)
    text = _draw_text(corpus.seed, item.text)
    spoken = _speak(text, voice, item.emotion, corpus.emotions, rng)
    return synthesize(_tracks(spoken, voice, rng), rng), _stretches(spoken)


# A voice, a text and an utterance with the same numbers must not share their random draws.
_VOICE, _TEXT, _UTTERANCE = 1, 2, 3


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


VOWELS = {  # Hz, the first three formants of a grown man
    "a": (730, 1150, 2450),
    "e": (400, 2000, 2600),
    "i": (280, 2250, 2950),
    "o": (450, 850, 2450),
    "u": (310, 900, 2250),
    "y": (290, 1750, 2200),
}
UPPER_FORMANTS = (3500, 4500)  # Hz


class _Onset(NamedTuple):
    """What comes before a syllable's vowel."""

    share: float  # of the syllable
    voiced: float  # gain of the glottal source, 1 in a vowel
    noise: float  # gain of the frication noise
    burst: bool  # noise at the end only, after a closure
    centre: float  # Hz, of the noise


ONSETS = (
    _Onset(0.12, 0.60, 0.000, False, 2000.0),
    _Onset(0.30, 0.25, 0.000, False, 2000.0),
    _Onset(0.34, 0.00, 0.060, False, 5200.0),
    _Onset(0.30, 0.15, 0.030, False, 3400.0),
    _Onset(0.32, 0.00, 0.100, True, 3800.0),
    _Onset(0.30, 0.05, 0.070, True, 1500.0),
)


class _Syllable(NamedTuple):
    onset: _Onset
    vowels: tuple[str, str]  # from, to
    accent: float  # pitch, in units of the movement
    duration: float  # s


class _Voice(NamedTuple):
    pitch: float  # Hz
    formant_scale: float  # 1 = a vocal tract of 17.5 cm
    manner: Floats  # a speaker's lasting departure from every profile, as in Prosody
    expressiveness: float  # 1 = profiles as they stand, 0 = always neutral


class _Spoken(NamedTuple):
    """A syllable as it is spoken in one utterance."""

    syllable: _Syllable
    emotion: str
    prosody: Prosody
    frames: int


def _draw_voice(seed: int, speaker: int) -> _Voice:
    """Odd numbers get low voices and long vocal tracts, even ones the opposite: a pair already differs."""
    rng = _generator(seed, _VOICE, speaker)
    low = speaker % 2 == 1
    pitch = (115.0 if low else 200.0) * 2 ** (rng.uniform(-2, 2) / 12)
    formant_scale = (1.0 if low else 1.16) * rng.uniform(0.96, 1.04)
    return _Voice(pitch, formant_scale, _spread(SPEAKER_SPREAD, rng), rng.uniform(0.85, 1.15))


def _draw_text(seed: int, text: int) -> list[_Syllable]:
    rng = _generator(seed, _TEXT, text)
    names = sorted(VOWELS)
    syllables = []
    for _ in range(rng.integers(8, 11)):
        onset = ONSETS[rng.integers(len(ONSETS))]
        start = names[rng.integers(len(names))]
        end = names[rng.integers(len(names))] if rng.random() < 0.25 else start
        syllables.append(_Syllable(onset, (start, end), rng.normal(0.0, 0.7), rng.uniform(0.16, 0.24)))
    return syllables


def _spread(size: Prosody, rng: np.random.Generator) -> Floats:
    """Normal deviations with the standard deviations `size`, cut at two of them: [len(Prosody)]."""
    return np.array(size) * np.clip(rng.standard_normal(len(size)), -2, 2)


MARGIN = 6  # frames before the first and after the last syllable


def _speak(
    text: list[_Syllable], voice: _Voice, emotion: str, emotions: Iterable[str], rng: np.random.Generator
) -> list[_Spoken]:
    """Draw stretches and prosody until durations and shares are as `_acceptable` wants them."""
    # The bound is far beyond what any draw needs: it fails rather than hangs should a constant change.
    for _ in range(2_000):
        manner = voice.manner + _spread(UTTERANCE_SPREAD, rng)
        strength = voice.expressiveness * rng.uniform(0.8, 1.2)
        spoken: list[_Spoken] = []
        for stretch_emotion, syllables in _draw_stretches(text, emotion, sorted(emotions), rng):
            neutral, profile = np.array(PROFILES["neutral"]), np.array(PROFILES[stretch_emotion])
            deviation = manner + _spread(STRETCH_SPREAD, rng)
            prosody = Prosody(*(neutral + strength * (profile - neutral) + deviation).tolist())
            spoken += [_Spoken(s, stretch_emotion, prosody, _frames(s, prosody)) for s in syllables]
        if _acceptable(_stretches(spoken), emotion):
            return spoken
    raise RuntimeError(f"no stretches fit a text of {len(text)} syllables spoken with {emotion}")


def _draw_stretches(
    text: list[_Syllable], emotion: str, emotions: list[str], rng: np.random.Generator
) -> list[tuple[str, list[_Syllable]]]:
    """Cut `text` between syllables into stretches that carry `emotion` and another one in turn."""
    others = int(rng.integers(1, 3))
    begins_with_other = bool(rng.random() < 0.5)
    ends_with_other = bool(rng.random() < 0.5) and not (begins_with_other and others == 1)
    count = 2 * others + 1 - begins_with_other - ends_with_other
    cuts = np.sort(rng.choice(np.arange(1, len(text)), size=count - 1, replace=False)).tolist()
    stretches = []
    for number, (first, last) in enumerate(zip([0, *cuts], [*cuts, len(text)], strict=True)):
        own = (number % 2 == 0) != begins_with_other
        stretches.append((emotion if own else _draw_other(emotion, emotions, rng), text[first:last]))
    return stretches


def _draw_other(emotion: str, emotions: list[str], rng: np.random.Generator) -> str:
    rest = [name for name in emotions if name != emotion]
    if "neutral" in rest and rng.random() < NEUTRAL_SHARE:
        return "neutral"
    rest = [name for name in rest if name != "neutral"] or rest
    return rest[rng.integers(len(rest))]


def _frames(syllable: _Syllable, prosody: Prosody) -> int:
    return round(syllable.duration / 2**prosody.rate * SAMPLE_RATE / FRAME)


def _stretches(spoken: list[_Spoken]) -> list[tuple[float, float, str]]:
    """Start (s), end (s) and emotion of neighbouring syllables with one emotion, margins included."""
    lengths = [(emotion, sum(s.frames for s in group)) for emotion, group in groupby(spoken, lambda s: s.emotion)]
    ends = MARGIN + np.cumsum([frames for _, frames in lengths])
    ends[-1] += MARGIN
    seconds = [0.0, *(ends * FRAME / SAMPLE_RATE).tolist()]
    return [(seconds[i], seconds[i + 1], emotion) for i, (emotion, _) in enumerate(lengths)]


def _acceptable(stretches: list[tuple[float, float, str]], emotion: str) -> bool:
    total = stretches[-1][1]
    other = sum(end - start for start, end, name in stretches if name != emotion)
    shortest = min(end - start for start, end, _ in stretches)
    return (
        DURATION[0] <= total <= DURATION[1]
        and OTHER_SHARE[0] <= other / total <= OTHER_SHARE[1]
        and shortest >= SHORTEST_STRETCH
    )


def _tracks(spoken: list[_Spoken], voice: _Voice, rng: np.random.Generator) -> Tracks:
    frames = 2 * MARGIN + sum(s.frames for s in spoken)
    # Rows: semitones, voiced, breath (dB), noise, noise centre, tilt, three formants.
    table = np.zeros((frames, 9))
    position = MARGIN
    for one in spoken:
        table[position : position + one.frames] = _syllable_tracks(one, rng)
        position += one.frames
    for silent, nearest in ((slice(None, MARGIN), MARGIN), (slice(-MARGIN, None), -MARGIN - 1)):
        table[silent] = table[nearest]
        table[silent, [1, 3]] = 0.0
    semitones = _smooth(table[:, 0], 15) + np.linspace(1.0, -1.5, frames)
    formants = np.stack([_smooth(table[:, i], 11) for i in (6, 7, 8)], axis=1)
    upper = np.broadcast_to(np.array(UPPER_FORMANTS, dtype=float), (frames, len(UPPER_FORMANTS)))
    return Tracks(
        pitch=np.clip(voice.pitch * 2 ** (semitones / 12), 60.0, 500.0),
        voiced=_smooth(table[:, 1], 5),
        breath=10 ** (_smooth(table[:, 2], 11) / 20),
        noise=_smooth(table[:, 3], 3),
        noise_centre=table[:, 4],
        tilt=_smooth(table[:, 5], 11),
        formants=np.concatenate([formants, upper], axis=1) * voice.formant_scale,
    )


def _syllable_tracks(one: _Spoken, rng: np.random.Generator) -> Floats:
    """The rows of `_tracks`' table for one syllable: [frames, 9]."""
    onset, prosody = one.syllable.onset, one.prosody
    time = (np.arange(one.frames) + 0.5) / one.frames
    in_onset = time < onset.share
    in_vowel = np.clip((time - onset.share) / (1 - onset.share), 0, 1)
    level = 10 ** ((prosody.level + rng.normal(0.0, 1.0)) / 20)
    accent = max(prosody.movement, 0.3) * (one.syllable.accent + rng.normal(0.0, 0.5))
    noisy = in_onset & (time > 0.7 * onset.share) if onset.burst else in_onset
    glide = in_vowel[:, None]
    start, end = (np.array(VOWELS[name]) * (1 + 0.04 * rng.standard_normal(3)) for name in one.syllable.vowels)
    table = np.empty((one.frames, 9))
    table[:, 0] = prosody.pitch + accent * np.sin(np.pi * time)
    table[:, 1] = level * np.where(in_onset, onset.voiced, 1.0 - 0.5 * in_vowel**2)
    table[:, 2] = prosody.breath
    table[:, 3] = level * onset.noise * noisy
    table[:, 4] = onset.centre
    table[:, 5] = prosody.tilt
    table[:, 6:] = (1 - glide) * start + glide * end
    return table


def _smooth(track: Floats, width: int) -> Floats:
    """`track` [n] averaged under a Hann window of `width` (odd) frames, ends held: [n]."""
    window = np.hanning(width + 2)[1:-1]
    return np.convolve(np.pad(track, width // 2, mode="edge"), window / window.sum(), mode="valid")
