"""Fitting one network (§VIII-A): loss, decay, early stopping, and going on after a kill with the same bits."""

import gc
import io
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.optimizer import register_optimizer_step_pre_hook

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl import steps, training
from dsl.backbones import BACKBONES
from dsl.labels import one_hot
from dsl.segments import Segments, band_statistics
from dsl.settings import Layout, TrainingSettings
from dsl.steps import Epoch, TrainingRun, predict
from dsl.training import Lesson, Training, TrainingDivergedError, train_an_epoch
from tests.dsl.dsl_toys import CPU, SETTINGS, KillError, MemoryCheckpoint, distributions, timeless
from tests.dsl.honest_recorder import a_gpu
from tests.dsl.lessons import fit

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "tiny": lambda: BACKBONES["tiny"](3),
    "with dropout": lambda: nn.Sequential(nn.Dropout(0.5), BACKBONES["tiny"](3)),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
}


class Trainer:
    """`fit` on the toy corpus: the first 14 utterances train, the other four validate."""

    def __init__(self, corpus: SegmentCorpus) -> None:
        self.training = np.flatnonzero(corpus.utterance < 14)
        self.validation = np.flatnonzero(corpus.utterance >= 14)
        self.segments = Segments(corpus, *band_statistics(corpus, self.training), CPU)
        self.label = one_hot(corpus.label, 3)
        self.soft = distributions(len(corpus), 3)
        rng = np.random.default_rng(0)
        random = rng.integers(0, 3, len(corpus))
        self.mistaken = one_hot(np.where(rng.random(len(corpus)) < 0.4, random, corpus.label), 3)

    def fit(
        self,
        targets: np.ndarray,
        settings: TrainingSettings = SETTINGS,
        *,
        network: str = "tiny",
        seed: int = 1,
        checkpoint: MemoryCheckpoint | None = None,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    ) -> tuple[nn.Module, list[Epoch]]:
        """With a checkpoint after each epoch."""
        lesson = self.lesson(targets, settings, network, seed)
        return fit(lesson, checkpoint or MemoryCheckpoint(), on_epoch, checkpoint_seconds=0)

    def lesson(self, targets: np.ndarray, settings: TrainingSettings, network: str, seed: int = 1) -> Lesson:
        parts = (self.segments, self.training, self.validation, targets)
        return Lesson(BUILDERS[network], *parts, settings, seed)

    def predict(self, network: nn.Module, index: np.ndarray) -> np.ndarray:
        return predict(network, self.segments, torch.from_numpy(index)).numpy()

    def loss(self, network: nn.Module, targets: np.ndarray, index: np.ndarray) -> float:
        """Mean over segments of - sum_k g_k log q_k (Eq. 5), in plain numpy."""
        q = self.predict(network, index).astype(np.float64)
        return float(-(targets[index] * np.log(q)).sum(axis=1).mean())


@pytest.fixture(scope="module")
def trainer(corpus: SegmentCorpus) -> Trainer:
    return Trainer(corpus)


@pytest.fixture
def rates() -> Iterator[list[float]]:
    """The learning rate of every step that an optimiser takes."""
    taken: list[float] = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: taken.append(optimizer.param_groups[0]["lr"]))
    yield taken
    handle.remove()


def best_of(history: list[Epoch]) -> int:
    return int(np.argmin(np.array([epoch.validation_loss for epoch in history], dtype=float)))


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


# Segments and standardisation


def test_a_batch_is_the_standardised_spectrograms_bands_by_frames(corpus: SegmentCorpus) -> None:
    index = np.array([30, 2, 2, 57])
    mean, deviation = np.arange(8.0), np.arange(1.0, 9)
    batch = Segments(corpus, mean, deviation, CPU).batch(torch.from_numpy(index))
    expected = ((corpus.spectrograms(index) - mean) / deviation).transpose(0, 2, 1)[:, None]
    assert batch.shape == (4, 1, 8, 8)
    np.testing.assert_allclose(batch.numpy(), expected, rtol=1e-6, atol=1e-6)  # float32 against float64


