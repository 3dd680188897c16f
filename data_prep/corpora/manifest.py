"""Anybody's own corpus, through a CSV file."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from data_prep.attributes import MORE_TEXTS
from data_prep.corpora.utterances import Utterance
from data_prep.csv_files import QUOTED, CsvError, misnamed, misnamed_text, read_csv
from data_prep.errors import CorpusError
from data_prep.text import clean, counted, skeleton

COLUMNS, MORE_COLUMNS = ("path", "emotion", "speaker"), ("text", "id", *MORE_TEXTS)
# What others call columns, which is not taken for them without asking.
MEANT = {
    **dict.fromkeys(("file", "filename", "wav", "audio"), "path"),
    **{"label": "emotion", "sentence": "text", "sex": "gender"},
}
Listing = Callable[[Path, Callable[[str], str]], Mapping[str, list[str]]]
SURPLUS = "values beyond the header"  # key of what a manifest's line holds too many


def read_manifest(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """Any corpus, through a CSV file with the columns path, emotion, speaker and optionally text, id, session, gender
    and fold.

    Paths are relative to the CSV file's folder and may not leave it, or absolute. Backslashes are slashes where no file
    has them in its name, and a name may be in another Unicode form than the file's. An id left out is the path without
    its ending: of an absolute one, what comes after the folder that all of those share. Raises CorpusError with every
    problem of the file at once. With `allow_partial`, lines whose audio file is not there are left out.
    """
    rows, listed = _read_csv(source), cache(_listed)
    problems: list[str] = []
    found: list[tuple[dict[str, str], PurePosixPath]] = []
    for number, row in rows:
        problem = _manifest_problem(row, source.parent)
        path = None if problem else _find(source.parent, row["path"], listed)
        if path is not None:
            found.append((row, path))
        elif problem or not allow_partial:
            problems.append(f"line {number}: {problem or _no_file(source.parent, row['path'], listed)}")
    shared = _shared_folder(_slashed(row["path"]) for _, row in rows)
    utterances = [
        Utterance(
            row.get("id") or str((path.relative_to(shared) if path.is_absolute() else path).with_suffix("")),
            source.parent / path,
            row["speaker"],
            row.get("text", ""),
            row["emotion"],
            **{name: row.get(name, "") for name in MORE_TEXTS},
        )
        for row, path in found
    ]
    repeated = [name for name, count in Counter(u.id for u in utterances).items() if count > 1]
    problems += [f"id {name!r} stands on more than one line; ids must be unique" for name in repeated]
    if problems:
        raise CorpusError(f"manifest {source}: {counted(len(problems), 'problem')}, nothing was prepared", problems)
    if not utterances:
        raise CorpusError(f"manifest {source}: no utterances; it needs one line per audio file below the header")
    return utterances


def _read_csv(source: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a manifest with their line numbers: paths stripped, other values clean. Raises CorpusError."""
    if not source.is_file():
        raise CorpusError(f"manifest {source} is not a file; give a CSV file with --source")
    try:
        header, rows = read_csv(source)
    except CsvError as error:
        raise CorpusError(f"manifest {source} {error}") from error
    counts = Counter(columns := list(map(_column, header)))
    repeated = [column for column, count in counts.items() if column and count > 1]
    if repeated:
        raise CorpusError(f"manifest {source}: the header has {', '.join(repeated)} more than once")
    wrong = misnamed(columns, (*COLUMNS, *MORE_COLUMNS), MEANT)
    missing = [column for column in COLUMNS if column not in counts]
    if missing:
        raise CorpusError(
            f"manifest {source}: missing columns {', '.join(missing)}; "
            f"the header has {', '.join(counts) or 'nothing'}, it needs {', '.join(COLUMNS)} "
            f"and may have {', '.join(MORE_COLUMNS)}" + "".join(f"; {one} may be {name}" for one, name in wrong.items())
        )
    if wrong:
        raise CorpusError(f"manifest {source}: the header has {misnamed_text(wrong)}")
    return [(number, _named(columns, values)) for number, values in rows]


def _named(columns: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """The values of a line by column, with what it holds too many."""
    padded = [*values, *[""] * (len(columns) - len(values))]
    found = {
        name: value.strip() if name == "path" else clean(value) for name, value in zip(columns, padded, strict=False)
    }
    return {**found, SURPLUS: ",".join(values[len(columns) :])}


def unread_columns(source: Path) -> list[str]:
    """The columns of a manifest that nothing is read from."""
    columns = map(_column, read_csv(source)[0])
    return [name for name in columns if name and name not in (*COLUMNS, *MORE_COLUMNS)]


def _column(given: str) -> str:
    """A column's name; one that is ours may be written in any case and width."""
    return skeleton(given) if skeleton(given) in (*COLUMNS, *MORE_COLUMNS) else clean(given)


def _manifest_problem(row: dict[str, str], folder: Path) -> str | None:
    surplus = row.get(SURPLUS, "").strip(",")
    if surplus:
        return f"{surplus!r} is more than the header has columns for; {QUOTED}"
    empty = [column for column in COLUMNS if not row[column]]
    if empty:
        return f"empty {', '.join(empty)}"
    if ".." in _slashed(row["path"]).parts:
        return f"path {row['path']!r} leads out of {folder}; use absolute paths, or relative ones without '..'"
    return None


def _slashed(path: str) -> PurePosixPath:
    return PurePosixPath(path.replace("\\", "/"))


def _shared_folder(paths: Iterable[PurePosixPath]) -> str:
    """The innermost folder that all absolute ones among `paths` are in."""
    folders = [path.parent for path in paths if path.is_absolute()]
    return os.path.commonpath(folders) if folders else "/"


def _find(folder: Path, given: str, listed: Listing) -> PurePosixPath | None:
    """The path by which a manifest's file is found from `folder`; None where there is no such file.

    It is as written or, if there is none, with slashes for backslashes, or has another Unicode form on the disk.
    """
    path = _slashed(given)
    for exact in (PurePosixPath(given), path):
        if (folder / exact).is_file():
            return exact
    found = PurePosixPath("/" if path.is_absolute() else "")
    for part in path.relative_to(found).parts:
        same = listed(folder / found, clean).get(clean(part), [])
        if part not in same and len(same) != 1:
            return None
        found /= part if part in same else same[0]
    return found if (folder / found).is_file() else None


def _no_file(folder: Path, given: str, listed: Listing) -> str:
    """That a file is not there, and which one has nearly its name."""
    path = folder / _slashed(given)
    near = [name for name in listed(path.parent, skeleton).get(skeleton(path.name), []) if name != path.name]
    return f"no file {folder / given}" + (f"; there is {path.parent / near[0]}" if near else "")


def _listed(folder: Path, spelt: Callable[[str], str]) -> dict[str, list[str]]:
    """The names in a folder, by how they are spelt; nothing where it is none."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(spelt(name), []).append(name)
    return found
