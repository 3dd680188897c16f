"""Looking after a store: what in it is damaged or does not belong there, and what no grid needs.

ser-sweep store verify --store STORE --repair
ser-sweep store gc GRID.yaml --data DATA --store STORE --delete
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.arrays import Ints
from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from data_prep.files import canonical_hash
from data_prep.folders import Entry
from data_prep.progress import Progress, no_progress
from data_prep.shards import segment_count_of, sha256
from data_prep.text import counted
from sweep.machine import THIS_MACHINE, Machine
from sweep.planning.stages import KEY_LENGTH, StageSpec
from sweep.storage.events import new_launch
from sweep.storage.inventory import inventory_of
from sweep.storage.lease import EXPIRES_SECONDS, LEASES, UPKEEP, Lease
from sweep.storage.listed_folds import kept_lists, list_path
from sweep.storage.predictions import Predictions, decode_predictions
from sweep.storage.records import described_files
from sweep.storage.store import NewerSchemaError, Store, StoreError

DAY = 24 * 3600.0
AT_ONCE = 8  # files that are in memory together while an object store is read: weights and checkpoints are large


# Verify


class Remedy(StrEnum):
    """What becomes of a problem: the last is what `repair` leaves, and the others say what then makes it good."""

    TRAIN = "train"  # a stage: the next run trains it again
    NAME = "name"  # the store itself: its store.json is written again
    ADD_CORPUS = "add corpus"  # the store's copy of a corpus: the next run adds it again
    NOTHING = "nothing"  # nobody needs it
    NOT_HERE = "not here"  # it cannot be repaired from the store alone, and what there is should be kept


@dataclass(frozen=True)
class Problem:
    """What is wrong with the file or the folder `path` of a store."""

    path: str
    what: str
    remedy: Remedy


@dataclass(frozen=True)
class _Corpus:
    """What predictions on a corpus must fit: its number of classes, and the segments of each utterance, int [U]. And
    the paths of the lists of folds that are with it."""

    classes: int
    segments: Ints
    lists: frozenset[str]


def verify(store: Store, progress: Progress = no_progress, alone: bool = False) -> list[Problem]:
    """Everything in the store that is damaged or does not belong there, found by reading all of it.

    While a launch runs, files less than a day old that no stage.json names are its own, and no problem; none does where
    the caller has the store `alone`.
    """
    store.require_predictions()
    busy = not alone and bool(running_launches(store))
    inventory = inventory_of(store)
    corpora, problems = _check_corpora(store, inventory.get("corpora", {}), busy)
    if not store.is_named:
        problems.append(Problem("store.json", "missing or damaged", Remedy.NAME))
    stages = inventory.get("stages", {})
    check = partial(_check_stage, store, corpora=corpora, busy=busy)
    homeless: Counter[str] = Counter()
    for number, (found, stage) in enumerate(store.folder.each(check, stages.items(), AT_ONCE)):
        progress("stages", number, len(stages))
        problems += found
        homeless.update(_without(stage, corpora))
    progress("stages", len(stages), len(stages))
    problems += [_missing(path, count) for path, count in sorted(homeless.items())]
    problems += _check_others(store, inventory, progress)
    problems += [
        Problem(str(entry.path), "left over from a write that was cut off", Remedy.NOTHING)
        for entry in _old(store.folder.unfinished())
    ]
    return problems


def repair(store: Store, problems: Collection[Problem], machine: Machine = THIS_MACHINE) -> list[Problem]:
    """Make good, or take away, what `verify` found; returns what stays as it is, because the store alone cannot do it.

    A launch may have been there since: what is no problem any more stays, too. Raises StoreError while one runs.
    """
    with had_alone(store, machine):
        return _repair(store, [problem for problem in verify(store, alone=True) if problem in problems])


def _repair(store: Store, problems: Iterable[Problem]) -> list[Problem]:
    left = []
    for problem in problems:
        name = problem.path.rpartition("/")[2]
        if problem.remedy is Remedy.TRAIN:
            store.delete_stage(name)
        elif problem.remedy is Remedy.NAME:
            store.create()
        elif problem.remedy is Remedy.ADD_CORPUS:
            store.delete_corpus(name)
        elif problem.remedy is Remedy.NOTHING:
            store.folder.delete(problem.path)
        else:
            left.append(problem)
    return left


def _check_corpora(
    store: Store, found: Mapping[str, Sequence[Entry]], busy: bool
) -> tuple[dict[str, _Corpus | None], list[Problem]]:
    """The store's corpora, None for those that cannot be used, and what is wrong with them."""
    corpora: dict[str, _Corpus | None] = {}
    problems = []
    for name, entries in found.items():
        if all(entry.path.name != "corpus.json" for entry in entries):
            problems += _cut_off(entries, busy)
            continue
        corpora[name] = None
        try:
            corpora[name] = _read_corpus(store, name)
        except NewerSchemaError as error:
            problems.append(Problem(f"corpora/{name}", str(error), Remedy.NOT_HERE))
        except (UserError, pa.ArrowException, ValueError, KeyError, TypeError, OSError) as error:
            what = f"damaged ({error}); ser-sweep run adds it again"
            problems.append(Problem(f"corpora/{name}", what, Remedy.ADD_CORPUS))
        problems += [
            Problem(path, "damaged; ser-sweep run of a grid with these folds adds it again", Remedy.NOTHING)
            for path, found in kept_lists(store.folder, name).items()
            if found is None
        ]
    return corpora, problems