def test_band_statistics_count_each_frame_of_the_given_segments_once(corpus: SegmentCorpus) -> None:
    first, second, alone = 0, 1, 40  # the first two overlap
    mean, deviation = band_statistics(corpus, np.array([first, second, alone]))
    start = corpus.start[alone]
    frames = np.concatenate([corpus.frames[:9], corpus.frames[start : start + 8]]).astype(np.float64)
    np.testing.assert_allclose(mean, frames.mean(axis=0))
    np.testing.assert_allclose(deviation, frames.std(axis=0))


def test_band_statistics_do_not_see_other_segments(corpus: SegmentCorpus) -> None:
    given = np.flatnonzero(corpus.utterance < 9)
    end = corpus.start[given].max() + 8
    louder = replace(corpus, frames=np.concatenate([corpus.frames[:end], corpus.frames[end:] + 100]))
    np.testing.assert_array_equal(band_statistics(louder, given), band_statistics(corpus, given))


def test_a_silent_band_is_standardised_to_zero(corpus: SegmentCorpus) -> None:
    frames = corpus.frames.copy()
    frames[:, 3] = -7
    silent = replace(corpus, frames=frames)
    everything = np.arange(len(corpus))
    batch = Segments(silent, *band_statistics(silent, everything), CPU).batch(torch.from_numpy(everything))
    assert not batch[:, 0, 3].any()


# Learning


def test_a_training_learns_what_can_be_learned(trainer: Trainer) -> None:
    network, history = trainer.fit(trainer.label, replace(SETTINGS, epochs=6))
    assert history[-1].loss < history[0].loss / 2
    q = trainer.predict(network, trainer.validation)
    assert (q.argmax(axis=1) == trainer.label[trainer.validation].argmax(axis=1)).mean() > 0.8


def test_the_loss_is_the_mean_cross_entropy_against_the_soft_targets(trainer: Trainer) -> None:
    """Eq. 5. A linear network that stands still, so that its loss in the epoch is its loss after it."""
    assert len(trainer.training) % SETTINGS.batch_size != 0  # a short last batch counts by its segments
    standing = replace(SETTINGS, learning_rate=0.0, epochs=1)
    network, (epoch,) = trainer.fit(trainer.soft, standing, network="linear")
    assert epoch.loss == pytest.approx(trainer.loss(network, trainer.soft, trainer.training), rel=1e-6)
    assert epoch.validation_loss == pytest.approx(trainer.loss(network, trainer.soft, trainer.validation), rel=1e-6)


def test_soft_targets_are_learned_as_they_are(trainer: Trainer) -> None:
    """All segments have the same target: the least cross-entropy is its entropy, where predictions equal it."""
    target = np.array([0.2, 0.5, 0.3], dtype=np.float32)
    targets = np.tile(target, (len(trainer.label), 1))
    network, _ = trainer.fit(targets, replace(SETTINGS, epochs=20, patience=20))
    np.testing.assert_allclose(trainer.predict(network, trainer.validation).mean(axis=0), target, atol=0.03)


def test_the_validation_accuracy_is_the_share_whose_likeliest_class_is_the_targets(trainer: Trainer) -> None:
    network, (epoch,) = trainer.fit(trainer.soft, replace(SETTINGS, epochs=1))
    q = trainer.predict(network, trainer.validation)
    expected = (q.argmax(axis=1) == trainer.soft[trainer.validation].argmax(axis=1)).mean()
    assert epoch.validation_accuracy == pytest.approx(expected)


def test_targets_of_segments_outside_both_parts_do_not_matter(corpus: SegmentCorpus) -> None:
    trainer = Trainer(corpus)
    trainer.training = trainer.training[trainer.training >= 20]
    other = trainer.label.copy()
    other[:20] = np.nan
    assert timeless(trainer.fit(other)[1]) == timeless(trainer.fit(trainer.label)[1])


