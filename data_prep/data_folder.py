"""Which prepared corpora a data folder holds, and which of them a name means."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.addresses import is_address, local_path
from data_prep.attributes import MORE_TEXTS
from data_prep.checked import checked_manifest, parse_json, parsed
from data_prep.errors import FolderError, ShardError, bulleted
from data_prep.folders import Folder
from data_prep.shards import RESTORE, SCHEMA_VERSION, PreparedCorpus
from data_prep.text import clean, command, counted, plain, some


def list_prepared(data: str | Path) -> tuple[list[PreparedCorpus], dict[str, ShardError]]:
    """Every whole prepared corpus in the folder `data`, and by their folders' names why others cannot be read.

    Raises ShardError where `data` is not a folder.
    """
    place = data_folder(data)
    prepared: list[PreparedCorpus] = []
    unreadable: dict[str, ShardError] = {}
    for name in Folder(place).folders():
        try:
            manifest = _read_manifest(place, name)
        except ShardError as error:
            unreadable[name] = error
            continue
        if manifest is not None:
            prepared.append(PreparedCorpus(place / name, manifest))
    if not prepared and isinstance(place, Path) and not place.is_dir():
        raise ShardError(
            f"data folder {data} does not exist; make it with: {command('prepare', 'CORPUS', '--out', data)}"
        )
    return prepared, unreadable


def _read_manifest(place: Path | Folder, name: str) -> dict[str, Any] | None:
    """What the folder `name` says it holds; None where it is no prepared corpus. Raises ShardError."""
    path = f"{place}/{name}/manifest.json"
    try:
        folder = Folder(place) / name
        content = folder.read("manifest.json")
        if content is None:
            if _is_exported(folder):
                raise ShardError(f"{path} is missing beside the corpus's utterances; {RESTORE}")
            return None
        manifest = parse_json(content)
        schema = manifest["schema"]
        if schema <= SCHEMA_VERSION:
            return {"shards": [], **checked_manifest(manifest)}
    except (ValueError, KeyError, TypeError) as error:
        remedy = RESTORE if _is_exported(folder) else "prepare the corpus again"
        raise ShardError(f"{path} is damaged ({error}); {remedy}") from error
    except (FolderError, OSError) as error:
        raise ShardError(f"{place}/{name}/manifest.json cannot be read: {error}") from error
    raise ShardError(f"{path} was written by a newer ser-sweep (schema {schema}); upgrade to read it")


def _is_exported(folder: Folder) -> bool:
    """Whether a corpus whose manifest tells nothing is of results alone: its utterances are there, without shards."""
    return folder.modified("utterances.parquet") is not None and "shards" not in folder.folders()


def refuse_exported(data: Path | Folder) -> None:
    """Raise ShardError where the folder `data`, or the folder data in it, holds the corpora of results alone, to which
    nothing is to be added."""
    place = Folder(data)
    if any(_holds_exported(folder) for folder in (place, place / "data")):
        raise ShardError(
            f"{place} belongs to results alone, written by ser-sweep store export --decisions; prepare corpora in "
            "another --out"
        )


def _holds_exported(place: Folder) -> bool:
    def is_one(folder: Folder) -> bool:
        manifest = parsed(folder.read("manifest.json"))
        return _is_exported(folder) if manifest is None else "shards" not in manifest and "classes" in manifest

    return any(is_one(place / name) for name in place.folders())


def data_folder(data: str | Path) -> Path | Folder:
    """Where `data` is: a path, or a folder elsewhere."""
    if isinstance(data, Path):
        return data
    return Folder(data) if is_address(data) else local_path(data)


def find_prepared(data: str | Path, name: str, wanted: Mapping[str, Any] | None = None) -> PreparedCorpus:
    """The prepared corpus in `data` called `name`: a corpus, or a folder name where one corpus has several.

    Of several, those count that were made with the `wanted` feature settings. Raises ShardError, listing what is there,
    when there is none or more than one, or one of them cannot be read.
    """
    available, unreadable = list_prepared(data)
    name = clean(name)
    found = [one for one in available if name in (one.corpus, one.name, one.folder.name)]
    in_full = any(name in (one.name, one.folder.name) for one in found)
    for folder, error in unreadable.items():
        if name == folder or (not in_full and name == folder.rpartition("-")[0]):
            others = f"\nor write in the grid: {', '.join(one.name for one in found)}" if found else ""
            raise ShardError(f"corpus {name!r}: {error}{others}")
    if len(found) > 1 and wanted:
        found = _made_with(wanted, found, data, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise ShardError(
            f"corpus {name!r} is ambiguous: {data} holds {len(found)} preparations of it; name one in the grid:\n"
            + bulleted([f"{one.name} ({'; '.join(_differences(one, found))})" for one in found])
        )
    there = ", ".join(one.name for one in available) or "no prepared corpus"
    if unreadable:
        there += f"; cannot be read: {', '.join(map(plain, unreadable))}"
    raise ShardError(
        f"corpus {name!r} is not in {data} (there: {there}); make it with: "
        + command("prepare", "CORPUS", "--source", "DIR", "--out", data)
    )


def _made_with(
    wanted: Mapping[str, Any], found: list[PreparedCorpus], data: str | Path, name: str
) -> list[PreparedCorpus]:
    """Those of `found` that were made with the `wanted` settings. Raises ShardError where none was."""
    made = {one.name: one.settings.as_dict() for one in found}
    fitting = [one for one in found if all(made[one.name][field] == value for field, value in wanted.items())]
    if not fitting:
        asked = ", ".join(f"{field} {value}" for field, value in wanted.items())
        there = [f"{one.name}: " + ", ".join(f"{field} {made[one.name][field]}" for field in wanted) for one in found]
        raise ShardError(
            f"corpus {name!r}: none of its {len(found)} preparations in {data} has {asked}; prepare it so, or ask for "
            "what is there:\n" + bulleted(there)
        )
    return fitting


def _differences(one: PreparedCorpus, all_of_them: list[PreparedCorpus]) -> Iterator[str]:
    """What tells a preparation from the others: size, settings, when it was made, and which utterances differ."""
    yield f"{counted(one.manifest['utterances'], 'utterance')}, {counted(one.manifest['segments'], 'segment')}"
    settings, others = one.manifest["settings"], [other for other in all_of_them if other is not one]
    differing = [k for k in settings if any(other.manifest["settings"].get(k) != settings[k] for other in others)]
    yield from (f"{key} {settings[key]}" for key in differing)
    made = Folder(one.folder).modified("manifest.json")
    if made is not None:
        yield f"made {datetime.fromtimestamp(made):%Y-%m-%d %H:%M}"
    for other in others:
        try:
            here, there = (_with_all_texts(prepared.utterances()).set_index("id") for prepared in (one, other))
        except ShardError as error:
            yield str(error)
            continue
        both = here.index.intersection(there.index)
        alone = here.index.difference(there.index)
        if len(alone):
            yield f"{some(list(alone))} not in {other.name}"
        for what, columns in (("sound", ["sha256"]), ("labels", ["speaker", "text", "emotion", *MORE_TEXTS])):
            known = [column for column in columns if column in here and column in there]
            unlike = both[(here.loc[both, known] != there.loc[both, known]).any(axis=1)]
            if len(unlike):
                yield f"{some(list(unlike))} of other {what} than in {other.name}"


def _with_all_texts(utterances: pd.DataFrame) -> pd.DataFrame:
    """`utterances` with every column of MORE_TEXTS, empty where nothing is known."""
    return utterances.assign(**{name: "" for name in MORE_TEXTS if name not in utterances})
