"""The stage store: content-addressed, the one truth for resuming and for analysis.

    store.json                                  what this folder is, and its schema
    corpora/<name>/corpus.json                  the prepared corpus that stages refer to, without its shards
    corpora/<name>/utterances.parquet
    stages/<key>/predictions-<sha256>.parquet   one row a segment: utterance, segment, test, q
    stages/<key>/stage.json                     identity, metrics, history, timing, versions; written last
    checkpoints/<key>                           the state of an unfinished training
    failures/<key>.json                         why a stage could not be trained
    decisions/<key>                             decisions on utterances that analysis made; may be deleted

A stage is there when its stage.json is: everything it names was written before. Files appear whole, by a rename.
This module is the only one that knows the paths. A store is a local folder or any `pyarrow.fs` address (s3://...).
"""

import contextlib
import hashlib
import io
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from data_prep.errors import UserError
from data_prep.shards import PreparedCorpus
from sweep.stages import StageSpec

SCHEMA_VERSION = 1
DIGEST_BYTES = 32


class StoreError(UserError):
    """The store cannot be used, or a stage in it is damaged."""


@dataclass(frozen=True)
class Predictions:
    """What a stage predicts: for each of S segments its `utterance` (row of the corpus's utterances), `segment` number,
    whether it is of a `test` utterance, and `q` float32 [S, K]."""

    utterance: np.ndarray
    segment: np.ndarray
    test: np.ndarray
    q: np.ndarray


