"""A few real training steps of a backbone on this machine's device, where the store knows no rate of it."""

import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from data_prep.features import FeatureSettings
from data_prep.shards import SegmentCorpus
from dsl.backbones import BACKBONES
from dsl.process import settle
from dsl.segments import Segments
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun, predict
from sweep.cost import Rate, suggested_share
from sweep.stages import StageSpec

BATCHES = 6
SECONDS = 3.0  # at most about so long, for a slow backbone
ROUNDS = 3


@dataclass(frozen=True)
class Probe:
    """What a probe measured: training segments a second, peak memory of the GPU, and the share of it to ask for."""

    segments_per_second: float
    memory: int | None
    gpu_share: float | None
    device: str

    @property
    def rate(self) -> Rate:
        """The rate of stages, evaluation left out: it is a few percent of the training."""
        basis = f"a probe on {self.device}"
        return Rate(1 / self.segments_per_second, None, basis, self.memory is not None, self.memory)


def probe(
    stage: StageSpec, classes: int, settings: FeatureSettings, threads: int, device: torch.device | None = None
) -> Probe:
    """Train `stage`'s backbone on noise of the shape of its segments for some batches, on so many CPU threads.

    The best of three rounds counts. The memory is that of training and of evaluation in large batches.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settle(threads)
    size = stage.training.batch_size
    corpus = _noise(size * BATCHES, classes, settings)
    segments = Segments(corpus, np.zeros(settings.mels), np.ones(settings.mels), device)
    goal = torch.eye(classes, device=device)[torch.from_numpy(corpus.label).to(device)]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    run = TrainingRun(lambda: BACKBONES[stage.backbone](classes), _one_epoch(stage.training), 0, device)
    index = np.arange(len(corpus))
    run.train_epoch(segments, index[:size], goal, seed=0)  # the first batch takes longer
    rates: list[float] = []
    began = time.perf_counter()
    while len(rates) < ROUNDS and (not rates or time.perf_counter() - began < SECONDS):
        begun = time.perf_counter()
        run.train_epoch(segments, index, goal, seed=len(rates))  # ends by reading the loss: the device is done
        rates.append(len(index) / (time.perf_counter() - begun))
    predict(run.network, segments, torch.from_numpy(index).to(device))
    if device.type != "cuda":
        return Probe(max(rates), None, None, "this machine's CPU")
    memory = torch.cuda.max_memory_reserved(device)
    total = torch.cuda.get_device_properties(device).total_memory
    return Probe(max(rates), memory, suggested_share(memory, total), torch.cuda.get_device_name(device))


def _one_epoch(training: TrainingSettings) -> TrainingSettings:
    return replace(training, epochs=1)


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
