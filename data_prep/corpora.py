"""A reader per corpus: files on disk -> `Utterance`s, checked against what the corpus is known to hold.

Adding a corpus takes one function that returns utterances and one line in `READERS`.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_prep.errors import CorpusError, bulleted


@dataclass(frozen=True)
class Utterance:
    """One recording of a corpus: `path` of its audio file, and who said what with which emotion.

    `text` is the identity of the spoken sentence, empty where it is not known.
    """

    id: str
    path: Path
    speaker: str
    text: str
    emotion: str


EMODB_FILE_NAME = re.compile(r"^(?P<speaker>\d{2})(?P<text>[ab]\d{2})(?P<emotion>[WLEAFTN])(?P<version>[a-z])$")
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


def read_emodb(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """The Berlin Database of Emotional Speech (§V): `03a01Fa.wav` = speaker 03, text a01, emotion F, version a.

    `source` is the folder of the wav files, or the folder above it (with `wav/` inside). All 535 files must
    be there unless `allow_partial`. Raises CorpusError otherwise.
    """
    folder = _existing_folder(source, "emodb")
    if not any(folder.glob("*.wav")) and (folder / "wav").is_dir():
        folder = folder / "wav"
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise CorpusError(f"emodb: no .wav files in {folder}; --source must name the folder that holds 03a01Fa.wav")
    utterances, foreign = [], []
    for path in files:
        match = EMODB_FILE_NAME.match(path.stem)
        if match is None:
            foreign.append(path.name)
            continue
        emotion = EMODB_EMOTIONS[match["emotion"]]
        utterances.append(Utterance(path.stem, path, match["speaker"], match["text"], emotion))
    if foreign:
        raise CorpusError(
            f"emodb: {len(foreign)} file names in {folder} are not Emo-DB's (like 03a01Fa.wav); move them away:\n"
            + bulleted(foreign)
        )
    if not allow_partial:
        _check_counts("emodb", folder, utterances, EMODB_COUNTS)
    return utterances


def read_manifest(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """Any corpus, through a CSV file with the columns path, emotion, speaker and optionally text and id.

    Paths are relative to the CSV file's folder and may not leave it. An id left out is the path without its
    ending. Raises CorpusError with every problem of the file at once. With `allow_partial`, lines whose audio
    file is not there are left out.
    """
    rows = _read_csv(source)
    problems: list[str] = []
    utterances: list[Utterance] = []
    for number, row in rows:
        problem = _manifest_problem(row, source.parent, allow_partial)
        if problem:
            problems.append(f"line {number}: {problem}")
            continue
        path = source.parent / row["path"]
        if not path.is_file():
            continue
        utterance_id = row.get("id") or str(PurePosixPath(row["path"]).with_suffix(""))
        utterances.append(Utterance(utterance_id, path, row["speaker"], row.get("text", ""), row["emotion"]))
    repeated = [name for name, count in Counter(u.id for u in utterances).items() if count > 1]
    problems += [f"id {name!r} stands on more than one line; ids must be unique" for name in repeated]
    if problems:
        raise CorpusError(f"manifest {source}: {len(problems)} problems, nothing was prepared\n" + bulleted(problems))
    if not utterances:
        raise CorpusError(f"manifest {source}: no utterances; it needs one line per audio file below the header")
    return utterances


SURPLUS = "values beyond the header"  # key of what a manifest's line holds too many

Reader = Callable[[Path, bool], list[Utterance]]
READERS: dict[str, Reader] = {
    "emodb": read_emodb,
    "manifest": read_manifest,
}


def _existing_folder(source: Path, corpus: str) -> Path:
    if not source.is_dir():
        what = "is a file, not a folder" if source.exists() else "does not exist"
        raise CorpusError(f"{corpus}: source {source} {what}; give the folder of the corpus with --source")
    return source


def _check_counts(corpus: str, folder: Path, utterances: list[Utterance], expected: dict[str, int]) -> None:
    found = Counter(utterance.emotion for utterance in utterances)
    off = [f"{e}: {found[e]} utterances, expected {n}" for e, n in expected.items() if found[e] != n]
    if off:
        raise CorpusError(
            f"{corpus}: {len(utterances)} utterances in {folder}, expected {sum(expected.values())}; "
            f"complete the corpus, or accept a part of it with --allow-partial\n" + bulleted(off)
        )


def _read_csv(source: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a manifest with their line numbers, values stripped. Raises CorpusError."""
    if not source.is_file():
        raise CorpusError(f"manifest {source} is not a file; give a CSV file with --source")
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey=SURPLUS, strict=True)
            columns = [column.strip() for column in reader.fieldnames or []]
            repeated = [column for column, count in Counter(columns).items() if column and count > 1]
            if repeated:
                raise CorpusError(f"manifest {source}: the header has {', '.join(repeated)} more than once")
            missing = [column for column in ("path", "emotion", "speaker") if column not in columns]
            if missing:
                raise CorpusError(
                    f"manifest {source}: missing columns {', '.join(missing)}; "
                    f"the header has {', '.join(columns) or 'nothing'}, it needs path, emotion, speaker "
                    "and may have text, id"
                )
            rows = []
            for row in reader:
                values = {k.strip(): (",".join(v) if isinstance(v, list) else v or "").strip() for k, v in row.items()}
                rows.append((reader.line_num, values))
            return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"manifest {source} is not a UTF-8 CSV file: {error}") from error


def _manifest_problem(row: dict[str, str], folder: Path, allow_missing_file: bool) -> str | None:
    surplus = row.get(SURPLUS, "").strip(",")
    if surplus:
        return f"{surplus!r} is more than the header has columns for; put a value that holds a comma in quotes"
    empty = [column for column in ("path", "emotion", "speaker") if not row[column]]
    if empty:
        return f"empty {', '.join(empty)}"
    path = Path(row["path"])
    if path.is_absolute() or ".." in path.parts:
        return f"path {row['path']!r} leads out of {folder}; use paths relative to the manifest, without '..'"
    if "\0" in row["path"]:
        return f"path {row['path']!r} holds a NUL character"
    if not (folder / path).is_file() and not allow_missing_file:
        return f"no file {folder / path}"
    return None
