"""Prepared corpora on disk: Parquet shards of segment spectrograms, and how to read them back.

A prepared corpus is a folder `<corpus>-<fingerprint>` with

    shards/shard-00000.parquet   one row a segment: utterance_id, segment, start_frame, spectrogram (time-major)
    shards/_shard-00000.json     what the shard must be: checksum, bytes, segments, of which audio
    utterances.parquet           one row an utterance, in the order of the shards
    manifest.json                settings, classes, counts, checksums, versions; written last

Neighbouring segments share all but `segment_hop` frames, which zstd finds and the reader undoes: it keeps each
frame once and gathers segments by index.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.arrays import Floats, Ints
from data_prep.attributes import MORE_TEXTS
from data_prep.checked import list_values, read_utterances
from data_prep.errors import ShardError, bulleted
from data_prep.features import FeatureSettings
from data_prep.files import canonical_hash
from data_prep.fold_lists import FoldList, column_of, with_lists
from data_prep.folders import Folder
from data_prep.segments import cut_segments, segment_count
from data_prep.text import counted

SCHEMA_VERSION = 1
ROWS_PER_GROUP = 4096  # 32 MiB of float32 spectrograms
RESTORE = (
    "restore the export, for example from version control, or export it again with: ser-sweep store export --decisions"
)


@dataclass(frozen=True)
class PreparedCorpus:
    """A prepared corpus, known by its manifest: enough to plan with, without reading a shard.

    `folder` is a path, or a folder elsewhere (s3://...). `fold_list` is what a grid says of its folds, if it does.
    """

    folder: Path | Folder
    manifest: dict[str, Any]
    fold_list: FoldList | None = None

    @property
    def name(self) -> str:
        """`<corpus>-<fingerprint>`: the identity of audio, labels and settings."""
        return f"{self.manifest['corpus']}-{self.manifest['fingerprint']}"

    @property
    def corpus(self) -> str:
        """The name of the corpus, without the fingerprint."""
        return str(self.manifest["corpus"])

    @property
    def classes(self) -> dict[str, int]:
        """Emotion -> number of utterances, in the order of the labels."""
        return dict(self.manifest["classes"])

    @property
    def settings(self) -> FeatureSettings:
        """How its frames and segments were cut."""
        return FeatureSettings(**self.manifest["settings"])

    @property
    def has_sound(self) -> bool:
        """Whether it has shards, be they damaged; results that were exported alone have none."""
        return bool(self.manifest.get("shards")) or "shards" in Folder(self.folder).folders()

    def require_sound(self) -> None:
        """Raise ShardError where it has no shards."""
        if not self.has_sound:
            raise ShardError(
                f"{self.folder} has no sound: it belongs to results alone, written by ser-sweep store export "
                "--decisions, and nothing can be trained on it. Give the data folder that ser-sweep prepare made"
            )

    def utterances(self) -> pd.DataFrame:
        """What utterances.parquet holds, and a column for a list of folds. Raises ShardError where it is missing or
        damaged."""
        lists = [] if self.fold_list is None else [self.fold_list]
        try:
            return with_lists(read_utterances(self.utterances_file(), self.manifest), lists)
        except ValueError as error:
            remedy = "prepare the corpus again" if self.has_sound else RESTORE
            raise ShardError(f"{self.folder}/utterances.parquet is damaged ({error}); {remedy}") from error

    def utterances_file(self) -> bytes:
        """utterances.parquet as it is. Raises ShardError where it is missing or damaged."""
        content = Folder(self.folder).read("utterances.parquet")
        expected = self.manifest.get("utterances_sha256")
        if content is None or (expected and sha256(content) != expected):
            remedy = "repeat the ser-sweep prepare command that made it" if self.has_sound else RESTORE
            raise ShardError(f"{self.folder}/utterances.parquet is missing or damaged; {remedy}")
        return content


@dataclass(frozen=True)
class SegmentCorpus:
    """A corpus in memory: every frame once, and where each segment starts.

    `frames` float32 [F, mels]; for segment s of S: `utterance` [S] its row in `utterances`, `segment` [S] its
    number within the utterance, `start` [S] its first row in `frames`, `true_label` [S] its true class where the
    corpus knows it. `utterances` has the columns id, speaker, text, emotion and label, those of MORE_TEXTS where they
    are known, and one for a list of folds. `dealt` may hold parts of folds that were made before (`dsl.dealt.deal`).
    """

    name: str
    classes: tuple[str, ...]
    utterances: pd.DataFrame
    frames: Floats
    utterance: Ints
    segment: Ints
    start: Ints
    segment_frames: int
    true_label: Ints | None = None
    dealt: Any = None

    def __len__(self) -> int:
        return len(self.start)

    @property
    def label(self) -> Ints:
        """Inherited label y of every segment, int64 [S]: its utterance's emotion."""
        return self.utterances["label"].to_numpy()[self.utterance]

    def spectrograms(self, index: Ints) -> Floats:
        """Segments `index` [n] as float32 [n, segment_frames, mels], time-major."""
        rows: Ints = self.start[index, None] + np.arange(self.segment_frames)
        return self.frames[rows]

    def thinned(self, every: int) -> "SegmentCorpus":
        """The same corpus with every `every`-th segment of each utterance, beginning with its first."""
        if every == 1:
            return self
        keep = self.segment % every == 0
        true_label = None if self.true_label is None else self.true_label[keep]
        kept = {name: getattr(self, name)[keep] for name in ("utterance", "segment", "start")}
        return replace(self, true_label=true_label, **kept)


def shard_schema(settings: FeatureSettings) -> pa.Schema:
    """The columns of a shard: id, segment number, first frame, and the spectrogram as float32 [frames * mels]."""
    size = settings.segment_frames * settings.mels
    columns: dict[str, pa.DataType] = {
        "utterance_id": pa.string(),
        "segment": pa.int32(),
        "start_frame": pa.int32(),
        "spectrogram": pa.list_(pa.float32(), size),
    }
    return pa.schema(
        columns,
        metadata={"layout": f"{settings.segment_frames} frames x {settings.mels} mels, time-major"},
    )


def write_shard(
    folder: Path | Folder, name: str, utterances: list[tuple[str, Floats]], settings: FeatureSettings
) -> dict[str, Any]:
    """Write one shard whole; `utterances` are (id, frames [f, mels]). Returns its checksum and counts."""
    schema = shard_schema(settings)
    segments = 0
    buffer = pa.BufferOutputStream()
    coded = ["utterance_id"]
    with pq.ParquetWriter(buffer, schema, compression="zstd", use_dictionary=coded, write_statistics=False) as writer:  # type: ignore[arg-type]  # or names
        for batch in _row_batches(utterances, settings, schema):
            writer.write_batch(batch, row_group_size=ROWS_PER_GROUP)
            segments += batch.num_rows
    content = buffer.getvalue().to_pybytes()
    Folder(folder).write(name, content)
    described = {"file": name, "sha256": sha256(content), "bytes": len(content)}
    return {**described, "utterances": len(utterances), "segments": segments}


def sha256(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _row_batches(
    utterances: list[tuple[str, Floats]], settings: FeatureSettings, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Record batches of about a row group, each of whole utterances, and each in the memory of the one before it: fresh
    memory for segments that overlap so much would cost more than all else."""
    batches: list[list[tuple[str, Floats]]] = [[]]
    rows = [0]
    for utterance_id, frames in utterances:
        if rows[-1] >= ROWS_PER_GROUP:
            batches.append([])
            rows.append(0)
        batches[-1].append((utterance_id, cut_segments(frames, settings)))
        rows[-1] += len(batches[-1][-1][1])
    values = np.empty((max(rows), settings.segment_frames, settings.mels), dtype=np.float32)
    for batch in batches:
        yield _record_batch(batch, values, settings.segment_hop, schema)


def _record_batch(cut: list[tuple[str, Floats]], values: Floats, hop: int, schema: pa.Schema) -> pa.RecordBatch:
    """The segments `cut` of some utterances as rows, their spectrograms in `values` [rows or more, frames, mels]."""
    counts = [len(segments) for _, segments in cut]
    numbers = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    np.concatenate([segments for _, segments in cut], out=values[: len(numbers)])
    ids = pa.array(np.repeat([utterance_id for utterance_id, _ in cut], counts), pa.string())
    size = values[0].size
    flat = pa.Array.from_buffers(pa.float32(), len(numbers) * size, [None, pa.py_buffer(values.data)])
    spectrograms = pa.FixedSizeListArray.from_arrays(flat, size)
    return pa.record_batch([ids, pa.array(numbers), pa.array(numbers * np.int32(hop)), spectrograms], schema=schema)


def load_corpus(prepared: PreparedCorpus) -> SegmentCorpus:
    """Read a prepared corpus into memory, checking every shard. Raises ShardError for one missing or damaged."""
    prepared.require_sound()
    settings = prepared.settings
    shards = _whole_shards(prepared)
    utterances = prepared.utterances()
    other = shards_of_other_sound(prepared, utterances)
    if other:
        raise ShardError(
            f"{prepared.folder}: other audio than in utterances.parquet in {len(other)} of "
            f"{counted(len(shards), 'shard')}; repeat the ser-sweep prepare command, which makes only these again:\n"
            + bulleted(other)
        )
    try:
        with ThreadPoolExecutor(os.cpu_count()) as cores:
            read = list(cores.map(partial(_shard_frames, settings=settings), shards))
        frames, held = (np.concatenate(parts) for parts in zip(*read, strict=True))
    except ValueError as error:
        raise ShardError(f"{prepared.folder}: a shard is damaged ({error}); prepare the corpus again") from error
    counts = segment_count_of(utterances, settings)
    utterance = np.repeat(np.arange(len(utterances), dtype=np.int32), counts)
    segment = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    step = min(settings.segment_hop, settings.segment_frames)
    kept_frames = settings.segment_frames + (counts - 1) * step
    first = np.concatenate([[0], np.cumsum(kept_frames)[:-1]])
    lists = [] if prepared.fold_list is None else [column_of(prepared.fold_list.digest)]
    more = [*(name for name in MORE_TEXTS if name in utterances), *lists]
    corpus = SegmentCorpus(
        name=prepared.name,
        classes=tuple(prepared.classes),
        utterances=utterances[["id", "speaker", "text", "emotion", "label", *more]],
        frames=frames,
        utterance=utterance,
        segment=segment,
        start=first[utterance] + segment.astype(np.int64) * step,
        segment_frames=settings.segment_frames,
        true_label=np.concatenate(utterances["true_labels"].to_list()) if "true_labels" in utterances else None,
    )
    if len(corpus.frames) != kept_frames.sum() or not np.array_equal(counts, held):
        raise ShardError(f"{prepared.folder}: shards and utterances.parquet disagree; prepare the corpus again")
    return corpus


def segment_count_of(utterances: pd.DataFrame, settings: FeatureSettings) -> Ints:
    """Segments of every utterance, int64 [U], from its frame count."""
    return np.array([segment_count(frames, settings) for frames in utterances["frames"]], dtype=np.int64)


def shard_problem(shard: dict[str, Any], content: bytes | None) -> str | None:
    """What is wrong with a shard's `content`, against its description; None where it is whole."""
    if content is None:
        return f"{shard['file']}: missing"
    if len(content) != shard["bytes"] or sha256(content) != shard["sha256"]:
        return f"{shard['file']}: damaged (its checksum is not the manifest's)"
    return None


def shard_file(number: int) -> str:
    """The name of a corpus's shard."""
    return f"shard-{number:05d}.parquet"


def audio_hash(rows: pd.DataFrame) -> str:
    """What tells of which audio a shard is: 16 hexadecimal digits for the id and sha256 of each of its utterances."""
    return canonical_hash([[str(row.id), str(row.sha256)] for row in rows.itertuples()], 16)


def shards_of_other_sound(prepared: PreparedCorpus, utterances: pd.DataFrame) -> list[str]:
    """The shards that were not made of the audio files of their `utterances`.

    Nothing is known of those that an older ser-sweep made, see `is_compared`.
    """
    if not {"shard", "sha256"} <= set(utterances):
        return []
    expected = {shard_file(cast(int, number)): audio_hash(rows) for number, rows in utterances.groupby("shard")}
    shards = prepared.manifest["shards"]
    return [one["file"] for one in shards if "audio" in one and one["audio"] != expected.get(one["file"])]


def is_compared(prepared: PreparedCorpus) -> bool:
    """Whether all shards say of which audio files they were made."""
    return all("audio" in shard for shard in prepared.manifest["shards"])


def _whole_shards(prepared: PreparedCorpus) -> list[bytes]:
    """The files of all shards. Raises ShardError for those that are missing or damaged."""
    shards = prepared.manifest["shards"]
    contents = (Folder(prepared.folder) / "shards").read_all(shard["file"] for shard in shards)
    found = list(filter(None, map(shard_problem, shards, contents)))
    if found:
        raise ShardError(
            f"{prepared.folder}: {len(found)} of {counted(len(shards), 'shard')} cannot be used; "
            f"repeat the ser-sweep prepare command, which makes only these again:\n" + bulleted(found)
        )
    return [content for content in contents if content is not None]


def _shard_frames(content: bytes, settings: FeatureSettings) -> tuple[Floats, Ints]:
    """Each frame of a shard once, float32 [F, mels]: all of a first segment, the new ones of those after it; and the
    segments of each of its utterances.

    Raises ValueError where it holds something else.
    """
    length, step = settings.segment_frames, min(settings.segment_hop, settings.segment_frames)
    parts, numbers = [], []
    for content_of_group in _row_groups(content, shard_schema(settings)):
        segment = content_of_group["segment"].to_numpy()
        values = list_values(content_of_group["spectrogram"])
        new = np.broadcast_to(np.arange(length) >= length - step, (len(segment), length)) | (segment == 0)[:, None]
        parts.append(values.reshape(len(segment), length, settings.mels)[new])
        numbers.append(segment)
    begins = np.flatnonzero(np.concatenate(numbers) == 0)
    return np.concatenate(parts), np.diff(begins, append=sum(map(len, numbers)))


def _row_groups(content: bytes, schema: pa.Schema) -> Iterator[pa.Table]:
    """Segment numbers and spectrograms, a row group at a time. Raises ValueError where a file has no such columns."""
    names = ["segment", "spectrogram"]
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        held = file.schema_arrow
        if any(name not in held.names or held.field(name).type != schema.field(name).type for name in names):
            raise ValueError(f"its columns are {', '.join(held.names)}")
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=names)
            if any(column.null_count for column in table.columns):
                raise ValueError("values are missing")
            yield table
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
