"""Iterative self-learning (Algorithm 1) on one fold: train, relabel the training segments, train afresh.

The paper leaves open whose predictions relabel a fold's training segments. The label sources (`LABEL_SOURCES`):

in_fold     those of the fold's own network, in sample
cross_fit   those of inner networks, each trained without a part of the fold's training utterances and asked about it
global_oof  those of the network that tested the segment; it learnt the labels of this fold's test utterances

With the first two no label of a test utterance ever reaches a network that is tested on it. The third leaks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl.backbones import BACKBONES
from dsl.labels import LabelUpdate, labels_of, one_hot, updated_targets
from dsl.segments import Segments, band_statistics
from dsl.settings import ChainSettings, Step
from dsl.splits import parts_of, training_seed
from dsl.steps import Epoch, predict
from dsl.training import Checkpoint, Learner, fit_together


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
    `global_oof` where another fold is not far enough, and UserError where the chain cannot go on.
    """
    (failure,) = run_chains(corpus, [chain], device, [memory], lambda _, step, epoch: on_epoch(step, epoch), steps)
    if failure is not None:
        raise failure


def run_chains(
    corpus: SegmentCorpus,
    chains: Sequence[ChainSettings],
    device: torch.device,
    memories: Sequence[ChainMemory],
    on_epoch: Callable[[int, Step, Epoch], None] = lambda number, step, epoch: None,
    steps: int | None = None,
) -> list[UserError | None]:
    """`run_chain` for chains that differ in nothing but their updates, in lockstep: a step of all is one training.

    What several of them share is trained once, for the first of them, and found by the others in their memories.
    `on_epoch` is told of which chain an epoch is. Returns why each chain could not go on, where it could not: that
    leaves the others as they are.
    """
    lockstep = _Lockstep(corpus, chains, device, memories, on_epoch)
    for step in chains[0].steps[:steps]:
        lockstep.do(step)
    return [one.failure for one in lockstep.chains]


@dataclass(frozen=True)
class _Lesson:
    """What a chain's next training learns from, and how long that took to find out."""

    targets: np.ndarray
    kept: "FoldPart"
    seconds: float

    @property
    def batches(self) -> tuple[bytes, bytes]:
        """The same for two lessons that are of the same segments."""
        return self.kept.training.tobytes(), self.kept.validation.tobytes()


class _Lockstep:
    """Chains at work that differ in nothing but their updates."""

    def __init__(
        self,
        corpus: SegmentCorpus,
        chains: Sequence[ChainSettings],
        device: torch.device,
        memories: Sequence[ChainMemory],
        on_epoch: Callable[[int, Step, Epoch], None],
    ) -> None:
        self._settings = chains[0]
        label = labels_of(corpus.utterances, self._settings.labels, self._settings.seed)
        self._corpus = replace(corpus, utterances=corpus.utterances.assign(label=label))
        self._device = device
        self._parts: dict[int | None, FoldPart] = {}
        # The corpus as the trainings of an inner fold need it, or those of none.
        self._on_device: tuple[int | None, Segments] | None = None
        whole = self._part(None)
        self.chains = [
            _Chain(number, self._corpus, whole, chain, memory, on_epoch)
            for number, (chain, memory) in enumerate(zip(chains, memories, strict=True))
        ]

    def do(self, step: Step) -> None:
        """The training `step` of every chain that has not failed."""
        waiting = self.chains
        while waiting := [one for one in waiting if one.failure is None and not one.recalls(step)]:
            first: dict[tuple[LabelUpdate, ...], _Chain] = {}  # of those that follow from the same updates
            for one in waiting:
                first.setdefault(one.settings.updates[: step.iteration], one)
            self._train(step, list(first.values()))

    def _train(self, step: Step, chains: "list[_Chain]") -> None:
        part = self._part(step.inner_fold)
        alike: dict[tuple[bytes, bytes], list[tuple[_Chain, _Lesson]]] = {}
        for one in chains:
            try:
                lesson = one.lesson(step, part)
            except UserError as error:
                one.failure = error
            else:
                alike.setdefault(lesson.batches, []).append((one, lesson))
        for taught in alike.values():
            self._train_together(step, part, taught)

    def _train_together(self, step: Step, part: "FoldPart", taught: "list[tuple[_Chain, _Lesson]]") -> None:
        begun = time.perf_counter()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        settings, kept = self._settings, taught[0][1].kept
        segments = self._segments(part, step.inner_fold)
        learners = [Learner(lesson.targets, one.checkpoint(step), one.listener(step)) for one, lesson in taught]
        fitted = fit_together(
            lambda: BACKBONES[settings.backbone](len(self._corpus.classes)),
            segments,
            kept.training,
            kept.validation,
            learners,
            settings.training,
            training_seed(settings, step),
        )
        seconds = (time.perf_counter() - begun) / len(taught)
        for (one, lesson), outcome in zip(taught, fitted, strict=True):
            if isinstance(outcome, UserError):
                one.failure = outcome
            else:
                one.learn(step, part, lesson, segments, *outcome, lesson.seconds + seconds)

    def _part(self, inner_fold: int | None) -> "FoldPart":
        if inner_fold not in self._parts:
            self._parts[inner_fold] = FoldPart.of(self._corpus, self._settings, inner_fold)
        return self._parts[inner_fold]

    def _segments(self, part: "FoldPart", inner_fold: int | None) -> Segments:
        """The corpus on the device, standardised by the training part's own statistics."""
        if self._on_device is None or self._on_device[0] != inner_fold:
            self._on_device = None  # one at a time: it is large
            statistics = band_statistics(self._corpus, part.training)
            self._on_device = (inner_fold, Segments(self._corpus, *statistics, self._device))
        return self._on_device[1]


