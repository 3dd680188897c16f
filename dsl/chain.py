"""Iterative self-learning (Algorithm 1) on one fold: train, relabel the training segments, train afresh.

The paper leaves open whose predictions relabel a fold's training segments. The label sources (`LABEL_SOURCES`):

in_fold     those of the fold's own network, in sample
cross_fit   those of inner networks, each trained without a part of the fold's training utterances and asked about it
global_oof  those of the network that tested the segment; it learnt the labels of this fold's test utterances

With the first two no label of a test utterance ever reaches a network that is tested on it. The third leaks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl.backbones import BACKBONES
from dsl.labels import labels_of, one_hot, updated_targets
from dsl.settings import ChainSettings, Step
from dsl.splits import parts_of, training_seed
from dsl.training import Checkpoint, Epoch, Segments, band_statistics, fit, predict


@dataclass(frozen=True)
class StageResult:
    """One finished training.

    `q` float32 [S, K]: predictions for every segment of the (thinned) corpus; those of an inner network only for its
    test segments, with NaN elsewhere. Shares are fractions: `validation_wa` of the validation utterances that
    mean pooling recognises, `targets_right` of the training part's segments whose target is most likely
    their true class (None where that is not known).
    """

    q: np.ndarray
    test: np.ndarray  # bool [S]: segments of the utterances that were held out to be tested
    history: list[Epoch]
    seconds: float
    resumed_at: int  # epochs that an interrupted run had done already
    training_segments: int
    validation_wa: float
    targets_right: float | None
    weights: dict[str, np.ndarray]  # the network's state
    band_statistics: tuple[np.ndarray, np.ndarray]  # mean and deviation [mels] that standardise its input
    peak_memory: int | None  # bytes of the GPU; None on a CPU


class ChainMemory(Protocol):
    """What a chain has done so far, and what the chains of other folds have."""

    def load(self, step: Step) -> np.ndarray | None:
        """Predictions q [S, K] of a finished training of this chain."""
        ...

    def out_of_fold(self, iteration: int) -> np.ndarray | None:
        """Each segment's prediction [S, K] by the fold that tested it; None where one is not trained yet."""
        ...

    def save(self, step: Step, result: StageResult) -> None: ...
    def checkpoint(self, step: Step) -> Checkpoint: ...


class MissingInputsError(Exception):
    """The chain cannot go on before the chains of other folds have."""


def run_chain(
    corpus: SegmentCorpus,
    chain: ChainSettings,
    device: torch.device,
    memory: ChainMemory,
    on_epoch: Callable[[Step, Epoch], None] = lambda step, epoch: None,
    steps: int | None = None,
) -> None:
    """Do the first `steps` trainings of a chain, or all; those that `memory` holds are not done again.

    `corpus` is already thinned. The seed of a training comes from the chain's seed, fold, iteration and inner fold
    alone, so that chains which differ in rule or alpha can be compared in pairs. Raises MissingInputsError under
    `global_oof` where another fold is not far enough.
    """
    _Chain(corpus, chain, device, memory).run(on_epoch, steps)


