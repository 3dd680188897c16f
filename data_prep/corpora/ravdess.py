"""The Ryerson Audio-Visual Database of Emotional Speech and Song: its speech."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, check_known, existing_folder, read_names, wav_files

RAVDESS_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
# Audio only (03), speech (01). Neutral has no strong intensity (02).
RAVDESS_FILE_NAME = re.compile(
    r"03-01-(?:01-01|(?!01)0[1-8]-0[12])-(?P<text>0[12])-0[12]-(?P<actor>0[1-9]|1\d|2[0-4])", re.ASCII
)
RAVDESS_EACH = {emotion: 4 if emotion == "neutral" else 8 for emotion in RAVDESS_EMOTIONS.values()}
RAVDESS = Known({emotion: 24 * n for emotion, n in RAVDESS_EACH.items()}, speakers=24, each_speaker=RAVDESS_EACH)


def read_ravdess(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """RAVDESS's speech: `Actor_12/03-01-05-02-01-02-12.wav`.

    The seven numbers are modality (03 audio), channel (01 speech), emotion, intensity, statement (the text),
    repetition and actor (the speaker). `source` is any folder above the files. All 1,440 must be there, 4 of neutral
    and 8 of each other emotion by each of 24 actors, unless `allow_partial`. Raises CorpusError otherwise, and for
    files of song or video.
    """
    folder = existing_folder(source, "ravdess")
    utterances = read_names(
        "ravdess", folder, wav_files(folder), ravdess_utterance, "03-01-05-02-01-02-12.wav", "RAVDESS"
    )
    check_known("ravdess", folder, utterances, RAVDESS, allow_partial)
    return utterances


def ravdess_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    match = RAVDESS_FILE_NAME.fullmatch(path.stem)
    if match is None:
        return None
    emotion = RAVDESS_EMOTIONS[path.stem.split("-")[2]]
    return Utterance(path.stem, path, match["actor"], match["text"], emotion)