def test_the_optimiser_is_adam_with_the_defaults_of_tensorflow(trainer: Trainer) -> None:
    checkpoint = MemoryCheckpoint()
    trainer.fit(trainer.label, TrainingSettings(epochs=2), checkpoint=checkpoint)
    assert checkpoint.content is not None
    (group,) = torch.load(io.BytesIO(checkpoint.content))["optimizer"]["param_groups"]
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.999), 1e-7)
    assert (group["weight_decay"], group["amsgrad"]) == (0, False)


def test_the_optimiser_of_a_gpu_reads_its_learning_rate_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded step would repeat a number."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(steps, "Adam", lambda weights, rate, **more: given.update(rate=rate, **more))
    run = object.__new__(TrainingRun)
    run.settings, run.network, run._device = SETTINGS, BUILDERS["linear"](), torch.device("cuda", 0)
    with FakeTensorMode():
        run._new_optimizer()
    assert given.pop("rate").device.type == "cuda"
    assert given == {"eps": 1e-7, "fused": True, "capturable": True}


def test_the_learning_rate_falls_to_four_fifths_every_two_epochs(trainer: Trainer, rates: list[float]) -> None:
    trainer.fit(trainer.label, TrainingSettings(epochs=6, batch_size=len(trainer.training), patience=6))
    assert rates == pytest.approx([1e-3, 1e-3, 8e-4, 8e-4, 6.4e-4, 6.4e-4])


def test_what_a_training_holds_goes_with_its_last_reference(trainer: Trainer) -> None:
    """Not when Python's collector runs: the next training needs the memory."""
    lesson = trainer.lesson(trainer.label, replace(SETTINGS, epochs=1), "tiny")
    with a_gpu() as gpu:
        under_way = Training(lesson, MemoryCheckpoint())
        train_an_epoch([under_way])
    assert gpu.recorder is not None and gpu.recorder.replayed
    weights = [weakref.ref(weight) for weight in under_way.run.network.parameters()]
    gc.disable()
    try:
        del under_way
        assert not any(weight() is not None for weight in weights)
    finally:
        gc.enable()


class RecordedSegments(Segments):
    """Notes the segments of every batch that is learned from."""

    batches: list[list[int]]

    def batch(self, index: torch.Tensor, layout: Layout = "channels_last") -> torch.Tensor:
        if torch.is_grad_enabled():
            self.batches.append(index.tolist())
        return super().batch(index, layout)


@pytest.fixture
def recorded(corpus: SegmentCorpus) -> Trainer:
    trainer = Trainer(corpus)
    trainer.segments = RecordedSegments(corpus, *band_statistics(corpus, trainer.training), CPU)
    trainer.segments.batches = []
    return trainer


def batches_of(trainer: Trainer) -> list[list[int]]:
    assert isinstance(trainer.segments, RecordedSegments)
    return trainer.segments.batches


def test_an_epoch_takes_every_training_segment_once_and_no_other(recorded: Trainer) -> None:
    recorded.fit(recorded.label, replace(SETTINGS, epochs=1))
    assert sorted(chain.from_iterable(batches_of(recorded))) == recorded.training.tolist()


def test_every_epoch_takes_them_in_another_order(recorded: Trainer) -> None:
    recorded.fit(recorded.label, replace(SETTINGS, epochs=2, batch_size=len(recorded.training)))
    first, second = batches_of(recorded)
    assert first != second
    assert first != sorted(first)


@pytest.mark.parametrize(
    ("segments", "sizes"),
    [(10, [4, 4, 2]), (9, [4, 5]), (8, [4, 4]), (5, [5]), (3, [3])],
    ids=lambda value: str(value),
)
def test_a_last_batch_of_one_segment_joins_the_one_before(recorded: Trainer, segments: int, sizes: list[int]) -> None:
    """Batch normalisation cannot learn from one segment."""
    recorded.training = recorded.training[:segments]
    recorded.fit(recorded.label, replace(SETTINGS, epochs=1, batch_size=4))
    assert [len(batch) for batch in batches_of(recorded)] == sizes


