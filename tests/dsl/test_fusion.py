"""Trainings fused into one: each comes to what it would alone, whatever becomes of the others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from dsl_toys import CPU, SETTINGS, KillError, MemoryCheckpoint, MemoryStages, distributions
from torch import nn

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl import chain, training
from dsl.backbones import BACKBONES
from dsl.chain import run_chain, run_chains
from dsl.fusion import Stack
from dsl.labels import LabelUpdate, one_hot
from dsl.segments import Segments, band_statistics
from dsl.settings import ChainSettings, Step, TrainingSettings
from dsl.steps import Epoch, TrainingRun, predict
from dsl.training import Fitted, Learner, TrainingDivergedError, fit_together

CLOSE = {"rtol": 2e-3, "atol": 2e-4}  # sums of a grouped convolution round differently
QUICK = replace(SETTINGS, epochs=2)
STOPPING = replace(SETTINGS, epochs=30, patience=2)


class Class:
    """Several learners of one network on the toy corpus: the first 14 utterances train, the other four validate."""

    def __init__(self, corpus: SegmentCorpus, network: str = "tiny") -> None:
        self.network = network
        self.training = np.flatnonzero(corpus.utterance < 14)
        self.validation = np.flatnonzero(corpus.utterance >= 14)
        self.segments = Segments(corpus, *band_statistics(corpus, self.training), CPU)
        rng = np.random.default_rng(0)
        random = rng.integers(0, 3, len(corpus))
        self.label = one_hot(corpus.label, 3)
        self.mistaken = one_hot(np.where(rng.random(len(corpus)) < 0.4, random, corpus.label), 3)
        self.soft = distributions(len(corpus), 3)
        self.targets = [self.label, self.mistaken, self.soft]

    def build(self) -> nn.Module:
        if self.network == "with dropout":
            return nn.Sequential(nn.Dropout(0.5), BACKBONES["tiny"](3))
        return BACKBONES[self.network](3)

    def fit(
        self,
        targets: Sequence[np.ndarray],
        settings: TrainingSettings = QUICK,
        checkpoints: Sequence[MemoryCheckpoint] | None = None,
        killed_in: int | None = None,
    ) -> list[Fitted | TrainingDivergedError]:
        """Fit all together; a KillError where the last learner's epoch `killed_in` is reported."""

        def hear(epoch: Epoch) -> None:
            if epoch.number == killed_in:
                raise KillError

        checkpoints = checkpoints or [MemoryCheckpoint() for _ in targets]
        learners = [Learner(*each) for each in zip(targets, checkpoints, strict=True)]
        learners[-1] = replace(learners[-1], on_epoch=hear)
        return fit_together(self.build, self.segments, self.training, self.validation, learners, settings, seed=1)

    def predict(self, network: nn.Module) -> np.ndarray:
        return predict(network, self.segments, torch.arange(len(self.label))).numpy()

    def assert_same(self, found: Any, expected: Any, **tolerance: float) -> None:
        """Two outcomes of a training are the same but for rounding, or exactly."""
        (network, history), (other, its_history) = found, expected
        assert len(history) == len(its_history)
        for epoch, its in zip(history, its_history, strict=True):
            np.testing.assert_allclose(
                [epoch.loss, epoch.validation_loss], [its.loss, its.validation_loss], **(tolerance or {"rtol": 0})
            )
        np.testing.assert_allclose(self.predict(network), self.predict(other), **(tolerance or {"rtol": 0}))


@pytest.fixture(params=["tiny", "with dropout"])
def learning(corpus: SegmentCorpus, request: pytest.FixtureRequest) -> Class:
    return Class(corpus, request.param)


def test_each_comes_to_what_it_would_alone(learning: Class) -> None:
    for found, targets in zip(learning.fit(learning.targets), learning.targets, strict=True):
        learning.assert_same(found, learning.fit([targets])[0], **CLOSE)


