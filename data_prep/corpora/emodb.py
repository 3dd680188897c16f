"""The Berlin Database of Emotional Speech (§V)."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, check_known, existing_folder, read_names, wav_files

EMODB_FILE_NAME = re.compile(r"(?P<speaker>\d{2})(?P<text>[ab]\d{2})(?P<emotion>[WLEAFTN])(?P<version>[a-z])", re.ASCII)
EMODB_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
# The paper prints 126 for anger; the corpus holds 127, without which its classes do not sum to 535 (§V).
EMODB_COUNTS = {
    "anger": 127,
    "boredom": 81,
    "disgust": 46,
    "fear": 69,
    "happiness": 71,
    "neutral": 79,
    "sadness": 62,
}
EMODB = Known(EMODB_COUNTS, speakers=10)


def read_emodb(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """Emo-DB: `03a01Fa.wav` = speaker 03, text a01, emotion F, version a.

    `source` is the folder of the wav files, or any folder above it. All 535 files must be there unless
    `allow_partial`. Raises CorpusError otherwise, and for the 816 files of version 2.0, which is another set.
    """
    folder = existing_folder(source, "emodb")
    utterances = read_names("emodb", folder, wav_files(folder), emodb_utterance, "03a01Fa.wav", "Emo-DB")
    check_known("emodb", folder, utterances, EMODB, allow_partial)
    return utterances


def emodb_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    match = EMODB_FILE_NAME.fullmatch(path.stem)
    if match is None:
        return None
    return Utterance(path.stem, path, match["speaker"], match["text"], EMODB_EMOTIONS[match["emotion"]])
