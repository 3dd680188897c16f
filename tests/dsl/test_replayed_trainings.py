"""Trainings whose steps are replayed come to the bits of trainings step by step, alone and side by side.

There is no GPU here. A stand-in records as a CUDA graph does (`honest_recorder`), and every run has a stream.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from data_prep.shards import SegmentCorpus
from dsl.acceleration.recording import EXACT
from dsl.backbones import BACKBONES, build_vgg19
from dsl.company import Company, run_chain
from dsl.labels import LabelUpdate
from dsl.settings import ChainSettings
from dsl.training import Lesson, Training, train_an_epoch
from tests.dsl.dsl_toys import CPU, KillError, MemoryCheckpoint, MemoryStages
from tests.dsl.honest_recorder import Device, Replay, a_gpu, record_honestly
from tests.dsl.lessons import (
    EPOCHS,
    Outcome,
    build_with_dropout,
    epochs_of,
    lessons_of,
    outcome_of,
    paper_sized,
    teach,
    teach_alone,
)

FULL_BATCHES = 4  # of an epoch of `small_lessons`: the last one of them is recorded


@pytest.fixture
def gpu() -> Iterator[Device]:
    with a_gpu() as device:
        yield device


def step_by_step(lessons: list[Lesson]) -> list[Outcome | str]:
    """What each comes to alone, with nothing recorded."""
    with a_gpu(record=None):
        return teach_alone(lessons)


# Backbones


def build(backbone: str) -> nn.Module:
    return build_vgg19(3, narrowed=16) if backbone == "vgg19" else BACKBONES[backbone](3)


def small_lessons(backbone: str) -> list[Lesson]:
    """Two epochs of segments of the paper's size: batches of two, the last of three."""
    settings = replace(EPOCHS, epochs=2, batch_size=2, learning_rate=1e-3)
    return lessons_of(paper_sized(15), settings, lambda: build(backbone))


@cache
def expected_of(backbone: str) -> list[Outcome | str]:
    return step_by_step(small_lessons(backbone))


def assert_replayed(gpu: Device, networks: int) -> None:
    """Every network was recorded once, and each batch after that replayed."""
    recorder = gpu.recorder
    assert recorder is not None
    assert list(recorder.found.values()) == [EXACT]
    assert (recorder.recorded, recorder.replayed) == (networks, networks * (1 + FULL_BATCHES))


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_replayed_backbone_comes_to_the_bits_of_one_step_by_step(gpu: Device, backbone: str, networks: int) -> None:
    expected = expected_of(backbone)
    assert teach(small_lessons(backbone)[:networks]) == expected[:networks]
    assert_replayed(gpu, networks)


@pytest.mark.parametrize("backbone", ["tiny", "vgg19"])
def test_so_it_does_in_bfloat16(gpu: Device, backbone: str) -> None:
    lessons = [replace(one, settings=replace(one.settings, precision="bfloat16")) for one in small_lessons(backbone)]
    expected = step_by_step(lessons)
    assert expected != expected_of(backbone)
    assert teach(lessons) == expected
    assert_replayed(gpu, 3)


# Turns


def turns_of_an_epoch(gpu: Device, trainings: list[Training]) -> list[int]:
    """Which training's stream is given work, each time that it is another's."""
    gpu.turns.clear()
    train_an_epoch(trainings)
    streams: list[object] = [one.run._stream for one in trainings]
    return [streams.index(stream) for stream in gpu.turns]


def test_a_batch_of_each_is_learnt_from_in_turn(gpu: Device) -> None:
    trainings = [Training(lesson, MemoryCheckpoint()) for lesson in small_lessons("tiny")]
    for _ in range(2):  # step by step, and replayed
        batches = [0, 1, 2] * (FULL_BATCHES + 1)
        assert turns_of_an_epoch(gpu, trainings)[: len(batches)] == batches


def test_networks_that_draw_random_numbers_are_trained_one_after_the_other(gpu: Device, corpus: SegmentCorpus) -> None:
    """There is one source of them for all."""
    lessons = lessons_of(corpus, build=build_with_dropout)
    trainings = [Training(lesson, MemoryCheckpoint()) for lesson in lessons]
    for _ in range(2):
        one_epoch, its_end = [0, 1, 2], [0, 1, 2]
        assert turns_of_an_epoch(gpu, trainings) == one_epoch + its_end


@pytest.mark.parametrize("drawing", [(0,), (2,), (0, 1, 2)])
def test_networks_that_draw_come_to_their_bits_beside_any_others(
    gpu: Device, corpus: SegmentCorpus, drawing: tuple[int, ...]
) -> None:
    lessons = lessons_of(corpus)
    for number in drawing:
        lessons[number] = replace(lessons[number], build=build_with_dropout)
    expected = step_by_step(lessons)
    assert teach(lessons) == expected
    assert gpu.recorder is not None and set(gpu.recorder.found.values()) == {EXACT}


# Whatever becomes of a training, and of those beside it


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("killed", range(3))
def test_killed_in_any_epoch_they_go_on_to_the_same_bits(corpus: SegmentCorpus, networks: int, killed: int) -> None:
    lessons = lessons_of(corpus)[:networks]
    expected = step_by_step(lessons)
    checkpoints = [MemoryCheckpoint() for _ in lessons]
    with a_gpu(), pytest.raises(KillError):
        teach(lessons, checkpoints, killed_in=killed)
    with a_gpu() as another_process:
        assert teach(lessons, checkpoints) == expected
    assert another_process.recorder is not None and another_process.recorder.replayed > 0


