"""The Berlin Database of Emotional Speech (§V)."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, read_names

EMODB_FILE_NAME = re.compile(r"(?P<speaker>\d{2})(?P<text>[ab]\d{2})(?P<emotion>[WLEAFTN])(?P<version>[a-z])", re.ASCII)
# Letter -> emotion, and how many utterances have it. The paper prints 126 for anger; the corpus holds 127, without
# which its classes do not sum to 535 (§V).
_CLASSES = {
    "W": ("anger", 127),
    "L": ("boredom", 81),
    "E": ("disgust", 46),
    "A": ("fear", 69),
    "F": ("happiness", 71),
    "N": ("neutral", 79),
    "T": ("sadness", 62),
}
EMODB_EMOTIONS = {letter: emotion for letter, (emotion, _) in _CLASSES.items()}
EMODB_COUNTS = dict(_CLASSES.values())
EMODB = Known("Emo-DB", "03a01Fa.wav", EMODB_COUNTS, speakers=10)


def read_emodb(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """Emo-DB: `03a01Fa.wav` = speaker 03, text a01, emotion F, version a.

    `source` is the folder of the wav files, or any folder above it. All 535 files must be there unless
    `allow_partial`. Raises CorpusError otherwise, and for the 816 files of version 2.0, which is another set.
    """
    return read_names("emodb", source, emodb_utterance, EMODB, allow_partial)


def emodb_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    match = EMODB_FILE_NAME.fullmatch(path.stem)
    if match is None:
        return None
    return Utterance(path.stem, path, match["speaker"], match["text"], EMODB_EMOTIONS[match["emotion"]])