class _Chain:
    """A chain at work."""

    def __init__(self, corpus: SegmentCorpus, chain: ChainSettings, device: torch.device, memory: ChainMemory) -> None:
        label = labels_of(corpus.utterances, chain.labels, chain.seed)
        self._corpus = replace(corpus, utterances=corpus.utterances.assign(label=label))
        self._chain = chain
        self._device = device
        self._memory = memory
        self._q: dict[Step, np.ndarray] = {}  # of the trainings that are done
        # The corpus as the trainings of an inner fold need it, or those of none.
        self._on_device: tuple[int | None, Segments] | None = None

    def run(self, on_epoch: Callable[[Step, Epoch], None], steps: int | None) -> None:
        for step in self._chain.steps[:steps]:
            found = self._memory.load(step)
            if found is None:
                result = self._train(step, on_epoch)
                self._memory.save(step, result)
                found = result.q
            self._q[step] = found

    def _train(self, step: Step, on_epoch: Callable[[Step, Epoch], None]) -> StageResult:
        begun = time.perf_counter()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        chain, corpus = self._chain, self._corpus
        part = FoldPart.of(corpus, chain, step.inner_fold)
        targets = self._targets(step.iteration)
        kept = part.without_dropped(targets)
        segments = self._segments(part, step.inner_fold)
        epochs: list[int] = []

        def report(epoch: Epoch) -> None:
            epochs.append(epoch.number)
            on_epoch(step, epoch)

        network, history = fit(
            lambda: BACKBONES[chain.backbone](len(corpus.classes)),
            segments,
            kept.training,
            kept.validation,
            targets,
            chain.training,
            training_seed(chain, step),
            self._memory.checkpoint(step),
            report,
        )
        asked = np.arange(len(corpus))
        if step.inner_fold is not None:
            asked = np.union1d(np.flatnonzero(part.test), part.validation)
        q = np.full_like(targets, np.nan)
        q[asked] = predict(network, segments, torch.from_numpy(asked).to(self._device)).cpu().numpy()
        right = _mean_pooled_right(corpus, q, part.validation)
        if step.inner_fold is not None:
            q[~part.test] = np.nan
        return StageResult(
            q,
            part.test,
            history,
            time.perf_counter() - begun,
            resumed_at=epochs[0],
            training_segments=len(kept.training),
            validation_wa=float(right.mean()),
            targets_right=_targets_right(corpus, targets, kept.training),
            weights={name: value.cpu().numpy() for name, value in network.state_dict().items()},
            band_statistics=segments.statistics,
            peak_memory=torch.cuda.max_memory_reserved(self._device) if self._device.type == "cuda" else None,
        )

    def _segments(self, part: "FoldPart", inner_fold: int | None) -> Segments:
        """The corpus on the device, standardised by the training part's own statistics."""
        if self._on_device is None or self._on_device[0] != inner_fold:
            self._on_device = None  # one at a time: it is large
            statistics = band_statistics(self._corpus, part.training)
            self._on_device = (inner_fold, Segments(self._corpus, *statistics, self._device))
        return self._on_device[1]

    def _targets(self, iteration: int) -> np.ndarray:
        """Targets g of an iteration, float32 [S, K]; NaN for segments that the fold does not train or validate on.

        An update never sees those: what it makes of the others cannot depend on them.
        """
        whole = FoldPart.of(self._corpus, self._chain)
        learnt = np.union1d(whole.training, whole.validation)
        y = one_hot(self._corpus.label[learnt], len(self._corpus.classes))
        g = y
        for t, update in enumerate(self._chain.updates[:iteration]):
            g = updated_targets(update, self._predictions(t)[learnt], y, g, self._corpus.utterance[learnt])
        targets = np.full((len(self._corpus), y.shape[1]), np.nan, dtype=np.float32)
        targets[learnt] = g
        return targets

    def _predictions(self, iteration: int) -> np.ndarray:
        """What the label source says of the fold's training segments after `iteration`: [S, K]."""
        if self._chain.label_source == "in_fold":
            return self._q[Step(iteration)]
        if self._chain.label_source == "cross_fit":
            inner = [q for step, q in self._q.items() if step.iteration == iteration and step.inner_fold is not None]
            return np.nansum(inner, axis=0)
        found = self._memory.out_of_fold(iteration)
        if found is None:
            raise MissingInputsError(f"iteration {iteration} of another fold is missing or damaged; repeat the run")
        return found


@dataclass(frozen=True)
class FoldPart:
    """Which segments train, validate and test: `training` and `validation` indices, `test` bool [S]."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, corpus: SegmentCorpus, chain: ChainSettings, inner_fold: int | None = None) -> "FoldPart":
        """The parts of the chain's fold or, with `inner_fold`, of that part of the fold's training utterances.

        Raises ValueError where the utterances are too few for it.
        """
        parts = parts_of(chain, corpus.utterances, inner_fold)
        training, validation, tested = (
            part[corpus.utterance] for part in (parts.training, parts.validation, parts.tested)
        )
        return cls(np.flatnonzero(training), np.flatnonzero(validation), tested)

    def without_dropped(self, targets: np.ndarray) -> "FoldPart":
        """Training and validation without the segments whose targets [S, K] an update has set to zero.

        Raises UserError where nothing is left.
        """
        kept = {
            name: part[targets[part].any(axis=1)]
            for name, part in (("training", self.training), ("validation", self.validation))
        }
        for name, part in kept.items():
            if len(part) < 2:
                raise UserError(f"the update of labels leaves {len(part)} {name} segments; use another rule")
        return replace(self, **kept)


def _mean_pooled_right(corpus: SegmentCorpus, q: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Which of the utterances of segments `index` have their label as the class of the highest mean q: bool [n]."""
    asked, position = np.unique(corpus.utterance[index], return_inverse=True)
    sums = np.zeros((len(asked), q.shape[1]))
    np.add.at(sums, position, q[index])
    return sums.argmax(axis=1) == corpus.utterances["label"].to_numpy()[asked]


def _targets_right(corpus: SegmentCorpus, targets: np.ndarray, index: np.ndarray) -> float | None:
    """The share of segments `index` whose most likely class by `targets` is the true one."""
    if corpus.true_label is None:
        return None
    return float((targets[index].argmax(axis=1) == corpus.true_label[index]).mean())