def test_a_network_alone_then_beside_others_then_alone_comes_to_the_same_bits(
    gpu: Device, corpus: SegmentCorpus
) -> None:
    lessons = lessons_of(corpus)
    expected = step_by_step(lessons)
    trainings = [Training(lesson, MemoryCheckpoint()) for lesson in lessons]
    first, *others = trainings
    for together in ([first], trainings, [first], others, others):
        train_an_epoch(together)
    assert [outcome_of(one) for one in trainings] == expected


def restore(training: Training) -> None:
    training.run.restore(training.run.state())


def move_moments(training: Training) -> None:
    states = training.run.optimizer.state
    for weight, state in states.items():
        states[weight] = {name: value.clone() for name, value in state.items()}


@pytest.mark.parametrize("move", [restore, move_moments])
def test_a_recording_is_not_replayed_once_what_it_changes_lies_elsewhere(
    gpu: Device, corpus: SegmentCorpus, move: Callable[[Training], None]
) -> None:
    lesson = lessons_of(corpus)[0]
    expected = step_by_step([lesson])
    training = Training(lesson, MemoryCheckpoint())
    train_an_epoch([training])
    kept = training.run.optimizer.state_dict()["state"][0]["exp_avg"]
    move(training)
    assert training.run.optimizer.state_dict()["state"][0]["exp_avg"].data_ptr() != kept.data_ptr()
    while not training.run.finished:
        train_an_epoch([training])
    assert [outcome_of(training)] == expected
    assert gpu.recorder is not None and gpu.recorder.recorded == 2


@pytest.mark.parametrize("spoilt", [0, 1, 2])
def test_one_that_diverges_leaves_the_others_as_they_are(gpu: Device, corpus: SegmentCorpus, spoilt: int) -> None:
    lessons = lessons_of(corpus)
    lessons[spoilt] = replace(lessons[spoilt], settings=replace(EPOCHS, learning_rate=1e30))
    expected = step_by_step(lessons)
    assert [isinstance(one, str) for one in expected] == [number == spoilt for number in range(3)]
    assert teach(lessons) == expected


def test_each_stops_when_its_own_validation_says_so(gpu: Device, corpus: SegmentCorpus) -> None:
    lessons = lessons_of(corpus, replace(EPOCHS, epochs=20, patience=2))
    expected = step_by_step(lessons)
    assert len(set(epochs_of(expected))) > 1
    assert teach(lessons) == expected


def test_without_validation_they_are_replayed_to_the_bits_of_each_step_by_step(
    gpu: Device, corpus: SegmentCorpus
) -> None:
    lessons = lessons_of(corpus, replace(EPOCHS, early_stopping=False))
    lessons = [replace(lesson, validation=lesson.validation[:0]) for lesson in lessons]
    expected = step_by_step(lessons)
    assert epochs_of(expected) == [3, 3, 3]
    assert teach(lessons) == expected
    assert gpu.recorder is not None and gpu.recorder.recorded == 3


# Chains


@pytest.mark.parametrize("source", ["in_fold", "cross_fit"])
def test_replayed_chains_side_by_side_come_to_the_bits_of_each_alone_step_by_step(
    gpu: Device, corpus: SegmentCorpus, source: str
) -> None:
    updates = (LabelUpdate("bdsl"),)
    one = ChainSettings("toy", "tiny", "stratified", 3, 0, 0, source, updates, replace(EPOCHS, epochs=2))
    inner_folds = 2 if source == "cross_fit" else None
    chains = [replace(one, fold=fold, seed=fold + 5, inner_folds=inner_folds) for fold in range(3)]
    memories = [MemoryStages() for _ in chains]
    assert Company(CPU, at_once=3).run(corpus, chains, memories) == [None] * 3
    for chain, memory in zip(chains, memories, strict=True):
        alone = MemoryStages()
        with a_gpu(record=None):
            run_chain(corpus, chain, CPU, alone)
        assert list(memory.trained) == list(alone.trained)
        for step, result in alone.trained.items():
            np.testing.assert_array_equal(memory.trained[step].q, result.q)
            assert (memory.trained[step].recorded, result.recorded) == (EXACT, "no: not on a GPU")
            assert (memory.trained[step].beside, result.beside) == (3, 1)


def test_chains_whose_recordings_do_not_fit_into_memory_are_trained_fewer_at_once_and_then_recorded(
    corpus: SegmentCorpus,
) -> None:
    one = ChainSettings("toy", "tiny", "stratified", 3, 0, 0, None, (), replace(EPOCHS, epochs=2))
    chains = [replace(one, fold=fold) for fold in range(3)]
    tried = [0]

    def record(step: Replay) -> Replay:
        tried[0] += 1
        if tried[0] == 3:  # beside two others that are replayed already
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return record_honestly(step)

    memories = [MemoryStages() for _ in chains]
    told: list[int] = []
    with a_gpu(record) as gpu:
        assert Company(CPU, at_once=3, on_fewer=told.append).run(corpus, chains, memories) == [None] * 3
    assert told == [2]
    assert gpu.recorder is not None and gpu.recorder.stopped is None
    assert gpu.recorder.recorded == 3 + 3  # all were begun anew
    for chain, memory in zip(chains, memories, strict=True):
        alone = MemoryStages()
        with a_gpu(record=None):
            run_chain(corpus, chain, CPU, alone)
        np.testing.assert_array_equal(memory.q[0], alone.q[0])
        assert memory.saved[0].recorded == EXACT