@pytest.mark.parametrize("backbone", ["densenet22", "mobilenetv2", "efficientnet_b0"])
def test_a_step_of_a_backbone_is_that_of_each_network_alone(backbone: str) -> None:
    """On segments of the paper's size, in training mode and in evaluation; after a step the weights are the same."""
    rng = np.random.default_rng(0)
    segments = Segments(paper_sized(rng), np.zeros(64), np.ones(64), CPU)
    goals = [torch.from_numpy(distributions(6, 3, seed)) for seed in range(3)]
    settings = TrainingSettings(batch_size=6, learning_rate=1e-4)
    fused = [TrainingRun(lambda: BACKBONES[backbone](3), settings, 0, CPU) for _ in goals]
    stack = Stack(fused)
    losses = stack.train_epoch(segments, np.arange(6), goals, seed=5)
    stack.give_back()
    for run, goal, loss in zip(fused, goals, losses, strict=True):
        alone = TrainingRun(lambda: BACKBONES[backbone](3), settings, 0, CPU)
        assert loss == pytest.approx(alone.train_epoch(segments, np.arange(6), goal, seed=5), rel=1e-4)
        # Not the weights: Adam's first step is of the same size for any gradient, and some are 0 but for rounding.
        found, expected = gradients(run), gradients(alone)
        assert (found - expected).norm() < 1e-4 * expected.norm()
        for name, buffer in alone.network.named_buffers():
            torch.testing.assert_close(run.network.get_buffer(name), buffer, rtol=1e-3, atol=1e-5)


def gradients(run: TrainingRun) -> torch.Tensor:
    """Those of a run's only step, up to a factor: Adam's first moments."""
    return torch.cat([state["exp_avg"].flatten() for state in run.optimizer.state.values()])


def paper_sized(rng: np.random.Generator) -> SegmentCorpus:
    from tests.dsl.dsl_toys import toy_corpus

    frames = rng.normal(size=(6 * 32, 64)).astype(np.float32)
    start = np.arange(6) * 32
    return replace(toy_corpus(), frames=frames, start=start, utterance=start, segment=start, segment_frames=32)


def test_each_stops_when_its_own_validation_says_so(corpus: SegmentCorpus) -> None:
    learning = Class(corpus)
    found = learning.fit(learning.targets, STOPPING)
    alone = [learning.fit([targets], STOPPING)[0] for targets in learning.targets]
    lengths = [len(history) for _, history in found]
    assert len(set(lengths)) > 1
    assert lengths == [len(history) for _, history in alone]


def test_one_that_diverges_leaves_the_others_as_they_are(corpus: SegmentCorpus) -> None:
    learning = Class(corpus)
    first, spoilt, last = learning.fit([learning.label, np.full_like(learning.label, np.nan), learning.soft])
    assert isinstance(spoilt, TrainingDivergedError)
    learning.assert_same(first, learning.fit([learning.label])[0], **CLOSE)
    learning.assert_same(last, learning.fit([learning.soft])[0], **CLOSE)


@pytest.mark.parametrize("killed", range(3))
def test_killed_in_any_epoch_they_go_on_to_the_same_bits(learning: Class, killed: int) -> None:
    settings = replace(SETTINGS, epochs=4, patience=4)
    checkpoints = [MemoryCheckpoint() for _ in learning.targets]
    with pytest.raises(KillError):
        learning.fit(learning.targets, settings, checkpoints, killed_in=killed)
    for found, expected in zip(
        learning.fit(learning.targets, settings, checkpoints), learning.fit(learning.targets, settings), strict=True
    ):
        learning.assert_same(found, expected)


def test_a_fused_training_can_be_taken_up_alone(learning: Class) -> None:
    settings = replace(SETTINGS, epochs=4, patience=4)
    checkpoints = [MemoryCheckpoint() for _ in learning.targets]
    with pytest.raises(KillError):
        learning.fit(learning.targets, settings, checkpoints, killed_in=1)
    (found,) = learning.fit(learning.targets[:1], settings, checkpoints[:1])
    learning.assert_same(found, learning.fit(learning.targets[:1], settings)[0], **CLOSE)


def test_those_that_are_behind_catch_up(corpus: SegmentCorpus) -> None:
    """One of two was interrupted, the other never began."""
    learning = Class(corpus)
    settings = replace(SETTINGS, epochs=4, patience=4)
    ahead = MemoryCheckpoint()
    with pytest.raises(KillError):
        learning.fit([learning.label], settings, [ahead], killed_in=2)
    both = learning.fit([learning.label, learning.soft], settings, [ahead, MemoryCheckpoint()])
    for found, targets in zip(both, (learning.label, learning.soft), strict=True):
        learning.assert_same(found, learning.fit([targets], settings)[0], **CLOSE)


# Chains in lockstep