def _read_corpus(store: Store, name: str) -> _Corpus:
    """Raises what reading damaged files raises."""
    about, utterances = store.read_corpus(name)
    if f"{about['corpus']}-{about['fingerprint']}" != name:
        raise ValueError(f"corpus.json is of {about['corpus']}-{about['fingerprint']}")
    content = store.folder.read(f"corpora/{name}/utterances.parquet") or b""
    if about.get("utterances_sha256", sha256(content)) != sha256(content):
        raise ValueError("utterances.parquet is not what its checksum says")
    segments = segment_count_of(utterances, FeatureSettings(**about["settings"]))
    if segments.sum() != about["segments"]:
        raise ValueError(f"utterances.parquet has {segments.sum()} segments, corpus.json {about['segments']}")
    lists = frozenset(path for path, found in kept_lists(store.folder, name).items() if found is not None)
    return _Corpus(len(about["classes"]), segments, lists)


def _without(stage: StageSpec | None, corpora: Mapping[str, _Corpus | None]) -> Iterator[str]:
    """What a whole stage refers to and the store does not have: its corpus, or its list of folds."""
    if stage is None:
        return
    if stage.corpus not in corpora:
        yield f"corpora/{stage.corpus}"
        return
    known = corpora[stage.corpus]
    if stage.listed is not None and known is not None:
        path = list_path(stage.corpus, stage.listed.digest)
        if path not in known.lists:
            yield path


def _missing(path: str, stages: int) -> Problem:
    """Stages are kept although what they refer to is gone: they are whole, and a run with the data adds it again."""
    what = (
        f"not in the store, which has {counted(stages, 'stage')} of it; ser-sweep run with its data adds it, and "
        "ser-sweep store gc removes what no grid needs"
    )
    return Problem(path, what, Remedy.NOT_HERE)


