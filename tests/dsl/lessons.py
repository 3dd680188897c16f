"""Lessons for several networks, what they come to, and how they are taught side by side."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from data_prep.shards import SegmentCorpus
from dsl.backbones import BACKBONES
from dsl.labels import one_hot
from dsl.segments import Segments, band_statistics
from dsl.settings import TrainingSettings
from dsl.steps import Epoch
from dsl.training import (
    CHECKPOINT_SECONDS,
    Checkpoint,
    Lesson,
    Training,
    TrainingDivergedError,
    train_an_epoch,
)
from tests.dsl.dsl_toys import CPU, SETTINGS, KillError, MemoryCheckpoint, distributions, timeless, toy_corpus

Outcome = tuple[list[Epoch], bytes]  # history without the clock, and all of the network's bits
EPOCHS = replace(SETTINGS, epochs=3, patience=3, batch_size=8, decay_epochs=1)


def build_tiny() -> nn.Module:
    return BACKBONES["tiny"](3)


def build_with_dropout() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), BACKBONES["tiny"](3))


def lessons_of(
    corpus: SegmentCorpus, settings: TrainingSettings = EPOCHS, build: Callable[[], nn.Module] = build_tiny
) -> list[Lesson]:
    """Those of three networks: targets, parts and seed are each one's own, and the frames are shared."""
    rng = np.random.default_rng(0)
    mistaken = np.where(rng.random(len(corpus)) < 0.4, rng.integers(0, 3, len(corpus)), corpus.label)
    targets = one_hot(corpus.label, 3), one_hot(mistaken, 3), distributions(len(corpus), 3)
    segments = Segments(corpus, np.zeros(corpus.frames.shape[1]), np.ones(corpus.frames.shape[1]), CPU)
    lessons = []
    for number, target in enumerate(targets):
        held_out = corpus.utterance % 4 == number
        training, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        own = segments.standardised_by(*band_statistics(corpus, training))
        lessons.append(Lesson(build, own, training, validation, target, settings, seed=number + 1))
    return lessons


def fit(
    lesson: Lesson,
    checkpoint: Checkpoint,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> tuple[nn.Module, list[Epoch]]:
    """Train one network to its end."""
    training = Training(lesson, checkpoint, on_epoch, checkpoint_seconds)
    while not training.run.finished:
        (failure,) = train_an_epoch([training])
        if failure is not None:
            raise failure
    return training.run.result()


def paper_sized(segments: int) -> SegmentCorpus:
    """So many segments of 64 Mel bands x 32 frames, each an utterance."""
    rng = np.random.default_rng(0)
    index, toy = np.arange(segments), toy_corpus()
    utterances = toy.utterances.iloc[index % len(toy.utterances)].reset_index(drop=True)
    return replace(
        toy,
        utterances=utterances,
        frames=rng.normal(size=(8 * segments + 24, 64)).astype(np.float32),
        utterance=index,
        segment=np.zeros_like(index),
        start=8 * index,
        segment_frames=32,
    )


def outcome_of(training: Training) -> Outcome:
    network, history = training.run.result()
    return timeless(history), bits_of(network)


def epochs_of(outcomes: Sequence[Outcome | str]) -> list[int]:
    """How many each was trained, of such as could go on."""
    return [len(one[0]) for one in outcomes]


def bits_of(network: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in network.state_dict().values())


def teach(
    lessons: Sequence[Lesson], checkpoints: Sequence[MemoryCheckpoint] | None = None, killed_in: int | None = None
) -> list[Outcome | str]:
    """What each comes to, taught side by side, or why it could not go on. With a checkpoint after each epoch; a
    KillError where the last one's epoch `killed_in` is reported."""

    def hear(epoch: Epoch) -> None:
        if epoch.number == killed_in:
            raise KillError

    checkpoints = checkpoints or [MemoryCheckpoint() for _ in lessons]
    told = [*[lambda epoch: None] * (len(lessons) - 1), hear]
    trainings = [Training(*each, 0) for each in zip(lessons, checkpoints, told, strict=True)]
    failures: dict[int, TrainingDivergedError] = {}
    while under_way := [n for n, one in enumerate(trainings) if n not in failures and not one.run.finished]:
        for n, failure in zip(under_way, train_an_epoch([trainings[n] for n in under_way]), strict=True):
            if failure is not None:
                failures[n] = failure
    return [str(failures[n]) if n in failures else outcome_of(one) for n, one in enumerate(trainings)]


def teach_alone(lessons: Sequence[Lesson]) -> list[Outcome | str]:
    """What each comes to by itself."""
    return [teach([one])[0] for one in lessons]
