"""What the missing stages of a plan come to: segment updates, hours, bytes and money.

Nothing is made up: a speed is measured, in the store's own finished stages of the same kind or by a probe
(`sweep.planning.probe`), or it is unknown and said to be.
"""

import math
import statistics
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from data_prep.shards import PreparedCorpus
from data_prep.text import counted, duration, first_of
from dsl.backbones import version_of
from dsl.labels import labels_of
from dsl.splits import parts_of
from sweep.planning.stages import Plan, StageSpec, backbone_version_of, kind_of

ROW_BYTES = 6  # of a stored prediction beside its probabilities, where no stage was measured
PROBABILITY_BYTES = 4
NAMED_FOLDS = 5  # that a notice lists
LAST_STAGES = 50  # of a kind, by which a launch tells what the next one takes


@dataclass(frozen=True)
class TrainingSpeed:
    """How fast trainings of a kind are, and from what that is known.

    `seconds_per_update`: of a stage, evaluation and all, divided by its segment updates. `epochs_share`: epochs
    that early stopping let run, of those allowed; None where that is not known. `memory` is the peak of a GPU in bytes,
    where one was used.
    """

    seconds_per_update: float
    epochs_share: float | None
    basis: str
    on_gpu: bool = False
    memory: int | None = None


@dataclass(frozen=True)
class Estimate:
    """What missing stages come to. `seconds` is of training, one after the other; `unknown` names the kinds without a
    speed, whose stages are in no sum but those of updates and bytes. Where nothing tells how many epochs early stopping
    lets run, all are counted: `at_most`. `untaught` tells of folds that test what no training utterance taught them."""

    stages: int = 0
    updates: int = 0
    at_most: bool = False
    seconds: float = 0.0
    device_seconds: float = 0.0
    bytes: int = 0
    basis: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    untaught: tuple[str, ...] = ()

    def wall_seconds(self, concurrency: int) -> float:
        """How long it takes with so many trials at once."""
        return self.seconds / concurrency

    def price(self, per_hour: float) -> float:
        """What the device-hours cost."""
        return self.device_seconds / 3600 * per_hour

    def as_dict(self, concurrency: int, per_hour: float | None) -> dict[str, Any]:
        """For JSON; what is not known is None. `per_hour` is the price of a device, in any currency."""
        known = not self.unknown
        return {
            **asdict(self),
            "concurrency": concurrency,
            "device_hours": self.device_seconds / 3600 if known else None,
            "wall_seconds": self.wall_seconds(concurrency) if known else None,
            "price": self.price(per_hour) if known and per_hour is not None else None,
        }


def speeds_of(records: Iterable[Mapping[str, Any]]) -> dict[str, TrainingSpeed]:
    """Kind -> speed, from finished stages (stage.json). A kind that ran on several devices has that of the last."""
    by_kind: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        stage = StageSpec.of_record(record)
        if stage is not None and _is_measured(stage, record):
            by_kind[kind_of(stage)][record["device"].get("name", "")].append(record)
    return {kind: _speed_of(max(devices.values(), key=_last_finished)) for kind, devices in by_kind.items()}


def _is_measured(stage: StageSpec, record: Mapping[str, Any]) -> bool:
    metrics, timing = record.get("metrics", {}), record.get("timing", {})
    now = backbone_version_of(record["identity"]) == version_of(stage.backbone)  # others may be faster or slower
    whole = timing.get("resumed_at_epoch") == 0  # the seconds of a resumed stage are not of all its epochs
    told = all((timing.get("seconds"), metrics.get("training_segments"), metrics.get("epochs")))
    return now and whole and told and "device" in record


def _last_finished(records: list[Mapping[str, Any]]) -> str:
    return max(str(record["timing"].get("finished", "")) for record in records)


def _speed_of(records: list[Mapping[str, Any]]) -> TrainingSpeed:
    seconds, shares, memory = [], [], []
    for record in records:
        metrics = record["metrics"]
        seconds.append(record["timing"]["seconds"] / (metrics["training_segments"] * metrics["epochs"]))
        shares.append(metrics["epochs"] / record["identity"]["training"]["epochs"])
        if record["device"].get("fused", 1) == 1:
            memory.append(record["device"].get("peak_memory_bytes") or 0)
    device = records[0]["device"]
    basis = f"{counted(len(records), 'stage')} of this store on {device.get('name', 'an unknown device')}"
    on_gpu = device.get("type") == "cuda"
    peak = max(memory, default=0) or None
    return TrainingSpeed(statistics.median(seconds), statistics.mean(shares), basis, on_gpu, peak)


def bytes_per_segment(records: Iterable[Mapping[str, Any]]) -> float | None:
    """Bytes that a stored prediction takes, from finished stages; None where there are none."""
    sizes = [(r["predictions"]["bytes"], r["segments"]) for r in records if r.get("segments")]
    return sum(size for size, _ in sizes) / sum(rows for _, rows in sizes) if sizes else None


