"""Iterative self-learning (Algorithm 1) on one fold: train, relabel the training segments, train afresh.

The paper leaves open whose predictions relabel a fold's training segments. The label sources (`LABEL_SOURCES`):

in_fold     those of the fold's own network, in sample
cross_fit   those of inner networks, each trained without a part of the fold's training utterances and asked about it
global_oof  those of the network that tested the segment; it learnt the labels of this fold's test utterances

With the first two no label of a test utterance ever reaches a network that is tested on it. The third leaks.
"""

import time
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch

from data_prep.arrays import Bools, Floats, Ints
from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl.alterations import altered
from dsl.backbones import BACKBONES
from dsl.fold_parts import FoldPart
from dsl.labels import labels_of, one_hot, updated_targets
from dsl.segments import Segments, input_statistics, standardised_by_utterance
from dsl.settings import ChainSettings, Standardisation, Step
from dsl.splits import training_seed
from dsl.steps import Epoch
from dsl.training import Checkpoint, Lesson, Training


@dataclass(frozen=True)
class StageResult:
    """One finished training.

    `q` float32 [S, K]: predictions for every segment of the (thinned) corpus; those of an inner network only for its
    test segments, with NaN elsewhere. Shares are fractions: `validation_wa` of the validation utterances that
    mean pooling recognises (None where there are none), `targets_right` of the training part's segments whose target is
    most likely their true class (None where that is not known).
    """

    q: Floats
    test: Bools  # bool [S]: segments of the utterances that were held out to be tested
    history: list[Epoch]
    seconds: float
    resumed_at: int  # epochs that an interrupted run had done already
    training_segments: int
    validation_wa: float | None
    targets_right: float | None
    weights: dict[str, np.ndarray]  # the network's state
    band_statistics: tuple[Floats, Floats]  # mean and deviation [mels] that standardise its input
    peak_memory: int | None  # bytes of the GPU, of all networks side by side; None on a CPU
    beside: int = 1  # networks that were trained at once, itself among them
    recorded: str = "no"  # whether a GPU replayed its steps: "exact", or "no: CAUSE"
    resumed_under: dict[str, tuple[str, str]] = field(default_factory=dict)  # what bits depend on, where it changed


class ChainMemory(Protocol):
    """What a chain has done so far, and what the chains of other folds have. It hears how the chain's trainings go."""

    def key(self, step: Step) -> Hashable:
        """The same for trainings, also of other chains, that are one and the same."""
        ...

    def load(self, step: Step) -> Floats | None:
        """Predictions q [S, K] of a finished training of this chain."""
        ...

    def out_of_fold(self, iteration: int) -> Floats | None:
        """Each segment's prediction [S, K] by the fold that tested it; None where one is not trained yet."""
        ...

    def save(self, step: Step, result: StageResult) -> None:
        """Keep what a training came to."""

    def checkpoint(self, step: Step) -> Checkpoint:
        """Where the state of a training is kept while it is not finished."""

    # These have a body, so that who inherits need not hear of them.

    def on_epoch(self, step: Step, epoch: Epoch) -> None:
        """A training has done another epoch."""
        return

    def on_batch(self, step: Step, done: int, of: int) -> None:
        """So many batches of a training are done, of so many at most."""
        return

    def on_resumed(self, step: Step, under: dict[str, tuple[str, str]]) -> None:
        """A training goes on under other conditions than it began, and so to other bits (`dsl.process.bits_depend_on`):
        what they were, and what they are."""
        return


class MissingInputsError(Exception):
    """The chain cannot go on before the chains of other folds have."""


