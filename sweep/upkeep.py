"""Looking after a store: what in it is damaged, what no grid needs, and its predictions as one data set.

ser-sweep store verify --store STORE --repair
ser-sweep store gc GRID.yaml --data DATA --store STORE --delete
ser-sweep store export --store STORE --out DIR
"""

import json
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.errors import UserError
from data_prep.files import canonical_hash
from data_prep.folders import Entry
from sweep.lease import EXPIRES_SECONDS, LEASES
from sweep.stages import KEY_LENGTH, Plan, StageSpec
from sweep.store import Predictions, Store, StoreError

Progress = Callable[[str, int, int], None]


def no_progress(what: str, done: int, total: int) -> None: ...


# Verify


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file or a stage, and whether it has to be trained again when that is taken away."""

    path: str
    what: str
    is_stage: bool


def verify(store: Store, progress: Progress = no_progress) -> list[Problem]:
    """Everything in the store that is damaged or does not belong there, found by reading all of it."""
    stages = sorted({entry.path.parts[1] for entry in store.folder.entries("stages", recursive=True)})
    corpora = {name: _classes_of(store, name) for name in store.corpora()}
    problems = [
        Problem(f"corpora/{name}", "corpus.json or utterances.parquet is damaged; ser-sweep run adds the corpus", False)
        for name, classes in corpora.items()
        if classes is None
    ]
    for number, key in enumerate(stages):
        progress("stages", number, len(stages))
        what = _wrong_with_stage(store, key, corpora)
        if what is not None:
            problems.append(Problem(f"stages/{key}", what, True))
        else:
            problems += [Problem(name, "no stage.json names it", False) for name in _unnamed_files(store, key)]
    progress("stages", len(stages), len(stages))
    for folder, read in (("checkpoints", store.read_checkpoint), ("decisions", store.read_decisions)):
        for entry in store.folder.entries(folder):
            if read(entry.path.name) is None:
                problems.append(Problem(str(entry.path), "damaged (its checksum is another)", False))
    return problems


def _classes_of(store: Store, name: str) -> list[str] | None:
    """A corpus's classes; None where the store's copy of it is damaged."""
    try:
        about, utterances = store.read_corpus(name)
        return sorted(about["classes"]) if len(utterances) == about["utterances"] else None
    except (UserError, ValueError, KeyError, TypeError, OSError):
        return None


def _wrong_with_stage(store: Store, key: str, corpora: dict[str, list[str] | None]) -> str | None:
    """What is wrong with a stage; None where nothing is."""
    record = store.read_stage(key)
    if record is None:
        return "stage.json is missing or damaged"
    identity = record.get("identity")
    if not isinstance(identity, dict) or canonical_hash(identity, KEY_LENGTH) != key:
        return "foreign: its folder is not named after its identity"
    if identity.get("corpus") not in corpora:
        return f"foreign: the store does not hold its corpus {identity.get('corpus')}"
    predictions = _readable(store, key)
    if predictions is None:
        return "its predictions are missing or damaged"
    if "weights" in record and store.read_weights(key) is None:
        return "its weights are missing or damaged"
    classes = corpora[identity["corpus"]]
    q = predictions.q
    if classes is not None and q.shape[1] != len(classes):
        return f"foreign: predictions of {q.shape[1]} classes, and the corpus has {len(classes)}"
    if not np.isfinite(q).all() or not np.allclose(q.sum(axis=1), 1, atol=1e-3):
        return "its predictions are no probabilities"
    return None


def _readable(store: Store, key: str) -> Predictions | None:
    try:
        return store.read_predictions(key)
    except (pa.ArrowException, KeyError, ValueError):
        return None


def _unnamed_files(store: Store, key: str) -> list[str]:
    """Files in a whole stage's folder that its stage.json does not name: those of an interrupted commit."""
    record = store.read_stage(key) or {}
    named = {"stage.json"} | {record[kind]["file"] for kind in ("predictions", "weights") if kind in record}
    return [str(entry.path) for entry in store.folder.entries(f"stages/{key}") if entry.path.name not in named]


def repair(store: Store, problems: Sequence[Problem]) -> None:
    """Take away what `verify` found. Stages go stage.json first: one that is half removed is not there."""
    for problem in problems:
        if problem.is_stage:
            store.delete_stage(problem.path.rpartition("/")[2])
        elif problem.path.startswith("corpora/"):
            store.folder.delete(f"{problem.path}/corpus.json")
        else:
            store.folder.delete(problem.path)


# Garbage


@dataclass(frozen=True)
class Garbage:
    """What no given grid needs: kind -> its files."""

    files: dict[str, list[Entry]]

    @property
    def sizes(self) -> dict[str, int]:
        return {kind: sum(entry.size for entry in entries) for kind, entries in self.files.items()}


def find_garbage(store: Store, plans: Sequence[Plan]) -> Garbage:
    """What the grids of `plans` need nothing of.

    Decisions are a cache that is made again when it is needed, and all of them are garbage once a stage is.
    """
    needed = {key for plan in plans for key in plan.stages}
    done = store.done_keys()
    corpora = {stage.corpus for plan in plans for stage in plan.stages.values()}
    entries = store.folder.entries
    files = {
        "stages": [entry for entry in entries("stages", recursive=True) if entry.path.parts[1] not in needed],
        "checkpoints": [
            entry for entry in entries("checkpoints") if entry.path.name not in needed or entry.path.name in done
        ],
        "failures": [entry for entry in entries("failures") if entry.path.stem not in needed - done],
        "corpora": [entry for entry in entries("corpora", recursive=True) if entry.path.parts[1] not in corpora],
    }
    files["decisions"] = entries("decisions") if files["stages"] else []
    return Garbage({kind: found for kind, found in files.items() if found})