def _check_stage(
    store: Store, item: tuple[str, Sequence[Entry]], corpora: Mapping[str, _Corpus | None], busy: bool
) -> tuple[list[Problem], StageSpec | None]:
    """What is wrong with a stage's folder, and the stage where it is whole."""
    key, entries = item
    if all(entry.path.name != "stage.json" for entry in entries):
        return _cut_off(entries, busy), None
    path = f"stages/{key}"
    try:
        record = store.read_stage(key)
        if record is None:
            return [Problem(path, "stage.json is damaged", Remedy.TRAIN)], None
        stage = _stage_of(record, key)
        if stage is None:
            foreign = "foreign: its folder is not named after the identity in stage.json"
            return [Problem(path, foreign, Remedy.TRAIN)], None
        what = _wrong_with(store, key, stage, record, corpora.get(stage.corpus))
    except NewerSchemaError as error:
        return [Problem(path, str(error), Remedy.NOT_HERE)], None
    if what is not None:
        return [Problem(path, what, Remedy.TRAIN)], None
    named = {"stage.json"} | {described["file"] for described in described_files(record).values() if described}
    return _cut_off([entry for entry in entries if entry.path.name not in named], busy), stage


def _stage_of(record: dict[str, Any], key: str) -> StageSpec | None:
    """The stage of a stage.json; None where it is not the one that its folder is named after.

    Raises NewerSchemaError where an identity that fits its key has fields unknown here.
    """
    identity = record.get("identity")
    try:
        named_after_it = canonical_hash(identity, KEY_LENGTH) == key
    except ValueError:  # NaN, which no identity has
        named_after_it = False
    if not named_after_it or not isinstance(identity, dict):
        return None
    try:
        return StageSpec.of_identity(identity)
    except (KeyError, TypeError) as error:
        raise NewerSchemaError(f"its identity is of a newer ser-sweep ({error}); upgrade to use it") from error


def _wrong_with(store: Store, key: str, stage: StageSpec, record: dict[str, Any], corpus: _Corpus | None) -> str | None:
    """What is wrong with a stage's files; None where nothing is."""
    for kind, described in described_files(record).items():
        if described is None:
            return f"stage.json does not describe its {kind}"
        content = store.read_stage_file(key, described["file"])
        if content is None:
            return f"its {kind} are missing"
        if len(content) != described["bytes"]:
            return f"its {kind} are damaged: {len(content):,} bytes, not {described['bytes']:,}"
        if sha256(content) != described["sha256"]:
            return f"its {kind} are damaged: not what their checksum says"
        if kind == "predictions":
            what = _wrong_with_predictions(content, stage, corpus)
            if what is not None:
                return what
    return None


def _wrong_with_predictions(content: bytes, stage: StageSpec, corpus: _Corpus | None) -> str | None:
    """What is wrong with predictions that are as they were written; `corpus` None leaves out what depends on it."""
    try:
        predictions = decode_predictions(content)
    except ValueError as error:
        return f"its predictions cannot be read: {error}"
    if corpus is None:
        return None
    q = predictions.q
    if q.shape[1] != corpus.classes:
        return f"foreign: predictions of {q.shape[1]} classes, and the corpus has {corpus.classes}"
    if not _covers_its_utterances(predictions, corpus.segments, stage.training.every):
        return "foreign: its predictions are not of the corpus's segments"
    return None


def _covers_its_utterances(predictions: Predictions, segments: Ints, every: int) -> bool:
    """Whether the rows are, in order, every `every`-th segment of each utterance that has any."""
    utterances = np.unique(predictions.utterance)
    if not len(utterances) or utterances[0] < 0 or utterances[-1] >= len(segments):
        return False
    expected = [np.arange(0, count, every) for count in segments[utterances]]
    of = np.repeat(utterances, [len(each) for each in expected])
    return np.array_equal(predictions.utterance, of) and np.array_equal(predictions.segment, np.concatenate(expected))


def _check_others(
    store: Store, inventory: Mapping[str, Mapping[str, Sequence[Entry]]], progress: Progress
) -> list[Problem]:
    """Damaged checkpoints, decisions and notes of failures: as good as none."""
    readers: dict[str, Callable[[str], object]] = {
        "checkpoints": store.read_checkpoint,
        "decisions": store.read_decisions,
        "failures": store.read_failure,
    }
    problems = []
    for kind, read in readers.items():
        found = {name: entries[0] for name, entries in inventory.get(kind, {}).items()}
        contents = store.folder.each(read, found, AT_ONCE)
        for number, (entry, content) in enumerate(zip(found.values(), contents, strict=True)):
            progress(kind, number + 1, len(found))
            # A running launch may have finished with it since it was listed.
            if content is None and store.folder.modified(str(entry.path)) is not None:
                problems.append(Problem(str(entry.path), "damaged", Remedy.NOTHING))
    return problems


