"""What a store gives away: predictions as one data set that DuckDB, polars and pandas read, or results alone.

    EXPORT/stages.parquet                                           one row a stage
    EXPORT/predictions/corpus=.../backbone=.../part-00000.parquet   one row a stage and segment

    RESULTS/grid.yaml                                               the grid
    RESULTS/data/<corpus>/                                          its corpora, prepared, without their shards
    RESULTS/store/                                                  its stages and decisions, without predictions
    RESULTS/SHA256SUMS                                              what these files must be

docs/store.md tells the columns, and shows how to ask for something.
"""

import io
import json
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.arrays import Ints
from data_prep.attributes import IN_RESULTS
from data_prep.errors import UserError
from data_prep.folders import Folder
from data_prep.progress import Progress, no_progress
from data_prep.shards import PreparedCorpus, sha256
from dsl.labels import labels_of
from sweep.planning.stages import StageSpec
from sweep.storage.listed_folds import names_of_lists
from sweep.storage.predictions import Predictions, as_parquet
from sweep.storage.results_alone import DATA_FOLDER, GRID_FILE, STORE_FOLDER, SUMS_FILE, sums_of
from sweep.storage.store import Store, StoreError
from sweep.storage.upkeep import AT_ONCE

PART_BYTES = 64 * 1024 * 1024  # a file is closed when it is larger: what is in memory at a time

# What tells a stage from another, beside the corpus and the backbone that the files are partitioned by.
IDENTITY: dict[str, pa.DataType] = {
    "stage": pa.string(),
    "split": pa.string(),
    "fold_list": pa.string(),
    "fold_list_digest": pa.string(),
    "folds": pa.int32(),
    "fold": pa.int32(),
    "seed": pa.int64(),
    "label_source": pa.string(),
    "rule": pa.string(),
    "alpha": pa.string(),
    "iteration": pa.int32(),
    "inner_fold": pa.int32(),
    "labels": pa.string(),
    "altered": pa.string(),
}
NUMBERS = ("segment", "probability", "q")  # of the predictions; a dictionary of them would only take room and time
# Of stage.json: what gets a prefix in stages.parquet, what has columns of its own, and what is left out.
PREFIXES = {"device": "device", "versions": "version"}
OWN_COLUMNS = ("classes", "segments", "revision", "history")
LEFT_OUT = ("schema", "key", "identity", "iteration", "predictions", "weights")


@dataclass(frozen=True)
class _Corpus:
    """Names of classes; for each utterance its row, and where its segments begin in `true_labels`, where it has any."""

    classes: tuple[str, ...]
    utterances: pd.DataFrame
    first: Ints
    true_labels: Ints | None


