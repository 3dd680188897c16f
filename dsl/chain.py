"""Iterative self-learning (Algorithm 1) on one fold: train, relabel the training segments, train afresh.

Label source `in_fold`: the targets of iteration t come from the same fold's network of t - 1, so no label of a
test utterance ever reaches a network that is tested on it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import nn

from data_prep.shards import SegmentCorpus
from dsl.backbones import BACKBONES
from dsl.labels import LabelUpdate, one_hot, updated_targets
from dsl.settings import TrainingSettings
from dsl.splits import derived_seed, validation_part
from dsl.training import Checkpoint, Epoch, Segments, band_statistics, fit, predict


@dataclass(frozen=True)
class StageResult:
    """One finished training. `q` float32 [S, K]: predictions for every segment of the (thinned) corpus."""

    q: np.ndarray
    test: np.ndarray  # bool [S]: segments of the fold's test utterances
    history: list[Epoch]
    seconds: float
    resumed_at: int  # epochs that an interrupted run had done already


class ChainMemory(Protocol):
    """What a chain has done so far, by iteration."""

    def load(self, iteration: int) -> np.ndarray | None:
        """Predictions q [S, K] of a finished stage."""
        ...

    def save(self, iteration: int, result: StageResult) -> None: ...
    def checkpoint(self, iteration: int) -> Checkpoint: ...


def run_chain(
    corpus: SegmentCorpus,
    fold_of: np.ndarray,
    fold: int,
    backbone: str,
    updates: Sequence[LabelUpdate],
    settings: TrainingSettings,
    seed: int,
    device: torch.device,
    memory: ChainMemory,
    on_epoch: Callable[[int, Epoch], None] = lambda iteration, epoch: None,
    groups: np.ndarray | None = None,
) -> None:
    """Run iterations 0 to len(updates) of a chain; those that `memory` holds are not trained again.

    `corpus` is already thinned; `fold_of` [U] is the fold in which each utterance is tested, and `groups` [U] says
    which must not be both in training and validation (`splits.groups_of`). The seed of a stage
    comes from (seed, fold, iteration) alone, so that chains which differ in rule or alpha can be compared in pairs.
    """
    part = FoldPart.of(corpus, fold_of, fold, settings.validation_share, seed, groups)
    y = one_hot(corpus.label, len(corpus.classes))
    segments: Segments | None = None
    q = y
    for iteration in range(len(updates) + 1):
        found = memory.load(iteration)
        if found is None:
            segments = segments or part.segments(corpus, device)
            result = _train_stage(
                lambda: BACKBONES[backbone](len(corpus.classes)),
                segments,
                part,
                y if iteration == 0 else updated_targets(updates[iteration - 1], q, y, corpus.utterance),
                settings,
                derived_seed(seed, fold, iteration),
                memory.checkpoint(iteration),
                partial(on_epoch, iteration),
            )
            memory.save(iteration, result)
            found = result.q
        q = found


def _train_stage(
    build: Callable[[], nn.Module],
    segments: Segments,
    part: "FoldPart",
    targets: np.ndarray,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Checkpoint,
    on_epoch: Callable[[Epoch], None],
) -> StageResult:
    """Train one network on `targets` [S, K], and let it predict every segment."""
    begun = time.perf_counter()
    epochs: list[int] = []

    def report(epoch: Epoch) -> None:
        epochs.append(epoch.number)
        on_epoch(epoch)

    network, history = fit(build, segments, part.training, part.validation, targets, settings, seed, checkpoint, report)
    everything = torch.arange(len(targets), device=segments.frames.device)
    q = predict(network, segments, everything).cpu().numpy()
    return StageResult(q, part.test, history, time.perf_counter() - begun, resumed_at=epochs[0])


@dataclass(frozen=True)
class FoldPart:
    """Which segments of a fold train, validate and test: `training` and `validation` indices, `test` bool [S]."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(
        cls,
        corpus: SegmentCorpus,
        fold_of: np.ndarray,
        fold: int,
        share: float,
        seed: int,
        groups: np.ndarray | None = None,
    ) -> "FoldPart":
        label = corpus.utterances["label"].to_numpy()
        held_out = np.zeros(len(label), dtype=bool)
        training = np.flatnonzero(fold_of != fold)
        held_out[validation_part(label, training, share, derived_seed(seed, fold), groups)] = True
        test = (fold_of == fold)[corpus.utterance]
        validation = held_out[corpus.utterance]
        return cls(np.flatnonzero(~test & ~validation), np.flatnonzero(validation), test)

    def segments(self, corpus: SegmentCorpus, device: torch.device) -> Segments:
        """The corpus on the device, standardised by the training part's own statistics."""
        return Segments(corpus, *band_statistics(corpus, self.training), device)
