"""Every corpus that can be prepared: its reader, and what a user needs to know to get it.

Adding a corpus takes a module with a reader and an entry here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.corpora.casia import CASIA, casia_utterance, read_casia
from data_prep.corpora.cremad import CREMAD, cremad_utterance, read_cremad
from data_prep.corpora.emodb import EMODB, emodb_utterance, read_emodb
from data_prep.corpora.manifest import read_manifest
from data_prep.corpora.ravdess import RAVDESS, ravdess_utterance, read_ravdess
from data_prep.corpora.savee import SAVEE, read_savee, savee_utterance
from data_prep.corpora.tess import TESS, read_tess, tess_utterance
from data_prep.corpora.utterances import Known, Utterance
from data_prep.errors import CorpusError, SettingError
from data_prep.features import FeatureSettings, feature_settings
from data_prep.text import skeleton

Reader = Callable[[Path, bool], list[Utterance]]
OWN = "manifest"  # anybody's own corpus


@dataclass(frozen=True)
class Published:
    """A line of the paper's Table I, with the segments of §VI. `sample_rate` is in Hz."""

    utterances: int
    speakers: int
    female: int
    emotions: int
    sample_rate: int
    segments: int


@dataclass(frozen=True)
class Archive:
    """A zip file that may be downloaded, known by its MD5 checksum."""

    url: str
    md5: str


@dataclass(frozen=True)
class Corpus:
    """A corpus that `ser-sweep prepare` reads.

    `get` is where to get it or ask for it, `archive` what `ser-sweep fetch` downloads. `hop_ms` is the paper's hop
    for it; `framings` are those that make sense of it. `utterance` reads the name of a single file. What
    is not known is None.
    """

    read: Reader
    title: str
    language: str
    licence: str
    get: str
    known: Known | None = None
    paper: Published | None = None
    archive: Archive | None = None
    hop_ms: int = 10
    framings: tuple[str, ...] = ("described",)
    utterance: Callable[[Path], Utterance | None] | None = None


CORPORA: dict[str, Corpus] = {
    "casia": Corpus(
        read_casia,
        "CASIA Chinese emotion corpus",
        "Chinese",
        "restricted",
        "ask for it at Chinese LDC, http://www.chineseldc.org",
        CASIA,
        Published(7_200, speakers=4, female=2, emotions=6, sample_rate=16_000, segments=418_722),
        hop_ms=30,
        utterance=casia_utterance,
    ),
    "emodb": Corpus(
        read_emodb,
        "Berlin Database of Emotional Speech",
        "German",
        "CC BY 4.0",
        "https://zenodo.org/records/7447302",
        EMODB,
        Published(535, speakers=10, female=5, emotions=7, sample_rate=16_000, segments=131_053),
        Archive("https://zenodo.org/records/7447302/files/emodb.zip", "9d21362dbc5676ef3ab4745d83ced0db"),
        utterance=emodb_utterance,
    ),
    "savee": Corpus(
        read_savee,
        "Surrey Audio-Visual Expressed Emotion",
        "English",
        "restricted",
        "register at http://kahlan.eps.surrey.ac.uk/savee",
        SAVEE,
        Published(480, speakers=4, female=0, emotions=7, sample_rate=44_100, segments=51_027),
        framings=("described", "counted"),
        utterance=savee_utterance,
    ),
    "ravdess": Corpus(
        read_ravdess,
        "Ryerson Audio-Visual Database of Emotional Speech and Song",
        "English",
        "CC BY-NC-SA 4.0",
        "https://zenodo.org/records/1188976",
        RAVDESS,
        archive=Archive(
            "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
            "bc696df654c87fed845eb13823edef8a",
        ),
        utterance=ravdess_utterance,
    ),
    "cremad": Corpus(
        read_cremad,
        "Crowd-sourced Emotional Multimodal Actors Dataset",
        "English",
        "ODbL 1.0",
        "AudioWAV of https://github.com/CheyneyComputerScience/CREMA-D, by git lfs",
        CREMAD,
        utterance=cremad_utterance,
    ),
    "tess": Corpus(
        read_tess,
        "Toronto Emotional Speech Set",
        "English",
        "CC BY-NC-ND 4.0",
        "https://doi.org/10.5683/SP2/E8H2MF",
        TESS,
        utterance=tess_utterance,
    ),
    OWN: Corpus(
        read_manifest,
        "your own",
        "any",
        "your own",
        "a CSV file: path, emotion, speaker, text, id",
    ),
}


def read_corpus(name: str, source: Path, allow_partial: bool = False) -> tuple[list[Utterance], tuple[str, ...]]:
    """The utterances of corpus `name` in `source`, and what they lack where they are only a part of it.

    They are a part where the reader refuses them as a whole. Raises CorpusError as the reader does.
    """
    read = CORPORA[name].read
    try:
        return read(source, False), ()
    except CorpusError as error:
        if not allow_partial:
            raise
        lacking = error.problems or (str(error),)
    return read(source, True), lacking


def check_name(name: str, reader: str) -> None:
    """Raise CorpusError where `name`, however written, is that of a corpus here which is not the one that is read."""
    plain = re.sub(r"[\W_]", "", skeleton(name))
    if plain in CORPORA and plain not in (reader, OWN):
        raise CorpusError(
            f"corpus name {name!r} is reserved for the {CORPORA[plain].title}, because results would seem to be on it; "
            "give another --name"
        )


def known_name(manifest: Mapping[str, Any]) -> str:
    """What to call a prepared corpus, by its manifest: its name, or in full where it has the name of one of the paper's
    corpora but holds something else, as a user's own recordings do that are called `emodb`."""
    name = manifest["corpus"]
    return name if _holds_what_it_says(manifest) else f"{name}-{manifest['fingerprint']}"


def _holds_what_it_says(manifest: Mapping[str, Any]) -> bool:
    corpus = CORPORA.get(manifest["corpus"])
    if corpus is None or corpus.paper is None or corpus.known is None:
        return True
    known, classes, speakers = corpus.known, manifest["classes"], manifest["speakers"]
    if manifest["partial"]:
        few = all(count <= known.emotions.get(emotion, 0) for emotion, count in classes.items())
        return few and speakers <= known.speakers
    return dict(classes) == dict(known.emotions) and speakers in (0, known.speakers)


def settings_for(
    name: str, segment_ms: int | None = None, hop_ms: int | None = None, framing: str | None = None
) -> FeatureSettings:
    """The settings of corpus `name`; the paper's (§VI) for what is None. Raises SettingError.

    A corpus that is not in the catalogue, such as the synthetic one, has those of any other.
    """
    corpus = CORPORA.get(name, CORPORA[OWN])
    if framing is not None and framing not in corpus.framings:
        able = ", ".join(other for other, one in CORPORA.items() if framing in one.framings) or "no corpus"
        raise SettingError(
            f"--framing {framing} is for {able} only, not for {name}; "
            f"give --framing {' or '.join(corpus.framings)}, or leave it out"
        )
    hop_ms = corpus.hop_ms if hop_ms is None else hop_ms
    return feature_settings(335 if segment_ms is None else segment_ms, hop_ms, framing or "described")