class SharedCorpus:
    """A corpus that chains share: in memory, with the labels that a chain learns from, and once on the device."""

    def __init__(self, corpus: SegmentCorpus, device: torch.device) -> None:
        self._corpus = corpus
        self._device = device
        self._labelled: dict[Hashable, SegmentCorpus] = {}
        self._on_device: list[tuple[Floats, bool, Segments]] = []

    def labelled(self, chain: ChainSettings) -> SegmentCorpus:
        """The corpus by which parts are made: with the chain's labels, and nothing altered."""
        which = chain.labels, chain.seed
        if which not in self._labelled:
            label = labels_of(self._corpus.utterances, *which)
            self._labelled[which] = replace(self._corpus, utterances=self._corpus.utterances.assign(label=label))
        return self._labelled[which]

    def learnt(self, chain: ChainSettings) -> SegmentCorpus:
        """The corpus that the chain learns from."""
        if chain.altered is None:
            return self.labelled(chain)
        which = chain.labels, chain.seed, chain.split, chain.folds, chain.listed, chain.altered
        if which not in self._labelled:
            self._labelled[which] = altered(self.labelled(chain), chain)
        return self._labelled[which]

    def segments(self, corpus: SegmentCorpus, training: Ints, standardisation: Standardisation) -> Segments:
        """The segments of `corpus` on the device, standardised as for a training on segments `training`; all that ask
        for it share the frames, which are others where each utterance is standardised by itself."""
        statistics = input_statistics(corpus, training, standardisation)
        which = corpus.frames, standardisation == "utterance"
        for frames, by_utterance, there in self._on_device:
            if frames is which[0] and by_utterance == which[1]:
                return there.standardised_by(*statistics)
        found = Segments(standardised_by_utterance(corpus) if which[1] else corpus, *statistics, self._device)
        self._on_device.append((*which, found))
        return found


