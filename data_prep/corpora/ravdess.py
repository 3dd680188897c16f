"""The Ryerson Audio-Visual Database of Emotional Speech and Song: its speech."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, read_names

_IN_ORDER = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
RAVDESS_EMOTIONS = {f"{number:02d}": emotion for number, emotion in enumerate(_IN_ORDER, start=1)}
# Audio only (03), speech (01). Neutral has no strong intensity (02).
RAVDESS_FILE_NAME = re.compile(
    r"03-01-(?:01-01|(?!01)0[1-8]-0[12])-(?P<text>0[12])-0[12]-(?P<actor>0[1-9]|1\d|2[0-4])", re.ASCII
)
RAVDESS_COUNTS = {emotion: 24 * (4 if emotion == "neutral" else 8) for emotion in RAVDESS_EMOTIONS.values()}
RAVDESS = Known("RAVDESS", "03-01-05-02-01-02-12.wav", RAVDESS_COUNTS, speakers=24, even=True)


def read_ravdess(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """RAVDESS's speech: `Actor_12/03-01-05-02-01-02-12.wav`.

    The seven numbers are modality (03 audio), channel (01 speech), emotion, intensity, statement (the text),
    repetition and actor (the speaker). `source` is any folder above the files. All 1,440 must be there, 4 of neutral
    and 8 of each other emotion by each of 24 actors, unless `allow_partial`. Raises CorpusError otherwise, and for
    files of song or video.
    """
    return read_names("ravdess", source, ravdess_utterance, RAVDESS, allow_partial)


def ravdess_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    match = RAVDESS_FILE_NAME.fullmatch(path.stem)
    if match is None:
        return None
    emotion = RAVDESS_EMOTIONS[path.stem.split("-")[2]]
    return Utterance(path.stem, path, match["actor"], match["text"], emotion)