UPDATES = [LabelUpdate("bdsl"), LabelUpdate("wdsl", 0.5), LabelUpdate("gsl")]
CROSS_FIT = {"label_source": "cross_fit", "inner_folds": 2}


def settings_of(*updates: LabelUpdate, **settings: Any) -> ChainSettings:
    return replace(ChainSettings("toy", "tiny", "stratified", 3, 0, 0, "in_fold", updates, QUICK), **settings)


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many learners each training had."""
    noted: list[int] = []
    together = training.fit_together

    def noting(*arguments: Any) -> Any:
        noted.append(len(arguments[4]))
        return together(*arguments)

    monkeypatch.setattr(chain, "fit_together", noting)
    return noted


@pytest.mark.parametrize("source", [{}, CROSS_FIT], ids=["in_fold", "cross_fit"])
def test_chains_in_lockstep_come_to_what_each_does_alone(
    corpus: SegmentCorpus, taught: list[int], source: dict[str, Any]
) -> None:
    chains = [settings_of(update, update, **source) for update in UPDATES]
    shared: dict[Step, Any] = {}
    memories = [SharingStages(shared) for _ in chains]
    assert run_chains(corpus, chains, CPU, memories) == [None] * 3
    inner = len(chains[0].steps) - 3  # two iterations' inner networks, of which those of iteration 0 are shared
    assert taught == [1] * (1 + inner // 2) + [3] * (2 + inner // 2)
    for one, memory in zip(chains, memories, strict=True):
        alone = MemoryStages()
        run_chain(corpus, one, CPU, alone)
        for step, result in alone.trained.items():
            np.testing.assert_allclose(memory.load(step), result.q, rtol=5e-3, atol=2e-3)


class SharingStages(MemoryStages):
    """The memory of one of several chains that find one another's iteration 0."""

    def __init__(self, shared: dict[Step, Any]) -> None:
        super().__init__()
        self._shared = shared

    def load(self, step: Step) -> np.ndarray | None:
        return self._shared.get(step) if step.iteration == 0 else super().load(step)

    def save(self, step: Step, result: Any) -> None:
        super().save(step, result)
        self._shared[step] = result.q


def test_chains_that_part_later_share_what_comes_before(corpus: SegmentCorpus, taught: list[int]) -> None:
    first, second, third = UPDATES
    chains = [settings_of(first, second), settings_of(first, third), settings_of(second, second)]

    class Store(MemoryStages):
        """Of all chains, by the updates that a stage follows from."""

        kept: dict[Any, np.ndarray] = {}  # noqa: RUF012

        def __init__(self, chain: ChainSettings) -> None:
            super().__init__()
            self._updates = chain.updates

        def load(self, step: Step) -> np.ndarray | None:
            return self.kept.get(self._updates[: step.iteration])

        def save(self, step: Step, result: Any) -> None:
            self.kept[self._updates[: step.iteration]] = result.q

    assert run_chains(corpus, chains, CPU, [Store(one) for one in chains]) == [None] * 3
    assert taught == [1, 2, 3]
    assert len(Store.kept) == 6


def test_a_chain_that_cannot_go_on_leaves_the_others(corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fine, broken = settings_of(UPDATES[0]), settings_of(LabelUpdate("wdsl", 0.5))
    updated = chain.updated_targets

    def failing(update: LabelUpdate, *rest: Any) -> np.ndarray:
        targets = updated(update, *rest)
        return targets * np.nan if update.rule == "wdsl" else targets

    monkeypatch.setattr(chain, "updated_targets", failing)
    memories = [MemoryStages(), MemoryStages()]
    failures = run_chains(corpus, [fine, broken], CPU, memories)
    assert failures[0] is None and isinstance(failures[1], UserError)
    assert list(memories[0].trained) == [Step(0), Step(1)] and list(memories[1].trained) == [Step(0)]


def test_epochs_are_told_with_the_chain_they_are_of(corpus: SegmentCorpus) -> None:
    told: list[tuple[int, Step, int]] = []
    chains = [settings_of(update) for update in UPDATES[:2]]
    run_chains(corpus, chains, CPU, [MemoryStages(), MemoryStages()], lambda n, s, e: told.append((n, s, e.number)))
    assert [each for each in told if each[1] == Step(1)] == [(n, Step(1), e) for e in range(2) for n in range(2)]
