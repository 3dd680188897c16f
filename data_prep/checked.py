"""What is read of a prepared corpus, checked before anything is made of it: it may be damaged, or not ours.

Nothing that is read can run: it is JSON, and Parquet whose notes for pandas are not looked at.
"""

import json
import re
import unicodedata
from typing import Annotated, Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_prep.arrays import Floats
from data_prep.attributes import MORE_TEXTS
from data_prep.features import MOST_HOP_FRAMES, FeatureSettings
from data_prep.segments import segment_count

NAME = re.compile(r"\w[\w.-]*")  # of what becomes a file or a folder
LONGEST_NAME = 200
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _file_name(name: str) -> str:
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ValueError(f"{name!r} is no name of a file")
    return name


def is_new_name(name: str) -> bool:
    """Whether what is new may have this name: it is read everywhere, and does not look like another one."""
    short = len(name.encode(errors="replace")) <= LONGEST_NAME
    return bool(NAME.fullmatch(name)) and short and unicodedata.normalize("NFKC", name) == name


FileName = Annotated[str, AfterValidator(_file_name)]
Size = Annotated[int, Field(ge=0, lt=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Checked(BaseModel):
    """A JSON object of which the fields that are known have their types; others may be there."""

    model_config = ConfigDict(extra="allow", strict=True)


def parse_json(content: bytes) -> Any:
    """The value that `content` is as JSON.

    Raises ValueError for what is none, and for what no file of ours holds: NaN, half characters, nesting without end.
    """
    try:
        found = DECODER.decode(content.decode())  # json.loads takes half characters in bytes
        if SURROGATE.search(content):
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("values are nested too deep") from error
    return found


def parsed(content: bytes | None) -> dict[str, Any] | None:
    """A JSON object; None where the content is missing or damaged."""
    try:
        found = parse_json(content or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class _Settings(Checked):
    """Bounds are far beyond what makes sense, and far below what fills the memory."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sample_rate: Annotated[int, Field(ge=1_000, le=400_000)]
    window: Annotated[int, Field(ge=1, le=100_000)]
    shift: Annotated[int, Field(ge=1, le=100_000)]
    fft: Annotated[int, Field(ge=1, le=2**17)]
    mels: Annotated[int, Field(ge=1, le=2**10)]
    low_hz: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    high_hz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    floor: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    segment_frames: Annotated[int, Field(ge=1, le=10_000)]
    segment_hop: Annotated[int, Field(ge=1, le=MOST_HOP_FRAMES)]

    @model_validator(mode="after")
    def fits(self) -> "_Settings":
        if not self.low_hz < self.high_hz <= self.sample_rate / 2 or self.fft < self.window:
            raise ValueError("bands or windows that cannot be")
        return self


class _Shard(Checked):
    file: FileName
    sha256: str
    bytes: Size
    segments: Size


class _Manifest(Checked):
    corpus: FileName
    fingerprint: FileName
    settings: _Settings
    classes: Annotated[dict[str, Size], Field(min_length=1, max_length=10_000)]
    utterances: Size
    segments: Size
    speakers: Size = 0
    frames: Size = 0
    seconds: Annotated[Finite, Field(ge=0)] = 0.0
    partial: bool = False
    truth: bool = False
    utterances_sha256: str | None = None
    shards: list[_Shard] = Field(default_factory=list)


UNSAID = {"speakers": 0, "frames": 0, "seconds": 0.0, "partial": False, "truth": False}


def checked_manifest(found: Any) -> dict[str, Any]:
    """A manifest, with its shards or without; what is not in it is as in one that says nothing of it.

    Raises ValueError where it is not what a manifest is.
    """
    try:
        _Manifest.model_validate(found)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    return {**UNSAID, **found}


def first_problem(error: ValidationError) -> str:
    """What is wrong with the first field that is."""
    first = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)


TEXTS, NUMBERS = ("id", "speaker", "text", "emotion"), ("label", "frames")
OTHER_NUMBERS = ("segments", "samples", "source_rate", "channels", "shard")


def read_utterances(content: bytes, manifest: dict[str, Any]) -> pd.DataFrame:
    """The utterances in a Parquet file of a corpus with this manifest. Raises ValueError where they are not."""
    frame = read_frame(content)
    missing = [name for name in (*TEXTS, *NUMBERS) if name not in frame]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}")
    for name in (*TEXTS, *(other for other in MORE_TEXTS if other in frame)):
        if not frame[name].map(lambda value: isinstance(value, str)).all():
            raise ValueError(f"column {name} is not all text")
    for name in (*NUMBERS, *(other for other in OTHER_NUMBERS if other in frame)):
        if not pd.api.types.is_integer_dtype(frame[name]) or not frame[name].between(0, 2**40).all():
            raise ValueError(f"column {name} is not all whole numbers of at least 0")
    if len(frame) != manifest["utterances"] or frame["id"].duplicated().any():
        raise ValueError(f"{len(frame)} utterances of {frame['id'].nunique()} ids, not {manifest['utterances']}")
    if (frame["label"] >= len(manifest["classes"])).any():
        raise ValueError(f"labels beyond the {len(manifest['classes'])} classes")
    settings = FeatureSettings(**manifest["settings"])
    counts = [segment_count(frames, settings) for frames in frame["frames"]]
    if list(frame.get("segments", counts)) != counts:
        raise ValueError("segments are not those of the frames")
    if sum(counts) != manifest["segments"]:
        raise ValueError(f"{sum(counts)} segments, not {manifest['segments']}")
    if "true_labels" in frame and not _are_labels(frame["true_labels"], counts, len(manifest["classes"])):
        raise ValueError("true labels that are not those of the segments")
    return frame.assign(segments=np.array(counts, dtype=np.int64))


def _are_labels(column: pd.Series, counts: list[int], classes: int) -> bool:
    """Whether each utterance has a class for each of its segments."""
    for labels, count in zip(column, counts, strict=True):
        whole = isinstance(labels, np.ndarray) and labels.shape == (count,) and np.issubdtype(labels.dtype, np.integer)
        if not whole or ((labels < 0) | (labels >= classes)).any():
            return False
    return True


def read_table(content: bytes) -> pa.Table:
    """A Parquet file. Raises ValueError where it is none."""
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        table.validate(full=True)  # text that is not UTF-8, among others
        return table
    except (pa.ArrowException, OSError, RecursionError) as error:
        raise ValueError(str(error)) from error


def list_values(column: "pa.ChunkedArray[Any]") -> Floats:
    """The values of a column of lists of one length, one after the other, float32 [rows * length]."""
    lists = cast("pa.FixedSizeListArray[Any, Any]", column.combine_chunks())
    return lists.flatten().to_numpy()


def read_frame(content: bytes) -> pd.DataFrame:
    """A Parquet file as a data frame of the columns it has. Raises ValueError where it is none."""
    table = read_table(content)
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError("columns of the same name")
    try:
        return table.replace_schema_metadata(None).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise ValueError(str(error)) from error