def test_predictions_are_distributions_in_the_order_asked_for(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = BUILDERS["tiny"]()
    everything = trainer.predict(network, np.arange(40))
    np.testing.assert_allclose(everything.sum(axis=1), 1, rtol=1e-6)
    monkeypatch.setattr(steps, "EVALUATION_BATCH", 7)
    index = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(trainer.predict(network, index), everything[index], rtol=1e-5)


def test_a_loss_that_is_not_a_number_ends_the_training_with_the_epoch_and_the_remedy(trainer: Trainer) -> None:
    with pytest.raises(TrainingDivergedError, match=r"in epoch 1 .*lower training\.learning_rate \(now 0\.01\)"):
        trainer.fit(np.full_like(trainer.label, np.nan))
    assert issubclass(TrainingDivergedError, UserError)


def test_a_learning_rate_far_too_high_ends_the_training(trainer: Trainer) -> None:
    with pytest.raises(TrainingDivergedError, match=r"NaN or infinite .*\(now 1e\+30\)"):
        trainer.fit(trainer.label, replace(SETTINGS, learning_rate=1e30))


def test_an_epoch_that_diverged_is_not_kept(trainer: Trainer) -> None:
    checkpoint, targets = MemoryCheckpoint(), trainer.label.copy()

    def spoil(epoch: Epoch) -> None:
        targets[:] = np.nan  # the training sees the same memory

    with pytest.raises(TrainingDivergedError, match="in epoch 2 "):
        trainer.fit(targets, checkpoint=checkpoint, on_epoch=spoil)
    assert checkpoint.writes == 1


# Early stopping


STOPPING = replace(SETTINGS, epochs=30, learning_rate=3e-3)  # on mistaken labels it gets better, then worse


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 8)])
def test_a_training_ends_after_so_many_epochs_without_a_better_validation_loss(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, patience: int, epochs: int
) -> None:
    """Better than the best so far: neither better than the last one, nor as good."""
    losses = [5.0, 4.0, 6.0, 5.0, 3.0, 4.0, 3.5, 3.0, 2.0]
    scripted = iter(losses)
    monkeypatch.setattr(training, "_validation", lambda q, target: (next(scripted), 0.5))
    _, history = trainer.fit(trainer.label, replace(SETTINGS, epochs=len(losses), patience=patience), network="linear")
    assert [epoch.validation_loss for epoch in history] == losses[:epochs]


def test_a_training_that_goes_on_improving_ends_after_the_last_epoch(trainer: Trainer) -> None:
    _, history = trainer.fit(trainer.label, replace(SETTINGS, epochs=5, patience=5))
    assert [epoch.number for epoch in history] == [0, 1, 2, 3, 4]


def test_the_network_is_the_one_of_the_best_epoch(trainer: Trainer) -> None:
    network, history = trainer.fit(trainer.mistaken, STOPPING)
    best = best_of(history)
    assert 0 < best < len(history) - 1
    loss = trainer.loss(network, trainer.mistaken, trainer.validation)
    assert loss == pytest.approx(history[best].validation_loss, rel=1e-6)
    assert loss != pytest.approx(history[-1].validation_loss, rel=1e-3)


def test_without_validation_nothing_is_known_of_it_and_the_last_weights_are_kept(trainer: Trainer) -> None:
    """A validation part changes no bit of a training that it does not stop."""
    to_the_end = replace(STOPPING, epochs=6, early_stopping=False)
    with_part = trainer.fit(trainer.mistaken, to_the_end)
    lesson = trainer.lesson(trainer.mistaken, to_the_end, "tiny")
    network, history = fit(replace(lesson, validation=lesson.validation[:0]), MemoryCheckpoint())
    assert [(epoch.validation_loss, epoch.validation_accuracy) for epoch in history] == [(None, None)] * 6
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in with_part[1]]
    assert same_bits(network, with_part[0])