def export(store: Store, out: str | Path, keys: Collection[str] | None = None, progress: Progress = no_progress) -> int:
    """Write the stages `keys` (all, if None) as a data set; returns how many there were.

    On a disk `out` appears under its name when all is written; in an object store, stages.parquet comes last. One
    file's worth of rows is in memory at a time. Raises UserError where `out` holds something, StoreError for a stage
    that is damaged.
    """
    store.require_predictions()
    records = [record for record in store.records() if keys is None or record["key"] in keys]
    if not records:
        raise UserError(f"store {store.uri} holds no stage to export")
    names = names_of_lists(store.folder, store.corpora())
    rows = sorted((_stage_row(record, names) for record in records), key=_order)
    corpora = {name: _read_corpus(store, name) for name in {row["corpus"] for row in rows}}
    done = 0

    def read(row: dict[str, Any]) -> pa.Table:
        predictions = store.read_predictions(row["stage"])
        if predictions is None:
            raise StoreError(f"stage {row['stage']} is damaged; repair the store with: ser-sweep store verify --repair")
        return _prediction_table(row, predictions, corpora[row["corpus"]])

    def counted(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        nonlocal done
        for table in tables:
            yield table
            done += 1
            progress("stages", done, len(rows))

    with whole(Folder(out)) as folder:
        for (corpus, backbone), group in groupby(rows, key=lambda row: (row["corpus"], row["backbone"])):
            tables = store.folder.each(read, group, AT_ONCE)
            for number, part in enumerate(_parts(counted(tables))):
                folder.write(f"predictions/corpus={corpus}/backbone={backbone}/part-{number:05d}.parquet", part)
        folder.write("stages.parquet", as_parquet(_stages_table(rows)))
    return len(rows)


@contextmanager
def results_folder(
    out: str | Path, grid: str, corpora: Iterable[PreparedCorpus], beside: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Store]:
    """A block with the new, empty store of a folder of results, in which `grid` (its text), the files `beside` it (by
    their names) and `corpora` are already.

    `out` appears when the block ends. Raises UserError where it holds something.
    """
    with whole(Folder(out)) as folder:
        for name, text in {GRID_FILE: grid, **beside}.items():
            folder.write(name, text.encode())
        for one in corpora:
            manifest = {name: value for name, value in one.manifest.items() if name != "shards"}
            folder.write(f"{DATA_FOLDER}/{one.name}/utterances.parquet", one.utterances_file())
            folder.write(f"{DATA_FOLDER}/{one.name}/manifest.json", json.dumps(manifest, indent=1).encode())
        kept = Store((folder / STORE_FOLDER).uri)
        yield kept
        sums = sums_of(folder)
        folder.write(SUMS_FILE, sums)
        kept.create_results_only({**(kept.results_only or {}), "sums": sha256(sums)})


@contextmanager
def whole(out: Folder) -> Iterator[Folder]:
    """A folder to write to, which is `out` when the block ends; nothing of it stays where the block fails.

    Raises UserError where `out` holds something.
    """
    path = out.local_path("") if out.is_local else None
    if any(path.iterdir()) if path is not None and path.is_dir() else (out.entries() or out.folders()):
        raise UserError(f"{out} already exists; give an empty or new folder for the export")
    if path is None:
        try:
            yield out
        except BaseException:
            out.delete_folder("predictions")
            raise
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield Folder(temporary)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# Stages


def _stage_row(record: dict[str, Any], lists: Mapping[str, str]) -> dict[str, Any]:
    """A stage's row in stages.parquet; `lists` are the names of lists of folds, by digest. Metrics and timing go by
    their own names, unless the identity has that name."""
    stage = StageSpec.of_record(record)
    if stage is None:
        raise StoreError(
            f"stage {record['key']} is damaged, or of a newer ser-sweep; ser-sweep store verify tells which"
        )
    digest = "" if stage.listed is None else stage.listed.digest
    row = {
        "stage": record["key"],
        "corpus": stage.corpus,
        "backbone": stage.backbone,
        **{name: getattr(stage, name, "") for name in IDENTITY if name != "stage"},
        "fold_list": lists.get(digest, ""),
        "fold_list_digest": digest,
        "label_source": stage.label_source or "",
        "altered": stage.altered.text if stage.altered else "",
        "inner_folds": stage.inner_folds,
        **_flat(asdict(stage.training), "setting"),
        "weights": "weights" in record,
    }
    for name in OWN_COLUMNS:
        row[name] = record.get(name)
    for name, value in {**record.get("metrics", {}), **record.get("timing", {})}.items():
        row.setdefault(name, value)
    for name, value in record.items():
        if name not in (*LEFT_OUT, *OWN_COLUMNS, "metrics", "timing"):
            row |= _flat(value, PREFIXES.get(name, name))
    if isinstance(row.get("finished"), str):
        row["finished"] = datetime.fromisoformat(row["finished"])
    return row


def _flat(value: Any, name: str) -> dict[str, Any]:
    """Nested names joined by an underscore."""
    if not isinstance(value, dict):
        return {name: value}
    return {inner: found for key, each in value.items() for inner, found in _flat(each, f"{name}_{key}").items()}


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    """Files of one corpus and backbone together, and in them what is compared."""
    names = ("corpus", "backbone", "split", "labels", "rule", "alpha", "label_source", "seed", "iteration", "fold")
    return (*(row[name] for name in names), -1 if row["inner_fold"] is None else row["inner_fold"], row["stage"])


def _stages_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column([row.get(name) for row in rows], IDENTITY.get(name)) for name in names})


