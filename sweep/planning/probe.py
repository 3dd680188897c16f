"""A few real training steps of a backbone on this machine's device, where the store knows no speed of it.

On a GPU also what the device decides: the layout of maps in memory, what `precision` buys, and how many networks side
by side keep it busy.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from data_prep.arrays import Ints
from data_prep.features import FeatureSettings
from data_prep.shards import SegmentCorpus
from dsl.acceleration.recording import WARM_UP_STEPS
from dsl.backbones import BACKBONES
from dsl.process import configure_process, free_device_memory, is_out_of_memory
from dsl.segments import Segments
from dsl.settings import Layout, Precision, TrainingSettings
from dsl.steps import TrainingRun, predict, side_by_side
from sweep.planning.cost import TrainingSpeed, suggested_share
from sweep.planning.stages import StageSpec

BATCHES = 6
SECONDS = 3.0  # at most about so long, for a slow backbone
ROUNDS = 3
LAYOUTS: tuple[Layout, ...] = ("channels_last", "contiguous")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
SIDE_BY_SIDE = (2, 4, 8, 12)
GPU_SECONDS = 0.5  # of a choice's measured steps
WORTH_IT = 1.05  # so much faster has a choice to be before it is suggested


@dataclass(frozen=True)
class Choice:
    """Networks side by side in a process, in a layout and a precision: their training segments a second together, and
    the peak of the GPU's memory in bytes."""

    layout: Layout
    precision: Precision
    at_once: int
    segments_per_second: float
    memory: int
    recorded: str


@dataclass(frozen=True)
class Probe:
    """What a probe measured: training segments a second, peak memory of the GPU, and the share of it to ask for.

    On a GPU `choices` are what else it could be trained with.
    """

    segments_per_second: float
    memory: int | None
    gpu_share: float | None
    device: str
    choices: tuple[Choice, ...] = ()

    @property
    def speed(self) -> TrainingSpeed:
        """The speed of stages, evaluation left out: it is a few percent of the training."""
        basis = f"a probe on {self.device}"
        return TrainingSpeed(1 / self.segments_per_second, None, basis, self.memory is not None, self.memory)


