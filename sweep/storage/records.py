"""stage.json and events, checked before anything is made of it: it may be damaged, or not ours.

A field that versions came to write later may be missing; one that is there has its type.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from data_prep.checked import Checked, FileName, Finite, Size

Number = int | Finite
TIME = r"^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d(\.\d+)?Z$"


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Time = Annotated[str, Field(pattern=TIME), AfterValidator(_time)]


class _File(Checked):
    file: FileName
    sha256: str
    bytes: Size


class _Update(Checked):
    rule: str
    alpha: Number | None = None


class _Training(Checked):
    epochs: Annotated[int, Field(ge=1)]
    every: Annotated[int, Field(ge=1)]


class _Identity(Checked):
    corpus: FileName
    backbone: FileName
    split: str
    folds: Annotated[int, Field(ge=1, le=10**6)]
    fold: Size
    seed: Size
    label_source: str | None
    updates: Annotated[list[_Update], Field(max_length=1000)]
    training: _Training
    inner_folds: Size | None = None
    inner_fold: Size | None = None
    labels: str = "given"
    backbone_version: Size = 1


class _Metrics(Checked):
    test_segment_accuracy: Number = 0
    validation_loss: Number | None = None
    validation_wa: Number | None = None
    targets_right: Number | None = None
    training_segments: Size = 0
    kept_epoch: Size = 0
    epochs: Size = 0


class _Epoch(Checked):
    number: Size
    loss: Number
    validation_loss: Number | None
    validation_accuracy: Number | None = None
    rate: Number = 0


class _Timing(Checked):
    seconds: Number = 0
    resumed_at_epoch: Size = 0
    segments_per_second: Number = 0
    finished: Time = ""


class _Device(Checked):
    name: str = ""
    type: str = ""
    fused: Size = 1
    peak_memory_bytes: Size | None = None


class _Record(Checked):
    identity: _Identity | None = None
    iteration: Size = 0
    classes: list[str] = Field(default_factory=list)
    segments: Size = 0
    metrics: _Metrics = _Metrics()
    history: list[_Epoch] = Field(default_factory=list)
    timing: _Timing = _Timing()
    device: _Device = _Device()
    predictions: _File | None = None
    weights: _File | None = None


def is_record(found: Any) -> bool:
    """Whether the fields of a stage.json that are there are what they should be."""
    return _fits(_Record, found)


def described_files(record: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """The files that a checked stage.json names: predictions, and weights if it says so. None for one that it does not
    describe."""
    weights = {"weights": record["weights"]} if "weights" in record else {}
    return {"predictions": record.get("predictions"), **weights}


class _Event(Checked):
    event: str
    time: Time
    grid: str = ""
    user: str = ""
    host: str = ""
    trial: str | int = ""
    gpu: Number | None = None
    seconds: Annotated[Number, Field(ge=0)] = 0


def is_event(found: Any) -> bool:
    """Whether what is known of an event is what it should be."""
    return _fits(_Event, found)


def _fits(kind: type[Checked], found: Any) -> bool:
    try:
        kind.model_validate(found)
    except ValidationError:
        return False
    return True
