"""Anybody's own corpus, through a CSV file."""

import csv
from collections import Counter
from pathlib import Path, PurePosixPath

from data_prep.corpora.utterances import Utterance
from data_prep.errors import CorpusError, bulleted

SURPLUS = "values beyond the header"  # key of what a manifest's line holds too many


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
