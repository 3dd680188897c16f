"""The Surrey Audio-Visual Expressed Emotion database (§V)."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, read_names

SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")
SAVEE_EMOTIONS = {
    "sa": "sadness",
    "su": "surprise",
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
}
# The codes stand in an order in which "sa" and "su" come before the letters they could be taken for.
SAVEE_FILE_NAME = re.compile(
    rf"(?:(?P<speaker>{'|'.join(SAVEE_SPEAKERS)})_)?(?P<emotion>{'|'.join(SAVEE_EMOTIONS)})(?P<number>\d{{2}})",
    re.ASCII,
)
SAVEE_COUNTS = {emotion: 4 * (30 if emotion == "neutral" else 15) for emotion in sorted(SAVEE_EMOTIONS.values())}
SAVEE = Known("SAVEE", "DC/sa01.wav or DC_sa01.wav", SAVEE_COUNTS, speakers=4, even=True)


def read_savee(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """SAVEE, as it is given out, `AudioData/DC/sa01.wav`, or with all files in one folder, `DC_sa01.wav`.

    Both give the same utterances: speaker DC, emotion sa = sadness, sentence 01 of the sentences of sadness.
    `source` is the folder of the files or any folder above it. All 480 must be there, 15 an emotion and 30 of neutral
    by each of four speakers, unless `allow_partial`. Raises CorpusError otherwise.

    The text is emotion and number together ("sa01"): what is known is that a number means a sentence among those of
    its emotion. Three sentences are common to all emotions, and neutral repeats these and those made for each
    emotion, but the corpus does not tell by which numbers. A split by text so keeps together what the four speakers
    say with one emotion and number, and cannot keep together a sentence said with two emotions.
    """
    return read_names("savee", source, savee_utterance, SAVEE, allow_partial)


def savee_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    match = SAVEE_FILE_NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker = match["speaker"] or path.absolute().parent.name
    emotion = SAVEE_EMOTIONS[match["emotion"]]
    if speaker not in SAVEE_SPEAKERS or not 1 <= int(match["number"]) <= SAVEE.each_speaker[emotion]:
        return None
    text = match["emotion"] + match["number"]
    return Utterance(f"{speaker}_{text}", path, speaker, text, emotion)