def _cut_off(entries: Iterable[Entry], busy: bool) -> list[Problem]:
    """Files that nothing names: what is left of commits that were cut off, or commits that a launch is about to end."""
    what = "left over from a commit that was cut off"
    return [Problem(str(entry.path), what, Remedy.NOTHING) for entry in (_old(entries) if busy else entries)]


def _old(entries: Iterable[Entry]) -> list[Entry]:
    """Those that nobody is still writing."""
    now = time.time()
    return [entry for entry in entries if now - entry.modified > DAY]


# Garbage


Garbage = Mapping[str, Mapping[str, Sequence[Entry]]]  # kind -> the key or the corpus it is of -> its files


def find_garbage(
    store: Store, needed: Mapping[str, StageSpec], decisions: Collection[str], corpora: Collection[str]
) -> Garbage:
    """What is there beyond the stages `needed` (by key), the `decisions` that can be used again, and `corpora`.

    Of the stages that are needed, those that are done need neither checkpoint nor failure any more.
    """
    store.require_predictions()
    inventory = inventory_of(store)
    unfinished = needed.keys() - store.done_keys()
    kept: dict[str, Collection[str]] = {  # in the order in which they are deleted: a stage is never without its corpus
        "decisions": decisions,
        "checkpoints": unfinished,
        "failures": unfinished,
        "stages": needed,
        "corpora": corpora,
    }
    files: dict[str, dict[str, Sequence[Entry]]] = {
        kind: {name: entries for name, entries in inventory.get(kind, {}).items() if name not in names}
        for kind, names in kept.items()
    }
    files["temporary"] = {str(entry.path): [entry] for entry in _old(store.folder.unfinished())}
    return {kind: found for kind, found in files.items() if found}


def delete_garbage(
    store: Store, garbage: Garbage, progress: Progress = no_progress, machine: Machine = THIS_MACHINE
) -> None:
    """Raises StoreError while a launch runs on the store: it may be about to use what is garbage to others."""
    with had_alone(store, machine):
        for kind, found in garbage.items():
            delete = partial(_delete, store, kind)
            for number, _ in enumerate(store.folder.each(delete, found.items())):
                progress(kind, number + 1, len(found))


def _delete(store: Store, kind: str, item: tuple[str, Sequence[Entry]]) -> None:
    name, entries = item
    if kind == "stages":
        store.delete_stage(name)
    elif kind == "corpora":
        store.delete_corpus(name)
    else:
        for entry in entries:
            store.folder.delete(str(entry.path))


# Alone with a store


def running_launches(store: Store) -> list[str]:
    """Launches, and upkeep, whose lease is not over as far as this machine's clock can tell."""
    now = time.time()
    return [e.path.stem for e in store.folder.entries(LEASES) if now - e.modified < EXPIRES_SECONDS]


@contextlib.contextmanager
def had_alone(store: Store, machine: Machine = THIS_MACHINE) -> Iterator[None]:
    """Have the store alone: launches that start meanwhile end with an error. Raises StoreError while one runs on it.

    A launch writes its lease before it looks at those of others, and so does this.
    """
    with Lease(store.folder, f"{UPKEEP}-{new_launch()}", machine=machine) as lease:
        busy = lease.others()
        if busy:
            raise StoreError(
                f"store {store.uri} is in use by {', '.join(sorted(busy))}; wait until it has ended, or "
                f"{EXPIRES_SECONDS:.0f} s if it was killed"
            )
        yield
