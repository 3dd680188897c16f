"""A corpus on disk -> a prepared corpus: one Ray task per shard, resumable, whole or not there.

ser-sweep prepare emodb --source DIR --out DATA
"""

import io
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from data_prep.arrays import Floats
from data_prep.attributes import MORE_TEXTS
from data_prep.audio import read_audio
from data_prep.checked import LONGEST_NAME, checked_manifest, is_new_name, parse_json
from data_prep.corpora import Utterance
from data_prep.data_folder import data_folder, refuse_exported
from data_prep.errors import AudioError, CorpusError, ShardError, bulleted
from data_prep.features import FeatureSettings
from data_prep.files import as_json, canonical_hash
from data_prep.fold_files import fold_list_of_column
from data_prep.fold_lists import FoldListError
from data_prep.folders import Folder
from data_prep.inspection import Inspected, check_copies, inspect_file, notices_of
from data_prep.names import check_names
from data_prep.progress import Progress, no_progress
from data_prep.recordings import recording_frames
from data_prep.segments import frame_count, segment_count, true_labels
from data_prep.shards import SCHEMA_VERSION, PreparedCorpus, audio_hash, sha256, shard_file, shard_problem, write_shard
from data_prep.text import counted

SEGMENTS_PER_SHARD = 16_384
UTTERANCES_PER_INSPECTION = 64

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Prepared:
    """The outcome of `prepare`: the corpus, how many of its shards were made and kept, and notices for the user."""

    corpus: PreparedCorpus
    made: int
    kept: int
    notices: tuple[str, ...]


def prepare(
    corpus: str,
    utterances: Sequence[Utterance],
    out: str | Path,
    settings: FeatureSettings | None = None,
    *,
    truth: pd.DataFrame | None = None,
    partial: bool = False,
    inline: bool = False,
    address: str | None = None,
    progress: Progress = no_progress,
) -> Prepared:
    """Write `utterances` as a prepared corpus below `out`; shards that are already there and whole are kept.

    Every audio file is looked at before anything is written, and shards are made of no other bytes than were looked at.
    `truth` (columns id, start, end, emotion; seconds) tells the true emotion of every stretch where it is known.
    `inline` works in this process, without Ray. Raises AudioError naming every file that cannot be used or changes
    meanwhile, and CorpusError for utterances that are no corpus.
    """
    if not is_new_name(corpus):
        raise CorpusError(
            f"corpus name {corpus!r} cannot name a folder: use only letters, digits, '_', '-' and '.', "
            f"at most {LONGEST_NAME} bytes"
        )
    settings = settings or FeatureSettings()
    utterances = sorted(utterances, key=lambda utterance: utterance.id)
    notices = check_names(utterances)
    data = data_folder(out)
    refuse_exported(data)  # before anything takes time
    with _runner(inline, address) as run:
        inspected = _inspect(utterances, settings, run, progress)
        check_copies(utterances, inspected)
        table = _utterance_table(utterances, inspected, settings, truth)
        fingerprint = _fingerprint(table, settings, truth)
        manifest = _manifest(corpus, fingerprint, table, settings, partial)
        _check_readable(manifest)
        folder = data / f"{corpus}-{fingerprint}"
        jobs = [
            _ShardJob(
                Folder(folder) / "shards",
                cast(int, number),
                settings,
                audio_hash(rows),
                [(utterances[i].id, utterances[i].path.absolute(), inspected[i]) for i in rows.index],
            )
            for number, rows in table.groupby("shard")
        ]
        made = _make_shards(jobs, run, progress)
    shards = _describe(jobs)
    buffer = io.BytesIO()
    table.to_parquet(buffer, compression="zstd", index=False)
    Folder(folder).write("utterances.parquet", buffer.getvalue())
    notices += (*_fold_notices(table), *notices_of(utterances, inspected, settings))
    manifest |= {"utterances_sha256": sha256(buffer.getvalue()), "shards": shards}
    Folder(folder).write("manifest.json", as_json(manifest))
    return Prepared(PreparedCorpus(folder, manifest), made, len(jobs) - made, notices)


def _fold_notices(table: pd.DataFrame) -> Iterator[str]:
    """What keeps the column fold, if there is one, from being the folds of a grid."""
    try:
        if "fold" in table:
            fold_list_of_column("fold", table)
    except FoldListError as error:
        yield "the column fold cannot be used by a grid with folds: {column: fold}:\n" + bulleted(
            str(error).splitlines()
        )


