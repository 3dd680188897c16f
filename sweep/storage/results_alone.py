"""What is wrong with results that were exported alone: files of theirs that are missing, damaged or another's.

    RESULTS/grid.yaml                                               the grid
    RESULTS/data/<corpus>/                                          its corpora, prepared, without their shards
    RESULTS/store/                                                  its stages and decisions, without predictions
    RESULTS/SHA256SUMS                                              what each of these files was, for sha256sum -c

Its store.json has the digest of SHA256SUMS in turn. Exports of earlier versions have no SHA256SUMS: their files are
looked at one by one.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from data_prep.checked import checked_manifest, parse_json, parsed, read_utterances
from data_prep.errors import FolderError, UserError, bulleted
from data_prep.files import canonical_hash
from data_prep.folders import Folder
from data_prep.shards import RESTORE, sha256
from data_prep.text import counted
from sweep.planning.stages import KEY_LENGTH
from sweep.storage.files import read_checked, read_json
from sweep.storage.listed_folds import kept_lists, list_path
from sweep.storage.records import is_record

GRID_FILE, DATA_FOLDER, STORE_FOLDER, SUMS_FILE = "grid.yaml", "data", "store", "SHA256SUMS"
MARK = f"{STORE_FOLDER}/store.json"
MISSING, DAMAGED, CHANGED, FOREIGN = "missing", "damaged", "not what was exported", "not part of the export"
SUM = re.compile(r"([0-9a-f]{64})  (.+)")

Problems = dict[str, str]  # path -> what is wrong with the file


class ResultsError(UserError):
    """Results that were exported alone are not whole."""


def sums_of(results: Folder) -> bytes:
    """The SHA256SUMS of all files of an export but store.json, which is written after it."""
    names = sorted(str(entry.path) for entry in results.entries(recursive=True))
    names = [name for name in names if name not in (MARK, SUMS_FILE)]
    contents = zip(names, results.read_all(names), strict=True)
    return "".join(f"{sha256(content or b'')}  {name}\n" for name, content in contents).encode()


def check_results(results: Folder) -> None:
    """Raise ResultsError, naming every file of an export that is missing, damaged or another's."""
    about = read_json(results, MARK)
    mark = (about or {}).get("results_only")
    sums = results.read(SUMS_FILE) if not isinstance(mark, dict) or "sums" in mark else None
    problems: Problems = {}
    if not isinstance(mark, dict):
        problems[MARK] = _missing_or(DAMAGED if about is None else CHANGED, results, MARK)
    elif "sums" in mark and not _is_listed_in(mark, sums):
        problems[SUMS_FILE] = _missing_or(f"not the one that {MARK} tells of", results, SUMS_FILE)
    listed = {} if SUMS_FILE in problems else _listed(sums or b"")
    problems |= _against(results, listed, DATA_FOLDER, STORE_FOLDER) if listed else _by_themselves(results)
    _raise(str(results), problems)


@contextmanager
def of_grid(results: Folder) -> Iterator[None]:
    """A block that opens an export of which nothing lists the files: where its grid cannot be used on its data, another
    one is in its place, and ResultsError says so."""
    try:
        yield
    except UserError as error:
        if results.read(SUMS_FILE) is not None or isinstance(error, ResultsError):
            raise
        why = str(error).splitlines()[0].partition(";")[0]
        raise ResultsError(
            f"{results}: {GRID_FILE} is damaged, or not that of these results ({why}); {RESTORE}"
        ) from error


def check_together(results: Folder, there: Collection[str], asked: Collection[str], lost: Problems) -> None:
    """Raise ResultsError where stages that are `there`, by their keys, are none of those that the grid has `asked` for,
    and for what is `lost` of its store."""
    others = sorted(set(there) - set(asked))
    if others:
        raise ResultsError(
            f"{results}: {len(others)} of {counted(len(there), 'stage')} are of no chain of {GRID_FILE}: another grid "
            f"is in its place, or another version of ser-sweep trained them; {RESTORE}"
        )
    _raise(str(results), _of(STORE_FOLDER, lost))


def check_store(store: Folder, mark: dict[str, Any] | None) -> None:
    """The same of the store of an export, whose `mark` store.json has: by SHA256SUMS where that lies beside it, or as
    far as its files tell by themselves."""
    if mark:
        sums = store.parent.read(SUMS_FILE) if store.name == STORE_FOLDER else None
        listed = _listed(sums or b"") if _is_listed_in(mark, sums) else {}
        own = {name: digest for name, digest in listed.items() if name.startswith(f"{STORE_FOLDER}/")}
        problems = _against(store.parent, own, STORE_FOLDER) if own else _of(STORE_FOLDER, _store_problems(store))
        _raise(str(store.parent) if store.name == STORE_FOLDER else f"store {store}", problems)
    elif _is_unmarked(store):
        raise ResultsError(
            f"store {store} holds stages without predictions, as ser-sweep store export --decisions writes them, but "
            f"its store.json does not say so: it is missing, damaged or another's; {RESTORE}"
        )


def _raise(place: str, problems: Problems) -> None:
    if problems:
        listed = bulleted([f"{path}: {what}" for path, what in sorted(problems.items())])
        raise ResultsError(f"{place} is not as it was exported:\n{listed}\n{RESTORE}")


def _missing_or(what: str, folder: Folder, name: str) -> str:
    return MISSING if folder.read(name) is None else what


def _unix(content: bytes) -> bytes:
    """A text as it was exported, where version control gave it the line ends of another system."""
    return content.replace(b"\r\n", b"\n")


# By their checksums


def _is_listed_in(mark: Any, sums: bytes | None) -> bool:
    """Whether this is the SHA256SUMS that store.json tells of."""
    told = mark.get("sums") if isinstance(mark, dict) else None
    return sums is not None and told in (sha256(sums), sha256(_unix(sums)))


