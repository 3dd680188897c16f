"""Parts of Emo-DB, SAVEE and RAVDESS made of noise, and lists of their folds as EmoBox's are."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.data_prep.corpus_files import SPEAKERS, noise, write_sound
from tests.data_prep.corpus_trees import SAVEE_SPEAKERS

ACTORS = tuple(f"{actor:02d}" for actor in range(1, 25))
# Corpus -> its files as EmoBox's lists have them, below `downloads`, each with its speaker.
FILES = {
    "emodb": {
        f"emodb/wav/{speaker}{text}{emotion}a.wav": speaker
        for speaker in SPEAKERS
        for text in ("a01", "b02")
        for emotion in "WN"
    },
    "savee": {
        f"savee/{speaker}_{emotion}{number:02d}.wav": speaker
        for speaker in SAVEE_SPEAKERS
        for emotion in ("a", "sa")
        for number in range(1, 4)
    },
    "ravdess": {
        f"ravdess/audio/Audio_Speech_Actors_01-24/Actor_{actor}/03-01-{emotion}-01-01-{take}-{actor}.wav": actor
        for actor in ACTORS
        for emotion in ("04", "05")
        for take in ("01", "02")
    },
}


def emodb_fold(number: int, speaker: str) -> int:
    """Speakers in all folds."""
    return number % 5 + 1


FOLD_OF: dict[str, Callable[[int, str], int]] = {
    "emodb": emodb_fold,
    "savee": lambda number, speaker: SAVEE_SPEAKERS.index(speaker) + 1,
    "ravdess": lambda number, speaker: ACTORS.index(speaker) // 4 + 1,
}


def write_sounds(folder: Path, corpora: Iterable[str] = FILES) -> Path:
    """The files of corpora, of half a second each."""
    for corpus in corpora:
        for number, path in enumerate(FILES[corpus]):
            write_sound(folder / path, noise(0.5, seed=number))
    return folder


def write_lists(folder: Path, corpora: Iterable[str] = FILES) -> Path:
    """`data/<corpus>/fold_<k>/<corpus>_<part>_fold_<k>.jsonl` of corpora."""
    for corpus in corpora:
        fold_of = {path: FOLD_OF[corpus](number, own) for number, (path, own) in enumerate(FILES[corpus].items())}
        for fold in sorted(set(fold_of.values())):
            write_list(folder, corpus, fold, "test", [path for path, own in fold_of.items() if own == fold])
            write_list(folder, corpus, fold, "train", [path for path, own in fold_of.items() if own != fold])
    return folder


def write_list(folder: Path, corpus: str, fold: int, part: str, paths: Iterable[str]) -> Path:
    lines = []
    for path in paths:
        key = f"{corpus}-{Path(path).stem.replace('_', '-')}"
        about = {"key": key, "dataset": corpus, "wav": f"downloads/{path}", "type": "raw", "task": "category"}
        lines.append(json.dumps({**about, "sample_rate": 16_000, "length": 0.5, "emo": "anger", "channel": 1}))
    written = folder / "data" / corpus / f"fold_{fold}" / f"{corpus}_{part}_fold_{fold}.jsonl"
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return written