@dataclass(eq=False)
class ChainRun:
    """A chain at work: what it has learnt, what it trains, and why it cannot go on where it cannot.

    Its first `steps` trainings are done, or all. A checkpoint is written after an epoch that ends `checkpoint_seconds`
    or more after the last one.
    """

    shared: SharedCorpus
    settings: ChainSettings
    memory: ChainMemory
    steps: int | None
    checkpoint_seconds: float

    def __post_init__(self) -> None:
        self.failure: UserError | None = None
        self._corpus = self.shared.learnt(self.settings)
        self._left = list(self.settings.steps[: self.steps])
        self._parts: dict[int | None, FoldPart] = {}
        self._q: dict[Step, Floats] = {}  # of the trainings that are done
        self._training: Training | None = None
        self._seconds = 0.0
        self._beside = 1

    @property
    def training(self) -> Training:
        """The training under way; there must be one."""
        assert self._training is not None
        return self._training

    @property
    def trains(self) -> bool:
        """Whether a training is under way."""
        return self._training is not None

    @property
    def key(self) -> Hashable:
        """The same for two chains whose next training is one and the same."""
        return self.memory.key(self._left[0])

    def is_ready(self, under_way: Collection[Hashable]) -> bool:
        """Whether there is a training left to do that none of those `under_way` is; those that are done are taken from
        the memory."""
        while self._left and self.failure is None and self.key not in under_way:
            found = self.memory.load(self._left[0])
            if found is None:
                return True
            self._q[self._left.pop(0)] = found
        return False

    def begin(self) -> None:
        """Begin the next training, where an update of labels leaves something to learn."""
        begun = time.perf_counter()
        step, settings, memory = self._left[0], self.settings, self.memory
        part, targets = self._part(step.inner_fold), self._targets(step.iteration)
        try:
            kept = part.without_dropped(targets)
            lesson = Lesson(
                lambda: BACKBONES[settings.backbone](len(self._corpus.classes)),
                self.shared.segments(self._corpus, part.training, settings.training.standardisation),
                kept.training,
                kept.validation,
                targets,
                settings.training,
                training_seed(settings, step),
            )
            self._training = Training(
                lesson,
                memory.checkpoint(step),
                partial(memory.on_epoch, step),
                self.checkpoint_seconds,
                partial(memory.on_batch, step),
            )
        except UserError as error:
            self.failure = error
            return
        if self._training.run.resumed_under:
            memory.on_resumed(step, self._training.run.resumed_under)
        self._seconds += time.perf_counter() - begun

    def drop(self) -> None:
        """Let go of what is trained; it is begun anew from its last checkpoint."""
        self._training = None

    def go_on(self, failure: UserError | None, seconds: float, beside: int) -> None:
        """After an epoch that took so many `seconds`, of so many trainings `beside` one another: note what this one has
        come to, where that was its last."""
        self._seconds += seconds
        self._beside = max(self._beside, beside)
        self.failure = failure
        if failure is not None:
            self._training = None
        elif self.training.run.finished:
            step = self._left[0]
            result = self._result(step)
            self.memory.save(step, result)
            self._q[step] = result.q
            self._training = None
            self._seconds, self._beside = 0.0, 1
            self._left.pop(0)

    def _result(self, step: Step) -> StageResult:
        """What the training of `step` has come to, which has ended."""
        begun = time.perf_counter()
        corpus, part, training = self._corpus, self._part(step.inner_fold), self.training
        network, history = training.run.result()
        inner = step.inner_fold is not None
        q = self._predict(np.union1d(np.flatnonzero(part.test), part.validation) if inner else np.arange(len(corpus)))
        validation_wa = mean_pooled_wa(corpus, q, part.validation)
        if inner:
            q[~part.test] = np.nan
        device = training.lesson.segments.frames.device
        return StageResult(
            q,
            part.test,
            history,
            self._seconds + time.perf_counter() - begun,
            resumed_at=training.resumed_at,
            training_segments=len(training.lesson.training),
            validation_wa=validation_wa,
            targets_right=targets_right(corpus, training.lesson.targets, training.lesson.training),
            weights={name: value.cpu().numpy() for name, value in network.state_dict().items()},
            band_statistics=training.lesson.segments.statistics,
            peak_memory=torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
            beside=self._beside,
            recorded=training.run.recorded,
            resumed_under=training.run.resumed_under,
        )

    def _predict(self, index: Ints) -> Floats:
        """What the trained network says of segments `index` [n]: q, float32 [S, K]; NaN of all others."""
        lesson = self.training.lesson
        q = np.full_like(lesson.targets, np.nan)
        asked = torch.from_numpy(index).to(lesson.segments.frames.device)
        q[index] = self.training.run.predict(asked).cpu().numpy()
        return q

    def _part(self, inner_fold: int | None) -> FoldPart:
        if inner_fold not in self._parts:
            unaltered = self.shared.labelled(self.settings)
            self._parts[inner_fold] = FoldPart.of(unaltered, self.settings, inner_fold)
        return self._parts[inner_fold]

    def _targets(self, iteration: int) -> Floats:
        """Targets g of an iteration, float32 [S, K]; NaN for segments that the fold does not train or validate on.

        An update never sees those: what it makes of the others cannot depend on them.
        """
        whole = self._part(None)
        learnt = np.union1d(whole.training, whole.validation)
        y = one_hot(self._corpus.label[learnt], len(self._corpus.classes))
        g = y
        for t, update in enumerate(self.settings.updates[:iteration]):
            g = updated_targets(update, self._predictions(t)[learnt], y, g, self._corpus.utterance[learnt])
        targets = np.full((len(self._corpus), y.shape[1]), np.nan, dtype=np.float32)
        targets[learnt] = g
        return targets

    def _predictions(self, iteration: int) -> Floats:
        """What the label source says of the fold's training segments after `iteration`: [S, K]."""
        if self.settings.label_source == "in_fold":
            return self._q[Step(iteration)]
        if self.settings.label_source == "cross_fit":
            inner = [q for step, q in self._q.items() if step.iteration == iteration and step.inner_fold is not None]
            merged: Floats = np.nansum(inner, axis=0)  # NaN where an inner fold did not test
            return merged
        found = self.memory.out_of_fold(iteration)
        if found is None:
            raise MissingInputsError(f"iteration {iteration} of another fold is missing or damaged; repeat the run")
        return found


def mean_pooled_wa(corpus: SegmentCorpus, q: Floats, index: Ints) -> float | None:
    """The share of the utterances of segments `index` whose label is the class of the highest mean q; None of none."""
    if not len(index):
        return None
    asked, position = np.unique(corpus.utterance[index], return_inverse=True)
    sums = np.zeros((len(asked), q.shape[1]))
    np.add.at(sums, position, q[index])
    return float((sums.argmax(axis=1) == corpus.utterances["label"].to_numpy()[asked]).mean())


def targets_right(corpus: SegmentCorpus, targets: Floats, index: Ints) -> float | None:
    """The share of segments `index` whose most likely class by `targets` is the true one."""
    if corpus.true_label is None:
        return None
    return float((targets[index].argmax(axis=1) == corpus.true_label[index]).mean())