def _listed(sums: bytes) -> dict[str, str]:
    """Path -> digest, of a SHA256SUMS; nothing where it is none."""
    lines = [SUM.fullmatch(line) for line in sums.decode(errors="replace").splitlines()]
    names = {found[2]: found[1] for found in lines if found}
    return names if all(lines) and not any(".." in name.split("/") for name in names) else {}


def _against(results: Folder, sums: dict[str, str], *parts: str) -> Problems:
    """What of the files that `sums` lists is not as it was, and which others there are in the folders `parts`."""
    problems = {}
    for (name, digest), content in zip(sums.items(), results.read_all(sums), strict=True):
        if content is None:
            problems[name] = MISSING
        elif digest not in (sha256(content), sha256(_unix(content))):
            problems[name] = CHANGED
    for part in parts:
        found = {str(entry.path) for entry in results.entries(part, recursive=True)}
        problems |= dict.fromkeys(found - sums.keys() - {MARK}, FOREIGN)
    return problems


# One by one


def _by_themselves(results: Folder) -> Problems:
    grid = {} if results.read(GRID_FILE) is not None else {GRID_FILE: MISSING}
    store, data = results / STORE_FOLDER, results / DATA_FOLDER
    names = {*(store / "corpora").folders(), *_corpora_of(_records(store).values()), *data.folders()}
    of_data = {path: what for name in names for path, what in _corpus(data, name, "manifest.json").items()}
    return {**grid, **_of(STORE_FOLDER, _store_problems(store)), **_of(DATA_FOLDER, of_data)}


def _of(part: str, problems: Problems) -> Problems:
    """The same by their paths in the export, of files in a `part` of it."""
    return {f"{part}/{path}": what for path, what in problems.items()}


def _store_problems(store: Folder) -> Problems:
    """The files of an export's store that are missing or damaged, as far as they tell by themselves."""
    records = _records(store)
    problems = {}
    for key in (store / "stages").folders():
        path = f"stages/{key}/stage.json"
        record = records.get(key)
        if record is None or canonical_hash(record.get("identity"), KEY_LENGTH) != key:
            problems[path] = _missing_or(DAMAGED, store, path)
    for entry in store.entries("decisions"):
        if read_checked(store, str(entry.path)) is None:
            problems[str(entry.path)] = DAMAGED
    for name in {*(store / "corpora").folders(), *_corpora_of(records.values())}:
        problems |= _of("corpora", _corpus(store / "corpora", name, "corpus.json"))
        kept = kept_lists(store, name)
        asked = {list_path(name, digest) for digest in _lists_of(records.values(), name)}
        problems |= {path: DAMAGED for path, found in kept.items() if found is None}
        problems |= dict.fromkeys(asked - kept.keys(), MISSING)
    return problems


def _records(store: Folder) -> dict[str, dict[str, Any]]:
    """What stage.json says of each stage, by its folder, as far as it can be read."""
    keys = (store / "stages").folders()
    found = map(parsed, store.read_all(f"stages/{key}/stage.json" for key in keys))
    return {key: record for key, record in zip(keys, found, strict=True) if record is not None and is_record(record)}


def _identities(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (record["identity"] for record in records if record.get("identity"))


def _corpora_of(records: Iterable[dict[str, Any]]) -> set[str]:
    return {identity["corpus"] for identity in _identities(records)}


def _lists_of(records: Iterable[dict[str, Any]], corpus: str) -> set[str]:
    """The digests of the lists of folds that the stages of a corpus refer to."""
    of_corpus = [identity for identity in _identities(records) if identity["corpus"] == corpus]
    return {str(one["listed"]["digest"]) for one in of_corpus if one.get("listed")}


def _corpus(folder: Folder, name: str, manifest: str) -> Problems:
    """What is wrong with the two files of a corpus, in a folder of corpora."""
    about_path, table_path = f"{name}/{manifest}", f"{name}/utterances.parquet"
    problems: Problems = {}
    about: dict[str, Any] = {}
    content = folder.read(about_path)
    if content is None:
        problems[about_path] = MISSING
    else:
        about = _or_nothing(lambda: checked_manifest(parse_json(content))) or {}
        if not about or f"{about['corpus']}-{about['fingerprint']}" != name:
            problems[about_path] = DAMAGED
    table = folder.read(table_path)
    if table is None:
        problems[table_path] = MISSING
    elif about_path not in problems:
        digest = about.get("utterances_sha256")
        if (digest and sha256(table) != digest) or _or_nothing(lambda: read_utterances(table, about)) is None:
            problems[table_path] = DAMAGED
    return problems


def _or_nothing(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ValueError:
        return None


# Without its mark


def _is_unmarked(store: Folder) -> bool:
    """Whether a store whose store.json does not say so is that of an export: none of its stages has predictions, and
    it has decisions and no trace of a launch or, with a store.json, lies beside corpora without shards."""
    if read_json(store, "store.json") is None:
        try:
            folders = set(store.folders())
        except FolderError:  # it is a file, which is told where it is used
            return False
        is_like_one = {"decisions", "stages"} <= folders <= {"corpora", "decisions", "stages"}
    else:
        is_like_one = store.is_local and _beside_exported_data(store)
    if not is_like_one:
        return False
    stages = [entry.path for entry in store.entries("stages", recursive=True)]
    return bool(stages) and all(path.name == "stage.json" for path in stages)


def _beside_exported_data(store: Folder) -> bool:
    data = store.parent / DATA_FOLDER
    manifests = [parsed((data / name).read("manifest.json")) for name in data.folders()]
    return any("shards" not in manifest for manifest in manifests if manifest is not None)