def _make_shards(jobs: "Sequence[_ShardJob]", run: Callable[..., Iterator[list[str]]], progress: Progress) -> int:
    """Make the shards that are not there yet; returns how many. Raises AudioError where files have changed."""
    missing = [job for job in jobs if job.whole() is None]
    progress("shards", len(jobs) - len(missing), len(jobs))
    changed: list[str] = []
    for done, problems in enumerate(run(_make_shard, missing), start=len(jobs) - len(missing) + 1):
        changed += problems
        progress("shards", done, len(jobs))
    if changed:
        files = sum(len(job.recordings) for job in jobs)
        raise AudioError(
            f"{len(changed)} of {files} audio files changed while they were prepared; repeat the command when nothing "
            "writes to them any more:\n" + bulleted(sorted(changed))
        )
    return len(missing)


@contextmanager
def _runner(inline: bool, address: str | None) -> Iterator[Callable[..., Iterator[Any]]]:
    """Yields `run(function, items)`, which gives results in the order they come."""
    if inline:
        yield lambda function, items: map(function, items)
        return
    from data_prep.cluster import ray_session

    with ray_session(address):
        yield _run_on_ray


def _run_on_ray(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    import ray

    remote = ray.remote(num_cpus=1, max_retries=3)(function)
    waiting = [remote.remote(item) for item in items]
    while waiting:
        ready, waiting = ray.wait(waiting)
        try:
            result = ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error  # as it would be raised inline, without the worker's traceback in its message
        yield result


def _inspect(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    run: Callable[..., Iterator[Any]],
    progress: Progress,
) -> list[Inspected]:
    """Look at every audio file, and raise one AudioError naming all that cannot be used."""
    size = UTTERANCES_PER_INSPECTION
    batches = [
        (number, [utterance.path.absolute() for utterance in utterances[first : first + size]], settings)
        for number, first in enumerate(range(0, len(utterances), size))
    ]
    results: dict[int, list[Inspected]] = {}
    progress("audio files", 0, len(utterances))
    for number, batch in run(_inspect_batch, batches):
        results[number] = batch
        progress("audio files", sum(map(len, results.values())), len(utterances))
    inspected = [one for number in sorted(results) for one in results[number]]
    problems = [one.problem for one in inspected if one.problem]
    if problems:
        raise AudioError(
            f"{len(problems)} of {len(utterances)} audio files cannot be used, nothing was prepared; "
            "replace them or take them out of the corpus:\n" + bulleted(problems)
        )
    return inspected


def _inspect_batch(job: tuple[int, list[Path], FeatureSettings]) -> tuple[int, list[Inspected]]:
    number, paths, settings = job
    return number, [inspect_file(path, settings) for path in paths]


def _utterance_table(
    utterances: Sequence[Utterance],
    inspected: Sequence[Inspected],
    settings: FeatureSettings,
    truth: pd.DataFrame | None,
) -> pd.DataFrame:
    """One row an utterance: what utterances.parquet holds."""
    emotions = sorted({utterance.emotion for utterance in utterances})
    if not emotions:
        raise CorpusError("no utterances, nothing to prepare")
    if len(emotions) < 2:
        raise CorpusError(f"all {len(utterances)} utterances have the emotion {emotions[0]!r}; at least two are needed")
    labels = {emotion: label for label, emotion in enumerate(emotions)}
    table = pd.DataFrame([{**asdict(u), "path": u.path.name} for u in utterances])
    table = table.rename(columns={"path": "file"}).drop(columns=[name for name in MORE_TEXTS if not table[name].any()])
    table["label"] = table["emotion"].map(labels).astype(np.int64)
    for name in ("sha256", "sound", "source_rate", "channels", "samples"):
        table[name] = [getattr(one, name) for one in inspected]
    table["frames"] = [frame_count(samples, settings) for samples in table["samples"]]
    table["segments"] = [segment_count(frames, settings) for frames in table["frames"]]
    table["shard"] = (table["segments"].cumsum() - table["segments"]) // SEGMENTS_PER_SHARD
    if truth is not None:
        stretches = {str(one): own for one, own in truth.groupby("id")}
        known = [
            true_labels(stretches[one], labels, count, settings)
            for one, count in zip(table["id"], table["segments"], strict=True)
        ]
        table["true_labels"] = pd.Series(known, table.index, dtype=object)
    return table


def _fingerprint(table: pd.DataFrame, settings: FeatureSettings, truth: pd.DataFrame | None) -> str:
    """Twelve hexadecimal digits for audio, labels, truth and settings together."""
    told = [name for name in MORE_TEXTS if name in table]
    rows = table[["id", "sha256", "speaker", "text", "emotion", *told]].to_dict("records")
    known = None if truth is None else truth.to_dict("records")
    return canonical_hash({"settings": settings.as_dict(), "utterances": rows, "truth": known}, 12)


@dataclass(frozen=True)
class _ShardJob:
    folder: Folder
    number: int
    settings: FeatureSettings
    audio: str  # its hash
    recordings: list[tuple[str, Path, Inspected]]  # ids, where they lie and what was seen there

    @property
    def file(self) -> str:
        return shard_file(self.number)

    @property
    def description(self) -> str:
        return f"_shard-{self.number:05d}.json"

    def whole(self) -> dict[str, Any] | None:
        """The shard's description, where it was made of this audio and its file has the checksum noted of it."""
        try:
            described = parse_json(self.folder.read(self.description) or b"null")
            same = described["audio"] == self.audio and described["file"] == self.file
            whole = same and shard_problem(described, self.folder.read(self.file)) is None
            return described if whole else None
        except (ValueError, KeyError, TypeError):
            return None


def _make_shard(job: _ShardJob) -> list[str]:
    """Write a shard, or nothing where audio files are no more what they were; returns what is wrong with them."""
    problems: list[str] = []
    frames = recording_frames(_waveforms(job, problems), job.settings)
    if not problems:
        ids = [utterance_id for utterance_id, _, _ in job.recordings]
        described = write_shard(job.folder, job.file, list(zip(ids, frames, strict=True)), job.settings)
        job.folder.write(job.description, as_json({**described, "audio": job.audio}))
    return problems


def _waveforms(job: _ShardJob, problems: list[str]) -> Iterator[Floats]:
    """The samples [n] of a shard's recordings that are still as they were, and `problems` of the others."""
    for _, path, seen in job.recordings:
        try:
            audio = read_audio(path, job.settings.sample_rate)
        except AudioError as error:
            problems.append(str(error))
            continue
        if audio.sha256 == seen.sha256:
            yield audio.samples
        else:
            here = platform.node()
            where = "" if seen.machine == here else f" on {here} than on {seen.machine}: machines hold different copies"
            problems.append(f"{path}: has other bytes{where or ' than before'}")


def _check_readable(manifest: dict[str, Any]) -> None:
    """Raise CorpusError for a corpus that no command would read, before any of it is written."""
    try:
        checked_manifest(manifest)
    except ValueError as error:
        raise CorpusError(f"no command could read a corpus {manifest['corpus']}: {error}") from error


def _describe(jobs: Sequence[_ShardJob]) -> list[dict[str, Any]]:
    """The descriptions of all shards. Raises ShardError where one is not there after it was made."""
    described = {job.file: job.whole() for job in jobs}
    absent = [file for file, shard in described.items() if shard is None]
    if absent:
        raise ShardError(
            f"{len(absent)} of {counted(len(jobs), 'shard')} made, but not whole in {jobs[0].folder}; --out must be "
            "on a mount that all machines of the cluster share, or in an object store:\n" + bulleted(absent)
        )
    return [shard for shard in described.values() if shard is not None]


def _manifest(
    corpus: str, fingerprint: str, table: pd.DataFrame, settings: FeatureSettings, partial: bool
) -> dict[str, Any]:
    """What the manifest says, but for the checksum of utterances.parquet and the shards."""
    import pyarrow
    import soundfile
    import torchaudio

    counts = Counter(table["emotion"])
    return {
        "schema": SCHEMA_VERSION,
        "corpus": corpus,
        "fingerprint": fingerprint,
        "partial": partial,
        "settings": settings.as_dict(),
        "classes": {emotion: counts[emotion] for emotion in sorted(counts)},
        "speakers": int(table["speaker"].nunique()),
        "utterances": len(table),
        "frames": int(table["frames"].sum()),
        "segments": int(table["segments"].sum()),
        "seconds": round(float(table["samples"].sum()) / settings.sample_rate, 3),
        "truth": "true_labels" in table,
        "versions": {
            "python": platform.python_version(),
            "torchaudio": torchaudio.__version__,
            "pyarrow": pyarrow.__version__,
            "soundfile": soundfile.__version__,
            "numpy": np.__version__,
        },
    }
