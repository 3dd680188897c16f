"""CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, read_names

CREMAD_EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
CREMAD_SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
# One file of the corpus, 1040_ITH_SAD_X.wav, has the level X for XX; in some copies it is called as the others are.
CREMAD_FILE_NAME = re.compile(
    rf"(?P<actor>10\d\d)_(?P<text>{'|'.join(CREMAD_SENTENCES)})_(?P<emotion>{'|'.join(CREMAD_EMOTIONS)})_(?:LO|MD|HI|XX?)",
    re.ASCII,
)
CREMAD_WITHOUT_SOUND = "1076_MTI_SAD_XX"
CREMAD_COUNTS = {emotion: 1_087 if emotion == "neutral" else 1_271 for emotion in CREMAD_EMOTIONS.values()}
CREMAD = Known("CREMA-D", "1001_DFA_ANG_XX.wav", CREMAD_COUNTS, speakers=91)


def read_cremad(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """CREMA-D: `1001_DFA_ANG_XX.wav` = actor 1001, sentence DFA, anger as the actor meant it, level XX.

    `source` is the folder `AudioWAV` or any above it. All 7,442 files of 91 actors must be there, 1,271 an emotion and
    1,087 of neutral, unless `allow_partial`. Raises CorpusError otherwise. One of them, `1076_MTI_SAD_XX.wav`, holds no
    sound and is left out, so 7,441 utterances are a whole corpus.
    """
    utterances = read_names("cremad", source, cremad_utterance, CREMAD, allow_partial)
    return [utterance for utterance in utterances if utterance.id != CREMAD_WITHOUT_SOUND]


def cremad_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    match = CREMAD_FILE_NAME.fullmatch(path.stem)
    if match is None or not 1001 <= int(match["actor"]) <= 1091:
        return None
    name = f"{path.stem}X" if path.stem.endswith("_X") else path.stem
    return Utterance(name, path, match["actor"], match["text"], CREMAD_EMOTIONS[match["emotion"]])
