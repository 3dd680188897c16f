"""TESS, the Toronto Emotional Speech Set."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, read_names

TESS_EMOTIONS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sadness",
}
# One file of the corpus is called OA_bite_neutral.wav, for OAF.
TESS_FILE_NAME = re.compile(
    rf"(?P<speaker>OAF?|YAF)_(?P<text>[a-z]+)_(?P<emotion>{'|'.join(TESS_EMOTIONS)})", re.ASCII | re.IGNORECASE
)
TESS = Known("TESS", "OAF_back_angry.wav", dict.fromkeys(TESS_EMOTIONS.values(), 2 * 200), speakers=2, even=True)


def read_tess(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """TESS: `OAF_angry/OAF_back_angry.wav` = the older speaker (OAF; YAF is the younger one), the word back, anger.

    `ps` is pleasant surprise: surprise here. Folders by class, however they are called, or none: names of files alone
    are read. `source` is any folder above them. All 2,800 must be there, 200 words with each of seven emotions by each
    of two speakers, unless `allow_partial`. Raises CorpusError otherwise.
    """
    return read_names("tess", source, tess_utterance, TESS, allow_partial)


def tess_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    match = TESS_FILE_NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker = "YAF" if match["speaker"].upper() == "YAF" else "OAF"
    emotion = match["emotion"].lower()
    text = match["text"].lower()
    return Utterance(f"{speaker}_{text}_{emotion}", path, speaker, text, TESS_EMOTIONS[emotion])