def test_killed_without_validation_a_training_goes_on_to_the_same_bits(trainer: Trainer) -> None:
    lesson = trainer.lesson(trainer.mistaken, replace(STOPPING, epochs=4, early_stopping=False), "tiny")
    lesson = replace(lesson, validation=lesson.validation[:0])
    whole, expected = fit(lesson, MemoryCheckpoint())
    checkpoint = MemoryCheckpoint()
    checkpoint.fail_at = 2
    with pytest.raises(KillError):
        fit(lesson, checkpoint, checkpoint_seconds=0)
    checkpoint.fail_at = None
    network, history = fit(lesson, checkpoint, checkpoint_seconds=0)
    assert timeless(history) == timeless(expected)
    assert same_bits(network, whole)


def test_a_training_without_validation_that_diverges_tells_the_loss_it_has(trainer: Trainer) -> None:
    settings = replace(SETTINGS, early_stopping=False, learning_rate=1e30)
    lesson = trainer.lesson(trainer.label, settings, "tiny")
    with pytest.raises(TrainingDivergedError, match=r"in epoch \d+ \(training [^,]*\); lower"):
        fit(replace(lesson, validation=lesson.validation[:0]), MemoryCheckpoint())


TO_THE_END = replace(STOPPING, epochs=6, patience=1, early_stopping=False)


