"""The stage store: content-addressed, the one truth for resuming and for analysis.

    store.json                                  what this folder is, and its schema
    corpora/<name>/corpus.json                  the prepared corpus that stages refer to, without its shards
    corpora/<name>/utterances.parquet
    corpora/<name>/folds-<digest>.json          a list of folds that stages refer to
    stages/<key>/predictions-<sha256>.parquet   one row a segment: utterance, segment, test, q
    stages/<key>/weights-<sha256>.safetensors   the network, where the grid keeps weights
    stages/<key>/stage.json                     identity, metrics, history, timing, versions; written last
    checkpoints/<key>                           the state of an unfinished training
    failures/<key>.json                         why a stage could not be trained
    decisions/<key>                             decisions on utterances that analysis made; may be deleted, except
                                                where store.json says `results_only`: then no predictions are there
    leases/<launch>.json                        what a running launch is computing (sweep.storage.lease)
    events/<launch>.jsonl                       what happened in a launch (sweep.storage.events)
    shares/<kind>.json                          the share of a GPU that trainings of a kind need (sweep.storage.shares)
    shares/<kind>-on-<share>.json               how many of them side by side a share turned out to hold

A stage is there when its stage.json is: everything it names was written before. Files appear whole, or not at all.
No module outside this room knows the paths. A store is anywhere that `data_prep.folders.Folder` may be.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep import shards
from data_prep.checked import checked_manifest, parsed, read_utterances
from data_prep.errors import FolderError, UserError
from data_prep.fold_lists import with_lists
from data_prep.folders import Folder
from data_prep.shards import PreparedCorpus, sha256
from sweep.planning.stages import StageSpec
from sweep.storage.files import as_json, read_checked, read_json, write_checked, write_json
from sweep.storage.listed_folds import keep_list, kept_lists
from sweep.storage.predictions import Predictions, decode_predictions, encode_predictions
from sweep.storage.records import described_files, is_record
from sweep.storage.results_alone import check_store

SCHEMA_VERSION = 1
FOLDERS = {"corpora", "stages", "checkpoints", "failures", "decisions", "leases", "events", "shares"}


class StoreError(UserError):
    """The store cannot be used, or a stage in it is damaged."""


class NewerSchemaError(StoreError):
    """Something in the store was written by a newer version."""


class Store:
    """A stage store at a place, or in a folder. Nothing is written before something is saved."""

    def __init__(self, place: str | Path | Folder) -> None:
        try:
            self.folder = place if isinstance(place, Folder) else Folder(place)
        except FolderError as error:
            raise StoreError(f"store {error}") from error
        self.uri = self.folder.uri
        self._shapes: dict[str, tuple[int, int]] = {}  # of its corpora, which never change
        about = read_json(self.folder, "store.json")
        self._refuse_newer(f"store {self.uri}", about)
        self.results_only: dict[str, Any] | None = (about or {}).get("results_only")  # what decided, if it has no more

    @property
    def exists(self) -> bool:
        """Whether there is a store here: store.json, or a stage."""
        return self.is_named or bool(self.keys_like(""))

    @property
    def is_named(self) -> bool:
        """Whether its store.json is there, which something that tidies up may have taken away."""
        return read_json(self.folder, "store.json") is not None

    def create(self) -> None:
        """Make this a store, unless it is one. Raises StoreError where other files lie there, or only results."""
        self.require_predictions()
        if self.is_named:
            return
        try:
            files, folders = self.folder.entries(), self.folder.folders()
        except FolderError as error:
            raise StoreError(f"store {error}") from error
        others = [entry for entry in files if entry.path.name != "store.json"]  # which may be damaged
        if (others or not set(folders) <= FOLDERS) and not self.is_named:  # nor has another launch made it meanwhile
            raise StoreError(f"{self.uri} holds other files and is not a store; give an empty or new folder")
        write_json(self.folder, "store.json", {"kind": "ser-sweep store", "schema": SCHEMA_VERSION})

    def create_results_only(self, decided_by: dict[str, Any]) -> None:
        """Make this a store of stages without predictions, beside decisions that `decided_by` made."""
        about = {"kind": "ser-sweep store", "schema": SCHEMA_VERSION, "results_only": decided_by}
        write_json(self.folder, "store.json", about)
        self.results_only = decided_by

    def check_results(self) -> None:
        """Raise UserError where it is of results alone and not whole: their files, or the mark that they are."""
        check_store(self.folder, self.results_only)

    def require_predictions(self) -> None:
        """Raise UserError where it holds results only."""
        if not self.results_only:
            self.check_results()
        else:
            raise StoreError(
                f"store {self.uri} holds results only, written by ser-sweep store export --decisions; they are "
                "enough for tables, claims, audits, figures, reports, best and compare. For all else, give the store"
            )

    def check_writable(self) -> None:
        """Raise StoreError where a folder of it on a disk cannot be written to, such as one that another user made."""
        if not self.folder.is_local:
            return
        name = f".{uuid.uuid4().hex}.tmp"  # as of a write that was cut off, if this is
        for folder in (".", *self.folder.folders()):
            file = name if folder == "." else f"{folder}/{name}"
            try:
                self.folder.write(file, b"", durable=False)
                self.folder.delete(file)
            except OSError as error:
                raise StoreError(
                    f"store {self.uri}: {folder} cannot be written to ({error.strerror or error}); if several users "
                    "share it, let their group write to all of it: chmod -R g+rwX, and chmod g+s its folders"
                ) from error

    # Stages

    def done_keys(self) -> set[str]:
        """The keys of all stages that are there: stage.json can be read, and the files it names have the right size."""
        return {record["key"] for record in self.records()}

    def records(self) -> Iterator[dict[str, Any]]:
        """stage.json of every stage that is there. Raises NewerSchemaError where a newer version wrote one of them."""
        sizes = {(e.path.parent.name, e.path.name): e.size for e in self.folder.entries("stages", recursive=True)}
        keys = [key for key, name in sizes if name == "stage.json"]
        contents = self.folder.read_all(f"stages/{key}/stage.json" for key in keys)
        for key, content in zip(keys, contents, strict=True):
            record = self._record(key, parsed(content))
            described = [] if record is None or self.results_only else described_files(record).values()
            if record is not None and all(one and sizes.get((key, one["file"])) == one["bytes"] for one in described):
                yield {**record, "key": key}

    def copy_results(self, keys: Iterable[str], corpora: Iterable[str], into: "Store") -> None:
        """Copy stage.json of the stages `keys`, and `corpora`, to another store. Raises StoreError if one is gone."""
        names = [f"corpora/{name}/{file}" for name in corpora for file in ("utterances.parquet", "corpus.json")]
        names += [path for name in corpora for path, found in kept_lists(self.folder, name).items() if found]
        names += [f"stages/{key}/stage.json" for key in keys]
        for name, content in zip(names, self.folder.read_all(names), strict=True):
            if content is None:
                raise StoreError(f"store {self.uri} has lost {name} meanwhile; repeat the export")
            into.folder.write(name, content)

    def keys_like(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`, of stages that are there."""
        paths = [entry.path for entry in self.folder.entries("stages", recursive=True)]
        return sorted(
            path.parent.name for path in paths if path.name == "stage.json" and path.parent.name.startswith(prefix)
        )

    def has(self, key: str) -> bool:
        """Whether a stage is there, undamaged."""
        return self.read_predictions(key) is not None

    def read_stage(self, key: str) -> dict[str, Any] | None:
        """A stage's stage.json; None where it is missing or damaged.

        Raises NewerSchemaError for one that a newer version wrote: to train it again would not make it readable.
        """
        return self._record(key, read_json(self.folder, f"stages/{key}/stage.json"))

    def _record(self, key: str, found: dict[str, Any] | None) -> dict[str, Any] | None:
        self._refuse_newer(f"stage {key} in store {self.uri}", found)
        return found if found is not None and is_record(found) else None

    def read_stage_file(self, key: str, file: str) -> bytes | None:
        """A file beside a stage's stage.json as it is, unchecked; None where there is none."""
        return self.folder.read(f"stages/{key}/{file}")

    def read_predictions(self, key: str, record: dict[str, Any] | None = None) -> Predictions | None:
        """A stage's predictions, checked against their checksum and their corpus; None where the stage is missing or
        damaged.

        `record` is its stage.json, where that was read before."""
        record = record or self.read_stage(key) or {}
        try:
            predictions = decode_predictions(self._read_described(key, record.get("predictions")) or b"")
        except ValueError:
            return None
        identity = record.get("identity")
        shape = None if identity is None else self._shape_of(identity["corpus"])
        if shape is None:
            return predictions
        utterances, classes = shape
        fits = predictions.utterance.max() < utterances and predictions.q.shape[1] == classes
        return predictions if fits else None

    def _shape_of(self, corpus: str) -> tuple[int, int] | None:
        """Utterances and classes of a corpus; None where the store does not hold it."""
        if corpus not in self._shapes:
            try:
                about = checked_manifest(read_json(self.folder, f"corpora/{corpus}/corpus.json"))
            except ValueError:
                return None
            self._shapes[corpus] = about["utterances"], len(about["classes"])
        return self._shapes[corpus]

    def read_weights(self, key: str) -> bytes | None:
        """A stage's network as safetensors, checked; None where it was not kept, or is missing or damaged."""
        return self._read_described(key, (self.read_stage(key) or {}).get("weights"))

    def _read_described(self, key: str, described: dict[str, Any] | None) -> bytes | None:
        """A file that stage.json describes; None where it does not, or where it is missing, or not what was written."""
        if described is None:
            return None
        content = self.read_stage_file(key, described["file"])
        return content if content is not None and sha256(content) == described["sha256"] else None

    def commit(
        self, stage: StageSpec, predictions: Predictions, facts: dict[str, Any], weights: bytes | None = None
    ) -> bool:
        """Save a finished stage: its predictions and weights, then stage.json with its identity and `facts`.

        Returns whether this is the commit that stands: of several the first does, as far as the storage can swap files.
        """
        seen = self.folder.read(f"stages/{stage.key}/stage.json")
        if seen is not None and self.has(stage.key):
            self._tidy_up_after(stage.key)
            return False
        files = {
            "predictions": self._write_described(stage.key, "predictions", "parquet", encode_predictions(predictions))
        }
        if weights is not None:
            files["weights"] = self._write_described(stage.key, "weights", "safetensors", weights)
        record = {
            "schema": SCHEMA_VERSION,
            "key": stage.key,
            "identity": stage.identity,
            "iteration": stage.iteration,
            **files,
            **facts,
        }
        stands = self._commit_first(stage.key, as_json(record), seen)
        self._tidy_up_after(stage.key)
        return stands

    def _commit_first(self, key: str, record: bytes, seen: bytes | None) -> bool:
        """Write a stage.json in place of what was `seen`, of a stage that is not whole, unless another did."""
        file = f"stages/{key}/stage.json"
        while not self.folder.swap(file, record, seen):
            seen = self.folder.read(file)
            if self.has(key):
                return False
        return True

    def _tidy_up_after(self, key: str) -> None:
        self._tidy_up(f"checkpoints/{key}", f"failures/{key}.json")

    def _tidy_up(self, *names: str) -> None:
        """Take files away that nobody needs, or leave them where they are another user's."""
        for name in names:
            with contextlib.suppress(OSError):
                self.folder.delete(name)

    def _write_described(self, key: str, kind: str, suffix: str, content: bytes) -> dict[str, Any]:
        digest = sha256(content)
        file = f"{kind}-{digest[:12]}.{suffix}"
        self.folder.write(f"stages/{key}/{file}", content)
        return {"file": file, "sha256": digest, "bytes": len(content)}

    def damaged(self, keys: Iterable[str]) -> list[str]:
        """The stages among `keys` whose predictions are not what was committed. They stay until they are committed
        anew: another launch may be about to do so."""
        asked = list(keys)
        return [key for key, whole in zip(asked, self.folder.each(self.has, asked), strict=True) if not whole]

    def delete_stage(self, key: str) -> None:
        """Take a stage out: stage.json first, so that what is left if this is interrupted is no stage."""
        self.folder.delete(f"stages/{key}/stage.json", durable=True)
        self.folder.delete_folder(f"stages/{key}")

    # Unfinished and failed stages

    def read_checkpoint(self, key: str) -> bytes | None:
        """The state of an unfinished training; None where there is none, or a damaged one."""
        return read_checked(self.folder, f"checkpoints/{key}")

    def write_checkpoint(self, key: str, state: bytes) -> None:
        """Keep the state of a stage's unfinished training."""
        write_checked(self.folder, f"checkpoints/{key}", state)

    def discard_leftovers(self, keys: Iterable[str]) -> None:
        """Take checkpoints and failures of stages away that are there: of launches that were killed before they could,
        and of trials that went on when another had committed already."""
        there = set(keys)
        paths = [entry.path for folder in ("checkpoints", "failures") for entry in self.folder.entries(folder)]
        self._tidy_up(*(str(path) for path in paths if path.stem in there))

    def note_failure(self, key: str, cause: str) -> None:
        """Note why a stage could not be trained; a store that cannot be written goes without."""
        with contextlib.suppress(OSError):
            write_json(self.folder, f"failures/{key}.json", {"cause": cause})

    def read_failure(self, key: str) -> str | None:
        """Why a stage could not be trained; None where nothing is noted, or the note is damaged."""
        return _cause(self.folder.read(f"failures/{key}.json"))

    def failures(self) -> dict[str, str]:
        """Key -> cause, of the stages that could not be trained the last time they were tried."""
        paths = [entry.path for entry in self.folder.entries("failures")]
        contents = self.folder.read_all(map(str, paths))
        causes = zip(paths, map(_cause, contents), strict=True)
        return {path.stem: cause for path, cause in causes if cause is not None}

    # Decisions, kept because forests take long

    def read_decisions(self, key: str) -> bytes | None:
        """Decisions that were made before; None where there are none, or damaged ones."""
        return read_checked(self.folder, f"decisions/{key}")

    def decision_keys(self) -> set[str]:
        """The keys of all decisions that are kept."""
        return {entry.path.name for entry in self.folder.entries("decisions")}

    def write_decisions(self, key: str, content: bytes) -> None:
        """Keep decisions; a store that cannot be written goes without, unless it has nothing else."""
        with contextlib.nullcontext() if self.results_only else contextlib.suppress(OSError):
            write_checked(self.folder, f"decisions/{key}", content)

    # Corpora

    def check_corpus(self, prepared: PreparedCorpus, asked_for: str) -> None:
        """Raise StoreError where the store's stages are of another preparation of the same corpus.

        A grid that names the preparation in full has chosen it, and may add it.
        """
        if not self.exists or asked_for == prepared.name:
            return
        others = [name for name in self.corpora() if name.rpartition("-")[0] == prepared.corpus]
        if others and prepared.name not in others:
            raise StoreError(
                f"store {self.uri} belongs to other data: it holds {', '.join(others)}, and {prepared.folder.parent} "
                f"holds {prepared.name}. Use another --store or --data; to keep both in one store, write "
                f"{prepared.name} in the grid's corpora"
            )

    def corpora(self) -> list[str]:
        """The full names of the corpora that its stages refer to, sorted."""
        paths = [entry.path for entry in self.folder.entries("corpora", recursive=True)]
        return sorted(path.parent.name for path in paths if path.name == "corpus.json")

    def add_corpus(self, prepared: PreparedCorpus) -> None:
        """Note the corpus and the list of folds that stages refer to, so that analysis needs nothing but the store. A
        damaged note is made again."""
        try:
            self.read_corpus(prepared.name)
        except (StoreError, ValueError, OSError):  # what Arrow raises of a file that was cut off
            self.folder.write(f"corpora/{prepared.name}/utterances.parquet", prepared.utterances_file())
            about = {name: value for name, value in prepared.manifest.items() if name != "shards"}
            write_json(self.folder, f"corpora/{prepared.name}/corpus.json", about)
        if prepared.fold_list is not None:
            keep_list(self.folder, prepared.name, prepared.fold_list)

    def read_corpus(self, name: str) -> tuple[dict[str, Any], pd.DataFrame]:
        """The manifest (without shards) and the utterances of a corpus in the store, with its lists of folds.

        Raises StoreError.
        """
        about = read_json(self.folder, f"corpora/{name}/corpus.json")
        self._refuse_newer(f"corpus {name} in store {self.uri}", about, shards.SCHEMA_VERSION)
        content = self.folder.read(f"corpora/{name}/utterances.parquet")
        if about is None or content is None:
            remedy = shards.RESTORE if self.results_only else "ser-sweep run adds it"
            raise StoreError(f"store {self.uri} does not hold corpus {name}; {remedy}")
        try:
            about = checked_manifest(about)
            lists = filter(None, kept_lists(self.folder, name).values())
            return about, with_lists(read_utterances(content, about), lists)
        except ValueError as error:
            remedy = shards.RESTORE if self.results_only else "ser-sweep run adds it again"
            raise StoreError(f"corpus {name} in store {self.uri} is damaged ({error}); {remedy}") from error

    def delete_corpus(self, name: str) -> None:
        """Take a corpus out: corpus.json first, so that what is left if this is interrupted is no corpus."""
        self.folder.delete(f"corpora/{name}/corpus.json", durable=True)
        self.folder.delete_folder(f"corpora/{name}")

    def _refuse_newer(self, what: str, about: dict[str, Any] | None, known: int = SCHEMA_VERSION) -> None:
        schema = (about or {}).get("schema")
        if isinstance(schema, int) and schema > known:
            raise NewerSchemaError(
                f"{what} was written by a newer ser-sweep (schema {schema}, this one knows {known}); upgrade to use it"
            )


def _cause(failure: bytes | None) -> str | None:
    return (parsed(failure) or {}).get("cause")