def estimate(
    plan: Plan,
    prepared: Iterable[PreparedCorpus],
    speeds: Mapping[str, TrainingSpeed],
    gpu_share: float,
    segment_bytes: float | None = None,
) -> Estimate:
    """What the missing stages of `plan` come to; a trial takes `gpu_share` of a GPU where its kind runs on one."""
    sizes = Sizes(prepared)
    updates, at_most, seconds, device_seconds, size = 0, False, 0.0, 0.0, 0.0
    unknown: dict[str, None] = {}
    basis: dict[str, str] = {}
    untaught: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for stage in plan.to_train.values():
        training, predicted, classes, lacking = sizes.of(stage)
        if lacking:
            untaught[stage.corpus, stage.split_name][f"{_fold_words(stage)} ({', '.join(lacking)})"] = None
        kind = kind_of(stage)
        speed = speeds.get(kind)
        share = speed.epochs_share if speed is not None and stage.training.early_stopping else None
        at_most = at_most or (share is None and stage.training.early_stopping)
        epochs = stage.training.epochs * (share or 1.0)
        if speed is None:
            unknown[kind] = None
        else:
            took = training * epochs * speed.seconds_per_update
            seconds += took
            device_seconds += took * (gpu_share if speed.on_gpu else 1.0)
            basis[kind] = speed.basis
        updates += round(training * epochs)
        size += predicted * (segment_bytes or ROW_BYTES + PROBABILITY_BYTES * classes)
    told = tuple(_untaught_words(*of, list(folds)) for of, folds in untaught.items())
    missing = len(plan.to_train)
    return Estimate(missing, updates, at_most, seconds, device_seconds, round(size), basis, tuple(unknown), told)


def _fold_words(stage: StageSpec) -> str:
    inner = "" if stage.inner_fold is None else f"inner fold {stage.inner_fold} of "
    return f"{inner}fold {stage.fold} seed {stage.seed}"


def _untaught_words(corpus: str, split: str, folds: list[str]) -> str:
    return (
        f"{corpus}, splits: {split}: folds test a class that none of their training utterances is of, and cannot "
        f"recognise it: {first_of(folds, NAMED_FOLDS)}"
    )


class _Size(NamedTuple):
    """Segments that a stage trains on and predicts, the number of classes, and those tested that it has none of."""

    training: int
    predicted: int
    classes: int
    untaught: tuple[str, ...]


class Sizes:
    """How large a stage is, from utterances alone; each part of a corpus is made once."""

    def __init__(self, prepared: Iterable[PreparedCorpus]) -> None:
        self._prepared = {one.name: one for one in prepared}
        self._utterances: dict[str, Any] = {}
        self._found: dict[tuple[Any, ...], _Size] = {}

    def of(self, stage: StageSpec) -> _Size:
        """The size of a stage."""
        inner = (stage.inner_folds, stage.inner_fold) if stage.inner_fold is not None else ()
        part = (stage.corpus, stage.split, stage.listed, stage.folds, stage.fold, stage.seed, stage.labels)
        share = (stage.training.every, stage.training.validation_share, stage.training.validation_by)
        identity = (*part, *share, *inner)
        if identity not in self._found:
            self._found[identity] = self._count(stage)
        return self._found[identity]

    def _count(self, stage: StageSpec) -> _Size:
        one = self._prepared[stage.corpus]
        if stage.corpus not in self._utterances:
            self._utterances[stage.corpus] = one.utterances()
        utterances = self._utterances[stage.corpus]
        label = labels_of(utterances, stage.labels, stage.seed)
        parts = parts_of(stage, utterances.assign(label=label), stage.inner_fold)
        segments = -(-utterances["segments"].to_numpy() // stage.training.every)
        predicted = segments if stage.inner_fold is None else segments[parts.tested]
        classes = list(one.classes)
        untaught = tuple(classes[k] for k in np.setdiff1d(label[parts.tested], label[parts.training]))
        return _Size(int(segments[parts.training].sum()), int(np.sum(predicted)), len(classes), untaught)


class StageSeconds:
    """What the training of a stage takes: by the last stages of its kind that were learnt from or, before the first of
    them, by the `speeds` of stages before."""

    def __init__(self, prepared: Iterable[PreparedCorpus], speeds: Mapping[str, TrainingSpeed]) -> None:
        self._sizes = Sizes(prepared)
        self._speeds = speeds
        self._learnt: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LAST_STAGES))

    def of(self, stage: StageSpec) -> float | None:
        """Its seconds; None where nothing is known of its kind."""
        kind = kind_of(stage)
        if kind in self._learnt:
            return self._updates(stage) * statistics.median(self._learnt[kind])
        speed = self._speeds.get(kind)
        if speed is None:
            return None
        share = speed.epochs_share if stage.training.early_stopping else None
        return self._updates(stage) * (share or 1.0) * speed.seconds_per_update

    def learn(self, stage: StageSpec, seconds: float) -> None:
        """Take in what a whole training took."""
        self._learnt[kind_of(stage)].append(seconds / max(1, self._updates(stage)))

    def _updates(self, stage: StageSpec) -> int:
        """Segment updates, where early stopping ends no epoch."""
        return self._sizes.of(stage).training * stage.training.epochs


def estimate_beside_truth(estimated: Estimate, training_seconds: float, seconds: float, slots: int) -> str:
    """What a launch took, and what was expected of it from the stages that the store held before."""
    truth = f"took {duration(training_seconds)} of training, in {duration(seconds)}"
    if estimated.unknown or not estimated.stages:
        return f"{truth}; there was no measurement for an estimate"
    expected = f"{duration(estimated.seconds)} in {duration(estimated.wall_seconds(slots))}"
    return f"{truth}; estimated: {expected}, from {'; '.join(dict.fromkeys(estimated.basis.values()))}"


def suggested_share(memory: int, total: int) -> float:
    """The smallest of 1, 1/2, 1/3, ... 1/16 of a GPU that holds `memory` of its `total` bytes with a fifth to spare."""
    fits = max(1, min(16, math.floor(total / (1.2 * memory))))
    return 1 / fits