def _column(values: list[Any], kind: pa.DataType | None) -> "pa.Array[Any]":
    """As text where versions wrote values that do not agree on a type, or that Parquet has no type for."""
    try:
        found = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        found = None
    if found is None or _has_empty_struct(found.type):
        return pa.array([None if value is None else str(value) for value in values])
    return found


def _has_empty_struct(kind: pa.DataType) -> bool:
    inside = [kind.field(number).type for number in range(kind.num_fields)]
    return (pa.types.is_struct(kind) and not inside) or any(map(_has_empty_struct, inside))


# Predictions


def _read_corpus(store: Store, name: str) -> _Corpus:
    about, utterances = store.read_corpus(name)
    if "true_labels" not in utterances:
        return _Corpus(tuple(about["classes"]), utterances, np.zeros(len(utterances), np.int64), None)
    counts = utterances["true_labels"].map(len).to_numpy()
    first = np.cumsum(counts) - counts
    return _Corpus(tuple(about["classes"]), utterances, first, np.concatenate(utterances["true_labels"].to_list()))


def _prediction_table(row: dict[str, Any], predictions: Predictions, corpus: _Corpus) -> pa.Table:
    """The rows of a stage: its identity, and of each segment what it is, what it should be and what was predicted."""
    q, utterance = predictions.q, predictions.utterance
    label = labels_of(corpus.utterances, row["labels"], row["seed"])
    classes = pa.array(corpus.classes, pa.string())
    best: Ints = q.argmax(axis=1)
    if corpus.true_labels is None:
        true_emotion = pa.nulls(len(q), pa.string())
    else:
        true_emotion = classes.take(corpus.true_labels[corpus.first[utterance] + predictions.segment])
    return pa.table(
        {
            **{name: _repeated(row[name], kind, len(q)) for name, kind in IDENTITY.items()},
            "utterance": pa.array(corpus.utterances["id"], pa.string()).take(utterance),
            "speaker": pa.array(corpus.utterances["speaker"], pa.string()).take(utterance),
            **{column: _told(corpus.utterances, name).take(utterance) for name, column in IN_RESULTS.items()},
            "emotion": classes.take(label[utterance]),
            "true_emotion": true_emotion,
            "segment": pa.array(predictions.segment, pa.int32()),
            "test": pa.array(predictions.test, pa.bool_()),
            "predicted": classes.take(best),
            "probability": pa.array(q[np.arange(len(q)), best], pa.float32()),
            "q": pa.ListArray.from_arrays(
                pa.array(np.arange(0, q.size + 1, q.shape[1], dtype=np.int32), pa.int32()),
                pa.array(q.ravel(), pa.float32()),
            ),
        }
    )


def _told(utterances: pd.DataFrame, name: str) -> "pa.Array[Any]":
    """A column of utterances; null where the corpus does not have it."""
    return pa.array(utterances[name], pa.string()) if name in utterances else pa.nulls(len(utterances), pa.string())


def _repeated(value: Any, kind: pa.DataType, count: int) -> "pa.Array[Any]":
    return pa.repeat(pa.scalar(value, kind), count)  # type: ignore[call-overload, no-any-return]  # one a kind


def _parts(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """Parquet files of about PART_BYTES, with a row group for each table: a query of some stages skips the others."""
    buffer, writer = io.BytesIO(), None
    for table in tables:
        if writer is None:
            buffer = io.BytesIO()
            words = [name for name in table.column_names if name not in NUMBERS]
            writer = pq.ParquetWriter(buffer, table.schema, compression="zstd", use_dictionary=words)  # type: ignore[arg-type]  # or names
        writer.write_table(table, row_group_size=max(len(table), 1))
        if buffer.tell() > PART_BYTES:
            writer.close()
            writer = None
            yield buffer.getvalue()
    if writer is not None:
        writer.close()
        yield buffer.getvalue()