class Store:
    """A stage store at `uri`. Nothing is written before something is saved."""

    def __init__(self, uri: str | Path) -> None:
        # Trials run in other folders than the command does.
        self.uri = str(uri) if "://" in str(uri) else str(Path(uri).absolute())
        try:
            self._files, root = fs.FileSystem.from_uri(self.uri)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"store {self.uri} cannot be reached: {error}") from error
        self._root = PurePosixPath(root)
        self._check_schema()

    @property
    def exists(self) -> bool:
        return self._read_json("store.json") is not None

    def create(self) -> None:
        """Make this a store, unless it is one. Raises StoreError where other files lie there."""
        if self.exists:
            return
        if self._list("."):
            raise StoreError(f"{self.uri} holds other files and is not a store; give an empty or new folder")
        self._write_json("store.json", {"kind": "ser-sweep store", "schema": SCHEMA_VERSION})

    # Stages

    def done_keys(self) -> set[str]:
        """The keys of all stages that are there: stage.json can be read, and the file it names has the right size."""
        sizes = {(path.parent.name, path.name): size for path, size in self._list("stages", recursive=True)}
        return {key for key, name in sizes if name == "stage.json" and self._looks_whole(key, sizes)}

    def _looks_whole(self, key: str, sizes: dict[tuple[str, str], int]) -> bool:
        described = self._predictions_of(key)
        return described is not None and sizes.get((key, described["file"])) == described["bytes"]

    def _predictions_of(self, key: str) -> dict[str, Any] | None:
        """File, checksum and size of a stage's predictions; None where stage.json is missing or damaged."""
        described = (self.read_stage(key) or {}).get("predictions")
        whole = isinstance(described, dict) and {"file", "sha256", "bytes"} <= described.keys()
        return described if whole else None

    def read_stage(self, key: str) -> dict[str, Any] | None:
        """A stage's stage.json; None where it is missing or damaged."""
        return self._read_json(f"stages/{key}/stage.json")

    def read_predictions(self, key: str) -> Predictions | None:
        """A stage's predictions, checked against their checksum; None where the stage is missing or damaged."""
        described = self._predictions_of(key)
        content = None if described is None else self._read(f"stages/{key}/{described['file']}")
        if described is None or content is None or hashlib.sha256(content).hexdigest() != described["sha256"]:
            return None
        table = pq.read_table(pa.BufferReader(content))
        q = table["q"].combine_chunks()
        return Predictions(
            utterance=table["utterance"].to_numpy(),
            segment=table["segment"].to_numpy(),
            test=table["test"].to_numpy(),
            q=q.flatten().to_numpy().reshape(len(q), -1),
        )

    def commit(self, stage: StageSpec, predictions: Predictions, facts: dict[str, Any]) -> None:
        """Save a finished stage: its predictions, then stage.json with its identity and `facts`."""
        content = _predictions_parquet(predictions)
        digest = hashlib.sha256(content).hexdigest()
        file = f"predictions-{digest[:12]}.parquet"
        self._write(f"stages/{stage.key}/{file}", content)
        record = {
            "schema": SCHEMA_VERSION,
            "key": stage.key,
            "identity": stage.identity,
            "iteration": stage.iteration,
            "predictions": {"file": file, "sha256": digest, "bytes": len(content)},
            **facts,
        }
        self._write_json(f"stages/{stage.key}/stage.json", record)
        self._delete(f"checkpoints/{stage.key}")
        self._delete(f"failures/{stage.key}.json")

    def discard_damaged(self, keys: Iterable[str]) -> list[str]:
        """Take the stages among `keys` out whose predictions are not what was committed; returns their keys."""
        damaged = [key for key in keys if self.read_predictions(key) is None]
        for key in damaged:
            self._delete(f"stages/{key}/stage.json")
        return damaged

    # Unfinished and failed stages

    def read_checkpoint(self, key: str) -> bytes | None:
        """The state of an unfinished training; None where there is none, or a damaged one."""
        return self._read_checked(f"checkpoints/{key}")

    def write_checkpoint(self, key: str, state: bytes) -> None:
        self._write_checked(f"checkpoints/{key}", state)

    def record_failure(self, key: str, cause: str) -> None:
        self._write_json(f"failures/{key}.json", {"cause": cause})

    def failures(self) -> dict[str, str]:
        """Key -> cause, of the stages that could not be trained the last time they were tried."""
        found = {}
        for path, _ in self._list("failures"):
            content = self._read_json(f"failures/{path.name}")
            if content is not None:
                found[path.stem] = content["cause"]
        return found

    # Decisions, kept because forests take long

    def read_decisions(self, key: str) -> bytes | None:
        """Decisions that were made before; None where there are none, or damaged ones."""
        return self._read_checked(f"decisions/{key}")

    def write_decisions(self, key: str, content: bytes) -> None:
        """Keep decisions; a store that cannot be written goes without."""
        with contextlib.suppress(OSError):
            self._write_checked(f"decisions/{key}", content)

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
        paths = [path for path, _ in self._list("corpora", recursive=True)]
        return sorted(path.parent.name for path in paths if path.name == "corpus.json")

    def add_corpus(self, prepared: PreparedCorpus) -> None:
        """Note the corpus that stages refer to, so that analysis needs nothing but the store."""
        if prepared.name in self.corpora():
            return
        content = (prepared.folder / "utterances.parquet").read_bytes()
        self._write(f"corpora/{prepared.name}/utterances.parquet", content)
        about = {name: value for name, value in prepared.manifest.items() if name != "shards"}
        self._write_json(f"corpora/{prepared.name}/corpus.json", about)

    def read_corpus(self, name: str) -> tuple[dict[str, Any], pd.DataFrame]:
        """The manifest (without shards) and the utterances of a corpus in the store. Raises StoreError."""
        about = self._read_json(f"corpora/{name}/corpus.json")
        content = self._read(f"corpora/{name}/utterances.parquet")
        if about is None or content is None:
            raise StoreError(f"store {self.uri} does not hold corpus {name}; ser-sweep run adds it")
        return about, pd.read_parquet(io.BytesIO(content))

    # Files

    def _check_schema(self) -> None:
        about = self._read_json("store.json")
        if about is not None and about.get("schema", 0) > SCHEMA_VERSION:
            raise StoreError(
                f"store {self.uri} was written by a newer ser-sweep (schema {about['schema']}, this one knows "
                f"{SCHEMA_VERSION}); upgrade to use it"
            )

    def _path(self, name: str) -> str:
        return str(self._root / name)

    def _list(self, folder: str, recursive: bool = False) -> list[tuple[PurePosixPath, int]]:
        """Paths and sizes of what a folder holds."""
        selector = fs.FileSelector(self._path(folder), recursive=recursive, allow_not_found=True)
        try:
            found = self._files.get_file_info(selector)
        except NotADirectoryError as error:
            raise StoreError(f"store {self.uri} is a file; give a folder") from error
        return [(PurePosixPath(info.path), info.size) for info in found if info.base_name[:1] != "."]

    def _read(self, name: str) -> bytes | None:
        try:
            with self._files.open_input_stream(self._path(name)) as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _read_checked(self, name: str) -> bytes | None:
        """What `_write_checked` wrote; None where it is missing or damaged."""
        written = self._read(name) or b""
        digest, content = written[:DIGEST_BYTES], written[DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def _write_checked(self, name: str, content: bytes) -> None:
        self._write(name, hashlib.sha256(content).digest() + content)

    def _read_json(self, name: str) -> dict[str, Any] | None:
        try:
            content = json.loads(self._read(name) or b"null")
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def _write(self, name: str, content: bytes) -> None:
        """Write a whole file: under a temporary name, then renamed; an object store's upload is atomic by itself."""
        target = self._path(name)
        if not isinstance(self._files, fs.LocalFileSystem):
            with self._files.open_output_stream(target) as stream:
                stream.write(content)
            return
        parent = PurePosixPath(target).parent
        self._files.create_dir(str(parent), recursive=True)
        temporary = str(parent / f".{uuid.uuid4().hex}.tmp")
        try:
            with self._files.open_output_stream(temporary) as stream:
                stream.write(content)
            self._files.move(temporary, target)
        except BaseException:
            self._delete_path(temporary)
            raise

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        self._write(name, text.encode() + b"\n")

    def _delete(self, name: str) -> None:
        self._delete_path(self._path(name))

    def _delete_path(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(path)


def _predictions_parquet(predictions: Predictions) -> bytes:
    q = pa.FixedSizeListArray.from_arrays(pa.array(predictions.q.ravel()), predictions.q.shape[1])
    table = pa.table(
        {
            "utterance": pa.array(predictions.utterance, pa.int32()),
            "segment": pa.array(predictions.segment, pa.int32()),
            "test": pa.array(predictions.test, pa.bool_()),
            "q": q,
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["utterance"])
    return buffer.getvalue()