class _Chain:
    """One of the chains at work: what it has learnt, and why it cannot go on where it cannot."""

    def __init__(
        self,
        number: int,
        corpus: SegmentCorpus,
        whole: "FoldPart",
        settings: ChainSettings,
        memory: ChainMemory,
        on_epoch: Callable[[int, Step, Epoch], None],
    ) -> None:
        self.settings = settings
        self.failure: UserError | None = None
        self._number = number
        self._corpus = corpus
        self._whole = whole
        self._memory = memory
        self._on_epoch = on_epoch
        self._q: dict[Step, np.ndarray] = {}  # of the trainings that are done
        self._epochs: list[int] = []  # of the last training, those that were done here

    def recalls(self, step: Step) -> bool:
        """Whether a training is done."""
        if step not in self._q:
            found = self._memory.load(step)
            if found is None:
                return False
            self._q[step] = found
        return True

    def lesson(self, step: Step, part: "FoldPart") -> _Lesson:
        """Raises UserError where an update leaves nothing to learn."""
        begun = time.perf_counter()
        targets = self._targets(step.iteration)
        return _Lesson(targets, part.without_dropped(targets), time.perf_counter() - begun)

    def checkpoint(self, step: Step) -> Checkpoint:
        return self._memory.checkpoint(step)

    def listener(self, step: Step) -> Callable[[Epoch], None]:
        self._epochs = []

        def hear(epoch: Epoch) -> None:
            self._epochs.append(epoch.number)
            self._on_epoch(self._number, step, epoch)

        return hear

    def learn(
        self,
        step: Step,
        part: "FoldPart",
        lesson: _Lesson,
        segments: Segments,
        network: nn.Module,
        history: list[Epoch],
        seconds: float,
    ) -> None:
        """Ask a trained network, and remember what it says."""
        begun = time.perf_counter()
        corpus, device = self._corpus, segments.frames.device
        asked = np.arange(len(corpus))
        if step.inner_fold is not None:
            asked = np.union1d(np.flatnonzero(part.test), part.validation)
        q = np.full_like(lesson.targets, np.nan)
        q[asked] = predict(network, segments, torch.from_numpy(asked).to(device)).cpu().numpy()
        right = _mean_pooled_right(corpus, q, part.validation)
        if step.inner_fold is not None:
            q[~part.test] = np.nan
        result = StageResult(
            q,
            part.test,
            history,
            seconds + time.perf_counter() - begun,
            resumed_at=self._epochs[0],
            training_segments=len(lesson.kept.training),
            validation_wa=float(right.mean()),
            targets_right=_targets_right(corpus, lesson.targets, lesson.kept.training),
            weights={name: value.cpu().numpy() for name, value in network.state_dict().items()},
            band_statistics=segments.statistics,
            peak_memory=torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
        )
        self._memory.save(step, result)
        self._q[step] = q

    def _targets(self, iteration: int) -> np.ndarray:
        """Targets g of an iteration, float32 [S, K]; NaN for segments that the fold does not train or validate on.

        An update never sees those: what it makes of the others cannot depend on them.
        """
        learnt = np.union1d(self._whole.training, self._whole.validation)
        y = one_hot(self._corpus.label[learnt], len(self._corpus.classes))
        g = y
        for t, update in enumerate(self.settings.updates[:iteration]):
            g = updated_targets(update, self._predictions(t)[learnt], y, g, self._corpus.utterance[learnt])
        targets = np.full((len(self._corpus), y.shape[1]), np.nan, dtype=np.float32)
        targets[learnt] = g
        return targets

    def _predictions(self, iteration: int) -> np.ndarray:
        """What the label source says of the fold's training segments after `iteration`: [S, K]."""
        if self.settings.label_source == "in_fold":
            return self._q[Step(iteration)]
        if self.settings.label_source == "cross_fit":
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