def delete_garbage(store: Store, garbage: Garbage) -> None:
    """Raises StoreError while a launch runs on the store: it may be about to use what is garbage to others."""
    busy = running_launches(store)
    if busy:
        raise StoreError(
            f"store {store.uri} is in use by {', '.join(busy)}; wait until it has ended, or "
            f"{EXPIRES_SECONDS:.0f} s if it was killed"
        )
    for key in {entry.path.parts[1] for entry in garbage.files.get("stages", [])}:
        store.delete_stage(key)
    for kind, entries in garbage.files.items():
        if kind != "stages":
            for entry in entries:
                store.folder.delete(str(entry.path))


def running_launches(store: Store) -> list[str]:
    """Launches whose lease is not over."""
    now = time.time()
    return [e.path.stem for e in store.folder.entries(LEASES) if now - e.modified < EXPIRES_SECONDS]


# Export

PREDICTION_SCHEMA = [
    ("stage", pa.string()),
    ("split", pa.string()),
    ("fold", pa.int32()),
    ("seed", pa.int64()),
    ("label_source", pa.string()),
    ("rule", pa.string()),
    ("alpha", pa.string()),
    ("iteration", pa.int32()),
    ("inner_fold", pa.int32()),
    ("utterance", pa.string()),
    ("speaker", pa.string()),
    ("emotion", pa.string()),
    ("segment", pa.int32()),
    ("test", pa.bool_()),
    ("predicted", pa.string()),
    ("probability", pa.float32()),
    ("q", pa.list_(pa.float32())),
]


def export(store: Store, out: Path, keys: Collection[str] | None = None, progress: Progress = no_progress) -> int:
    """Write the stages `keys` (all, if None) as a data set; returns how many there were.

    `out` gets stages.parquet, a row for each stage, and predictions/corpus=.../backbone=.../<stage>.parquet, a row for
    each segment. It appears whole, under its name, when all is written. Raises UserError where something lies there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; give an empty or new folder for the export")
    records = [record for record in store.records() if keys is None or record["key"] in keys]
    if not records:
        raise UserError(f"store {store.uri} holds no stage to export")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        made = Path(temporary) / "export"
        _write_export(store, records, made, progress)
        if out.exists():
            out.rmdir()
        made.rename(out)
    return len(records)


def _write_export(store: Store, records: Sequence[dict[str, Any]], out: Path, progress: Progress) -> None:
    known: dict[str, tuple[dict[str, Any], pd.DataFrame]] = {}
    rows = []
    for number, record in enumerate(records):
        progress("stages", number, len(records))
        corpus = record["identity"]["corpus"]
        if corpus not in known:
            known[corpus] = store.read_corpus(corpus)
        predictions = store.read_predictions(record["key"])
        if predictions is None:
            raise StoreError(f"stage {record['key']} is damaged; find and remove such with: ser-sweep store verify")
        about, utterances = known[corpus]
        rows.append(_stage_row(record))
        folder = out / "predictions" / f"corpus={corpus}" / f"backbone={rows[-1]['backbone']}"
        folder.mkdir(parents=True, exist_ok=True)
        table = _prediction_table(rows[-1], predictions, utterances, list(about["classes"]))
        pq.write_table(table, folder / f"{record['key']}.parquet", compression="zstd")
    progress("stages", len(records), len(records))
    pd.DataFrame(rows).to_parquet(out / "stages.parquet", index=False)


def _stage_row(record: dict[str, Any]) -> dict[str, Any]:
    stage = StageSpec.of_identity(record["identity"])
    measured = {name: value for name, value in record.get("metrics", {}).items() if not isinstance(value, list | dict)}
    timing, device = record.get("timing", {}), record.get("device", {})
    return {
        "stage": record["key"],
        "corpus": stage.corpus,
        "backbone": stage.backbone,
        "split": stage.split,
        "folds": stage.folds,
        "fold": stage.fold,
        "seed": stage.seed,
        "label_source": stage.label_source,
        "rule": stage.rule,
        "alpha": stage.alpha,
        "iteration": stage.iteration,
        "inner_fold": stage.inner_fold,
        "labels": stage.labels,
        "classes": list(record.get("classes", [])),
        **measured,
        "seconds": timing.get("seconds"),
        "finished": timing.get("finished"),
        "device": device.get("name"),
        "host": device.get("host"),
        "revision": record.get("revision"),
        "versions": json.dumps(record.get("versions", {}), sort_keys=True),
    }


def _prediction_table(
    stage: dict[str, Any], predictions: Predictions, utterances: pd.DataFrame, classes: list[str]
) -> pa.Table:
    q = predictions.q
    rows = len(q)
    best = q.argmax(axis=1)
    said = utterances.iloc[predictions.utterance]
    columns: dict[str, Any] = {name: [stage[name]] * rows for name, _ in PREDICTION_SCHEMA if name in stage}
    columns |= {
        "utterance": said["id"].to_numpy(),
        "speaker": said["speaker"].to_numpy(),
        "emotion": said["emotion"].to_numpy(),
        "segment": predictions.segment,
        "test": predictions.test,
        "predicted": np.array(classes, dtype=object)[best],
        "probability": q[np.arange(rows), best],
        "q": pa.ListArray.from_arrays(np.arange(0, q.size + 1, q.shape[1], dtype=np.int32), pa.array(q.ravel())),
    }
    arrays = {name: columns[name] if name == "q" else pa.array(columns[name], kind) for name, kind in PREDICTION_SCHEMA}
    return pa.table(arrays)