def test_without_early_stopping_a_training_has_all_its_epochs(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter(range(6))  # worse with every epoch
    monkeypatch.setattr(training, "_validation", lambda q, target: (float(next(losses)), 0.5))
    _, history = trainer.fit(trainer.label, TO_THE_END, network="linear")
    assert [epoch.number for epoch in history] == [0, 1, 2, 3, 4, 5]


def test_without_early_stopping_the_network_is_the_one_of_the_last_epoch(trainer: Trainer) -> None:
    to_the_end = replace(STOPPING, epochs=12, early_stopping=False)
    network, history = trainer.fit(trainer.mistaken, to_the_end)
    assert best_of(history) < 11
    loss = trainer.loss(network, trainer.mistaken, trainer.validation)
    assert loss == pytest.approx(history[-1].validation_loss, rel=1e-6)
    assert loss != pytest.approx(history[best_of(history)].validation_loss, rel=1e-3)


# The same bits


Outcome = tuple[list[Epoch], bytes]


class Resumable:
    """A training on mistaken labels, in as many pieces as it takes. `reported`: the epochs of the last piece."""

    def __init__(self, trainer: Trainer, network: str, settings: TrainingSettings = STOPPING) -> None:
        self.trainer = trainer
        self.network = network
        self.settings = settings
        self.checkpoint = MemoryCheckpoint()
        self.reported: list[int] = []

    def go_on(self, seed: int = 1, killed_in: int | None = None) -> Outcome:
        """History and predictions at the end; a KillError where the training is killed in epoch `killed_in`."""
        self.reported = []

        def on_epoch(epoch: Epoch) -> None:
            self.reported.append(epoch.number)
            if epoch.number == killed_in:
                raise KillError

        network, history = self.trainer.fit(
            self.trainer.mistaken,
            self.settings,
            network=self.network,
            seed=seed,
            checkpoint=self.checkpoint,
            on_epoch=on_epoch,
        )
        q = self.trainer.predict(network, np.arange(len(self.trainer.label)))
        return timeless(history), q.tobytes()


@pytest.fixture(params=["tiny", "with dropout"])
def resumable(trainer: Trainer, request: pytest.FixtureRequest) -> Resumable:
    torch.manual_seed(99)  # what came before does not matter
    return Resumable(trainer, request.param)


@pytest.fixture(scope="module")
def whole(trainer: Trainer) -> dict[str, Outcome]:
    """What uninterrupted trainings come to. They end before the last epoch, after the best one was left behind."""
    found = {network: Resumable(trainer, network).go_on() for network in ("tiny", "with dropout")}
    assert all(1 < best_of(history) < len(history) - 1 < STOPPING.epochs - 1 for history, _ in found.values())
    return found


def test_the_same_seed_gives_the_same_bits(resumable: Resumable, whole: dict[str, Outcome]) -> None:
    assert resumable.go_on(seed=1) == whole[resumable.network]


def test_another_seed_gives_others(resumable: Resumable, whole: dict[str, Outcome]) -> None:
    assert resumable.go_on(seed=2) != whole[resumable.network]


def test_a_training_killed_in_any_epoch_goes_on_to_the_same_bits(
    resumable: Resumable, whole: dict[str, Outcome]
) -> None:
    expected = whole[resumable.network]
    last = len(expected[0]) - 1
    for killed in range(last + 1):
        resumable.checkpoint = MemoryCheckpoint()
        with pytest.raises(KillError):
            resumable.go_on(killed_in=killed)
        assert resumable.go_on() == expected
        assert resumable.reported == list(range(min(killed + 1, last), last + 1))


def test_a_training_without_early_stopping_that_was_killed_goes_on_to_the_same_bits(trainer: Trainer) -> None:
    expected = Resumable(trainer, "tiny", TO_THE_END).go_on()
    for killed in range(6):
        training = Resumable(trainer, "tiny", TO_THE_END)
        with pytest.raises(KillError):
            training.go_on(killed_in=killed)
        assert training.go_on() == expected


def test_a_training_killed_again_and_again_goes_on_to_the_same_bits(
    resumable: Resumable, whole: dict[str, Outcome]
) -> None:
    for killed in range(3):
        with pytest.raises(KillError):
            resumable.go_on(killed_in=killed)
    assert resumable.go_on() == whole[resumable.network]


def test_a_training_killed_before_its_state_is_written_goes_on_from_the_one_before(
    resumable: Resumable, whole: dict[str, Outcome]
) -> None:
    resumable.checkpoint.fail_at = 2
    with pytest.raises(KillError):
        resumable.go_on()
    resumable.checkpoint.fail_at = None
    assert resumable.go_on() == whole[resumable.network]
    assert resumable.reported[0] == 2


def test_a_training_whose_state_was_lost_begins_anew(resumable: Resumable, whole: dict[str, Outcome]) -> None:
    with pytest.raises(KillError):
        resumable.go_on(killed_in=2)
    resumable.checkpoint.content = None
    assert resumable.go_on() == whole[resumable.network]
    assert resumable.reported[0] == 0


def test_a_resumed_training_goes_on_with_the_learning_rate_it_had(trainer: Trainer, rates: list[float]) -> None:
    settings = TrainingSettings(epochs=5, batch_size=len(trainer.training), patience=5)
    checkpoint = MemoryCheckpoint()
    checkpoint.fail_at = 3
    with pytest.raises(KillError):
        trainer.fit(trainer.label, settings, checkpoint=checkpoint)
    checkpoint.fail_at = None
    rates.clear()
    trainer.fit(trainer.label, settings, checkpoint=checkpoint)
    assert rates == pytest.approx([8e-4, 6.4e-4])


# Checkpoints


class Clock:
    """Seconds that pass as `epoch` says, in each epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epoch: float) -> None:
        self.now = 1000.0
        self.epoch = epoch
        monkeypatch.setattr(training, "time", self)

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        self.now += self.epoch / 2  # asked before and after an epoch's batches
        return self.now


def written_after(trainer: Trainer, clock: Clock, **seconds: float) -> list[int]:
    """The epochs of eight after which a checkpoint was there that had not been before."""
    checkpoint, written = MemoryCheckpoint(), []
    known = [0]

    def hear(epoch: Epoch) -> None:
        if checkpoint.writes > known[0]:
            written.append(epoch.number)
        known[0] = checkpoint.writes

    settings = replace(SETTINGS, epochs=8, patience=8)
    fit(trainer.lesson(trainer.label, settings, "linear"), checkpoint, hear, **seconds)
    return written


def test_a_checkpoint_is_written_once_a_minute_at_most(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written_after(trainer, Clock(monkeypatch, epoch=25)) == [2, 5]
    assert written_after(trainer, Clock(monkeypatch, epoch=7)) == []
    assert written_after(trainer, Clock(monkeypatch, epoch=61)) == [0, 1, 2, 3, 4, 5, 6]


def test_a_checkpoint_is_written_as_often_as_one_likes(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written_after(trainer, Clock(monkeypatch, epoch=25), checkpoint_seconds=40) == [1, 3, 5]
    assert written_after(trainer, Clock(monkeypatch, epoch=1), checkpoint_seconds=0) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("early_stopping", [True, False])
def test_best_weights_are_kept_where_they_are_not_the_newest(trainer: Trainer, early_stopping: bool) -> None:
    checkpoint, kept = MemoryCheckpoint(), []
    history: list[Epoch] = []

    def hear(epoch: Epoch) -> None:
        history.append(epoch)
        if checkpoint.content is not None:
            state = torch.load(io.BytesIO(checkpoint.content))
            number = len(state["history"]) - 1
            newest = not early_stopping or best_of(history[: number + 1]) == number
            kept.append((newest, bool(state["best_weights"])))

    settings = replace(STOPPING, epochs=14, early_stopping=early_stopping)
    trainer.fit(trainer.mistaken, settings, checkpoint=checkpoint, on_epoch=hear)
    assert set(kept) == ({(True, False), (False, True)} if early_stopping else {(True, False)})


def with_best_weights(content: bytes) -> bytes:
    """A checkpoint as it was once written: with the best weights also where they are the newest."""
    state = torch.load(io.BytesIO(content))
    state["best_weights"] = state["best_weights"] or state["network"]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("settings", [STOPPING, TO_THE_END], ids=["early stopping", "to the end"])
@pytest.mark.parametrize("killed", range(4))
def test_a_checkpoint_that_always_has_best_weights_comes_to_the_same_bits(
    trainer: Trainer, settings: TrainingSettings, killed: int
) -> None:
    expected = Resumable(trainer, "tiny", settings).go_on()
    found = Resumable(trainer, "tiny", settings)
    with pytest.raises(KillError):
        found.go_on(killed_in=killed)
    assert found.checkpoint.content is not None
    found.checkpoint.content = with_best_weights(found.checkpoint.content)
    assert found.go_on() == expected
    assert found.reported[0] == killed + 1


# Layouts


def test_a_batch_lies_as_the_layout_says(trainer: Trainer) -> None:
    index = torch.tensor([3, 1, 4])
    last, first = trainer.segments.batch(index), trainer.segments.batch(index, "contiguous")
    assert torch.equal(last, first)
    assert (last.stride(), first.stride()) == ((64, 1, 8, 1), (64, 64, 8, 1))


@pytest.mark.parametrize("network", ["tiny", "with dropout"])
def test_a_network_learns_the_same_in_either_layout_but_for_rounding(trainer: Trainer, network: str) -> None:
    settings = replace(SETTINGS, layout="contiguous", epochs=2)
    found, history = trainer.fit(trainer.label, settings, network=network)
    _, expected = trainer.fit(trainer.label, replace(SETTINGS, epochs=2), network=network)
    assert [epoch.loss for epoch in history] == pytest.approx([epoch.loss for epoch in expected], rel=1e-3)
    assert all(weight.is_contiguous() for weight in found.parameters())


def test_a_network_of_either_layout_goes_on_to_the_same_bits(trainer: Trainer) -> None:
    settings = replace(TO_THE_END, layout="contiguous")
    expected, found = Resumable(trainer, "tiny", settings).go_on(), Resumable(trainer, "tiny", settings)
    with pytest.raises(KillError):
        found.go_on(killed_in=2)
    assert found.go_on() == expected