def probe(stage: StageSpec, classes: int, settings: FeatureSettings, threads: int) -> Probe:
    """Train `stage`'s backbone on noise of the shape of its segments for some batches, on so many CPU threads.

    The best of three rounds counts. The memory is that of training and of evaluation in large batches.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    configure_process(threads)
    size = stage.training.batch_size
    corpus = _noise(size * BATCHES, classes, settings)
    segments = Segments(corpus, np.zeros(settings.mels), np.ones(settings.mels), device)
    target = torch.eye(classes, device=device)[torch.from_numpy(corpus.label).to(device)]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    training = replace(stage.training, epochs=1)
    run = TrainingRun(lambda: BACKBONES[stage.backbone](classes), training, 0, segments, target)
    index = np.arange(len(corpus))
    # The first batches take longer, on a GPU until they are recorded.
    run.train_epoch(index if device.type == "cuda" else index[:size], seed=0)
    rates: list[float] = []
    began = time.perf_counter()
    while len(rates) < ROUNDS and (not rates or time.perf_counter() - began < SECONDS):
        begun = time.perf_counter()
        run.train_epoch(index, seed=len(rates))  # ends by reading the loss: the device is done
        rates.append(len(index) / (time.perf_counter() - begun))
    predict(run.network, segments, torch.from_numpy(index).to(device), stage.training.layout)
    if device.type != "cuda":
        return Probe(max(rates), None, None, "this machine's CPU")
    memory = torch.cuda.max_memory_reserved(device)
    total = torch.cuda.get_device_properties(device).total_memory
    del run
    choices = _measure_choices(stage, segments, target)
    return Probe(max(rates), memory, suggested_share(memory, total), torch.cuda.get_device_name(device), tuple(choices))


def _measure_choices(stage: StageSpec, segments: Segments, target: torch.Tensor) -> list[Choice]:
    """Each layout in each precision for one network; then, in the faster layout of each precision, several at once."""
    found: list[Choice] = []
    for precision in PRECISIONS:
        alone = []
        for layout in LAYOUTS:
            training = replace(stage.training, epochs=1, precision=precision, layout=layout)
            alone += _measure_side_by_side(stage.backbone, training, segments, target, [1])
        found += alone
        if alone:
            faster = max(alone, key=lambda one: one.segments_per_second)
            training = replace(stage.training, epochs=1, precision=precision, layout=faster.layout)
            found += _measure_side_by_side(stage.backbone, training, segments, target, SIDE_BY_SIDE)
    return found


def _measure_side_by_side(
    backbone: str, training: TrainingSettings, segments: Segments, target: torch.Tensor, at_once: Sequence[int]
) -> list[Choice]:
    """So many networks at a time, ever more of them, as long as the memory of the GPU holds them."""
    device, build = target.device, partial(BACKBONES[backbone], target.shape[1])
    free_device_memory(idle=True)
    torch.cuda.reset_peak_memory_stats(device)
    runs: list[TrainingRun] = []
    found: list[Choice] = []
    index = np.arange(len(target) // training.batch_size * training.batch_size)
    if len(index) < (WARM_UP_STEPS + 2) * training.batch_size:
        index = np.tile(index, WARM_UP_STEPS + 2)
    try:
        for count in at_once:
            while len(runs) < count:
                run = TrainingRun(build, training, len(runs), segments, target)
                runs.append(run)
                run.train_epoch(index, seed=0)
            rate = _rate_of(runs, index)
            memory = torch.cuda.max_memory_reserved(device)
            found.append(Choice(training.layout, training.precision, count, rate, memory, runs[-1].recorded))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    runs.clear()
    free_device_memory(idle=True)
    return found


def _rate_of(runs: Sequence[TrainingRun], index: Ints) -> float:
    """Segments a second of all `runs`, in steps of about GPU_SECONDS."""
    repeats = 1
    while True:
        longer = np.tile(index, repeats)
        epochs = [run.batches(longer, seed=repeats) for run in runs]
        begun = time.perf_counter()
        side_by_side(runs, epochs)
        for run in runs:
            run.end_epoch(len(longer))  # reads the loss: the device is done
        took = time.perf_counter() - begun
        if took >= GPU_SECONDS / 2:
            return len(runs) * len(longer) / took
        repeats = max(repeats + 1, round(repeats * GPU_SECONDS / took))


def advice(probe: Probe, stage: StageSpec) -> str | None:
    """What to write in a grid that has this stage, where that is faster than what it says."""
    same = [one for one in probe.choices if one.precision == stage.training.precision]
    if not same:
        return None
    best = max(one.segments_per_second for one in same)
    enough = min((one for one in same if one.segments_per_second * WORTH_IT >= best), key=lambda one: one.at_once)
    if enough.segments_per_second < WORTH_IT * probe.segments_per_second:
        return None
    parts = [f"fuse: {enough.at_once}"] if enough.at_once > 1 else []
    if enough.layout != stage.training.layout:
        parts.append(f"training: {{layout: {enough.layout}}}")
    return ", ".join(parts) or None


def _noise(count: int, classes: int, settings: FeatureSettings) -> SegmentCorpus:
    """One utterance per class that together have `count` segments of random frames."""
    frames = np.random.default_rng(0).normal(size=(count + settings.segment_frames, settings.mels))
    label = np.arange(classes)
    return SegmentCorpus(
        name="noise",
        classes=tuple(map(str, label)),
        utterances=pd.DataFrame({"label": label}),
        frames=frames.astype(np.float32),
        utterance=np.arange(count) % classes,
        segment=np.arange(count),
        start=np.arange(count),
        segment_frames=settings.segment_frames,
    )
