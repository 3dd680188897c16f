"""Steps that are recorded and replayed: used only where they come to the same bits, and said where they are not."""

import contextlib
import gc
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from data_prep.shards import SegmentCorpus
from dsl.acceleration.recording import (
    EXACT,
    SWITCH,
    WARM_UP_STEPS,
    RecordedStep,
    Recorder,
    record_cuda_graph,
    recorder_for,
)
from dsl.settings import TrainingSettings
from dsl.training import Lesson, Training, train_an_epoch
from tests.dsl.dsl_toys import SETTINGS, MemoryCheckpoint
from tests.dsl.honest_recorder import CountingRecorder, Replay, a_gpu, record_honestly
from tests.dsl.lessons import lessons_of, teach

OTHER_BITS = "no: a replayed step comes to other bits"
Record = Callable[[Replay], Replay]


class Counting:
    """A step that adds up the segments it learns from, and the sizes of batches that it was called for."""

    def __init__(self) -> None:
        self.learnt = torch.zeros(12)
        self.sizes: list[int] = []

    def __call__(self, index: torch.Tensor) -> None:
        self.sizes.append(len(index))
        self.learnt[index] += 1

    def recorded_by(self, recorder: Recorder | None, size: int = 2, kind: str = "a kind") -> RecordedStep:
        return RecordedStep(self, lambda: [self.learnt], size, kind, recorder)


def learn_pairs(step: RecordedStep, pairs: int = 7) -> None:
    for first in range(pairs):
        step(torch.tensor([first, first + 1]))


# Replays


def test_every_batch_is_learnt_from_once_in_its_turn() -> None:
    step, recorder = Counting(), CountingRecorder()
    learn_pairs(step.recorded_by(recorder))
    assert step.learnt.tolist() == [1, 2, 2, 2, 2, 2, 2, 1, 0, 0, 0, 0]
    assert recorder.recorded == 1
    assert recorder.replayed == 1 + 7 - (WARM_UP_STEPS + 1)  # once to be tried


def test_a_batch_of_another_size_is_not_replayed() -> None:
    step = Counting()
    recorded = step.recorded_by(CountingRecorder())
    learn_pairs(recorded)
    recorded(torch.tensor([9]))
    recorded(torch.tensor([9, 10, 11]))
    assert step.learnt[9:].tolist() == [2, 1, 1]
    assert step.sizes[-2:] == [1, 3]


def test_a_recording_does_not_keep_the_batch_it_was_made_with() -> None:
    step = Counting()
    recorded = step.recorded_by(CountingRecorder(), size=1)
    batch = torch.tensor([0])
    for number in range(12):
        batch.fill_(number)  # the caller's tensor is the caller's
        recorded(batch)
    assert step.learnt.tolist() == [1] * 12


def test_trainings_of_a_kind_are_tried_once_in_a_process_and_then_recorded_as_they_come() -> None:
    recorder = CountingRecorder()
    for _ in range(3):
        learn_pairs(Counting().recorded_by(recorder), pairs=5)
    learn_pairs(Counting().recorded_by(recorder, kind="another kind"), pairs=5)
    assert recorder.found == {"a kind": EXACT, "another kind": EXACT}
    assert recorder.recorded == 4
    assert recorder.replayed == 4 * 2  # one that is tried, or the batch itself, and the last one


def test_what_lies_elsewhere_than_when_it_was_recorded_is_recorded_anew() -> None:
    step, recorder = Counting(), CountingRecorder()
    recorded = step.recorded_by(recorder)
    learn_pairs(recorded)
    step.learnt = step.learnt.clone()
    recorded.begin_epoch()
    learn_pairs(recorded)
    assert step.learnt.tolist() == [2, 4, 4, 4, 4, 4, 4, 2, 0, 0, 0, 0]
    assert recorder.recorded == 2


def test_what_stays_in_its_place_is_not_recorded_anew() -> None:
    recorder = CountingRecorder()
    recorded = Counting().recorded_by(recorder)
    for _ in range(3):
        recorded.begin_epoch()
        learn_pairs(recorded)
    assert recorder.recorded == 1


# Verdicts


def test_a_cpu_and_a_gpu_that_is_told_not_to_go_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorder_for(torch.device("cpu")) is None
    recorder = recorder_for(torch.device("cuda"))
    assert recorder is not None and recorder_for(torch.device("cuda")) is recorder
    monkeypatch.setenv(SWITCH, "0")
    assert recorder_for(torch.device("cuda")) is None


def test_why_nothing_is_recorded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Counting()
    assert step.recorded_by(CountingRecorder()).verdict == "no: too few batches to record one"
    assert step.recorded_by(None).verdict == "no: not on a GPU"
    monkeypatch.setenv(SWITCH, "0")
    assert step.recorded_by(None).verdict == "no: SER_SWEEP_CUDA_GRAPHS=0"


def test_a_step_that_is_replayed_is_exact_whatever_becomes_of_later_recordings() -> None:
    recorder = CountingRecorder()
    recorded = Counting().recorded_by(recorder)
    learn_pairs(recorded)
    recorder.stopped = "no: something else broke off"
    assert recorded.verdict == EXACT
    assert Counting().recorded_by(recorder).verdict == "no: something else broke off"


# Recordings that come to other bits


def to_the_next_number(weight: torch.Tensor, zero: torch.Tensor) -> None:
    weight[1] = torch.nextafter(weight[1], torch.tensor(9.0))


def to_a_negative_zero(weight: torch.Tensor, zero: torch.Tensor) -> None:
    zero.neg_()


def to_another_nan(weight: torch.Tensor, zero: torch.Tensor) -> None:
    weight.view(torch.int32)[0] = 0x7FC00001


@pytest.mark.parametrize("astray", [to_the_next_number, to_a_negative_zero, to_another_nan])
def test_a_recording_that_is_a_bit_off_is_not_used(astray: Callable[[torch.Tensor, torch.Tensor], None]) -> None:
    weight, zero = torch.tensor([1.0, 2.0]), torch.tensor(0.0)

    def step(index: torch.Tensor) -> None:
        weight.add_(1)

    def record(step: Replay) -> Replay:
        replay = record_honestly(step)

        def replay_and_stray() -> None:
            replay()
            astray(weight, zero)

        return replay_and_stray

    recorder = CountingRecorder(record)
    recorded = RecordedStep(step, lambda: [weight, zero], 1, "a kind", recorder)
    for _ in range(7):
        recorded(torch.tensor([0]))
    assert weight.tolist() == [8, 9]
    assert zero.item() == 0 and not zero.signbit()
    assert recorded.verdict == recorder.found["a kind"] == OTHER_BITS
    assert (recorder.recorded, recorder.replayed) == (1, 1)


def test_the_same_nan_is_the_same_bits() -> None:
    step, recorder = Counting(), CountingRecorder()
    step.learnt[5] = torch.nan
    learn_pairs(step.recorded_by(recorder))
    assert recorder.found == {"a kind": EXACT}


def nothing(step: Replay) -> Replay:
    """As of a network whose work the recording does not hold."""
    return lambda: None


def too_often(step: Replay) -> Replay:
    replay = record_honestly(step)

    def twice() -> None:
        replay()
        replay()

    return twice


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("record", [nothing, too_often])
def test_a_training_whose_recording_is_something_else_goes_on_step_by_step(
    corpus: SegmentCorpus, record: Record, networks: int
) -> None:
    lessons = lessons_of(corpus)[:networks]
    with a_gpu(record=None):
        expected = teach(lessons)
    with a_gpu(record) as gpu:
        assert teach(lessons) == expected
    assert gpu.recorder is not None
    assert list(gpu.recorder.found.values()) == [OTHER_BITS]
    assert (gpu.recorder.recorded, gpu.recorder.replayed) == (1, 1)  # not again by the others of its kind


# Recordings that break off


def breaking(error: Exception) -> Record:
    """Breaks off with `error` when it has recorded."""

    def record(step: Replay) -> Replay:
        record_honestly(step)
        raise error

    return record


INVALID = "operation failed due to a previous error during capture"


def test_after_a_recording_that_broke_off_a_process_records_no_more() -> None:
    recorder = CountingRecorder(breaking(RuntimeError(f"CUDA error: {INVALID}\nCompile with `TORCH_USE_CUDA_DSA`")))
    first, second = Counting(), Counting()
    learn_pairs(first.recorded_by(recorder))
    learn_pairs(second.recorded_by(recorder, kind="another kind"))
    assert first.learnt.tolist() == second.learnt.tolist() == [1, 2, 2, 2, 2, 2, 2, 1, 0, 0, 0, 0]
    assert (recorder.recorded, recorder.replayed) == (1, 0)
    assert first.recorded_by(recorder).verdict == recorder.stopped == f"no: CUDA error: {INVALID}"


def test_what_is_replayed_already_still_is_after_that() -> None:
    recorder = CountingRecorder()
    step = Counting()
    recorded = step.recorded_by(recorder)
    learn_pairs(recorded)
    recorder.stopped = f"no: {INVALID}"
    called = len(step.sizes)
    learn_pairs(recorded)
    assert len(step.sizes) == called
    assert recorded.verdict == EXACT


class Waiting(nn.Module):
    """A network that decides in Python what to compute, and waits for the device until it can."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(maps)
        return logits if maps.abs().sum() > 0 else logits * 0


@pytest.mark.parametrize("networks", [1, 3])
def test_a_training_that_cannot_be_recorded_goes_on_step_by_step(corpus: SegmentCorpus, networks: int) -> None:
    lessons = lessons_of(corpus, build=Waiting)[:networks]
    with a_gpu(record=None):
        expected = teach(lessons)
    with a_gpu() as gpu:
        assert teach(lessons) == expected
    assert gpu.recorder is not None and gpu.recorder.recorded == 1
    assert gpu.recorder.stopped == "no: operation not permitted when stream is capturing: _local_scalar_dense"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_a_recording_that_runs_out_of_memory_raises_that_and_says_nothing_of_recording(error: RuntimeError) -> None:
    step, recorder = Counting(), CountingRecorder(breaking(error))
    with pytest.raises(type(error), match=str(error)):
        learn_pairs(step.recorded_by(recorder))
    assert recorder.stopped is None and not recorder.found


def test_an_error_that_is_not_the_devices_goes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        learn_pairs(Counting().recorded_by(CountingRecorder(breaking(ZeroDivisionError()))))


# CUDA graphs: what torch is told


class Graph:
    """Stands in for torch.cuda.CUDAGraph, and for the allocator that it has a pool of. As of torch 2.11, one whose
    recording did not end leaves its pool open; one whose did gives it back itself, and once only."""

    ends_well = True

    def __init__(self) -> None:
        self.told: list[object] = []
        self.ended = False

    def capture_begin(self, pool: tuple[int, int], capture_error_mode: str) -> None:
        self.told.append(("begin", pool, capture_error_mode))

    def capture_end(self) -> None:
        if not self.ends_well:
            raise RuntimeError(INVALID)
        self.ended = True

    def pool(self) -> tuple[int, int]:
        if not self.ended:
            raise RuntimeError("Called CUDAGraph::pool() without a preceding successful capture.")
        return POOL

    def reset(self) -> None:
        self.told.append("reset")

    def replay(self) -> None:
        self.told.append("replay")


POOL = (0, 7)


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    """The next one that is made."""
    graph = Graph()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: POOL)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for told in ("endAllocateToPool", "releasePool"):
        note = lambda device, pool, told=told: graph.told.append((told, device, pool))  # noqa: E731
        monkeypatch.setattr(torch._C, f"_cuda_{told}", note, raising=False)
    return graph


BEGUN = ("begin", POOL, "thread_local")
GIVEN_BACK = [("endAllocateToPool", 0, POOL), ("releasePool", 0, POOL)]


def test_a_graph_has_a_pool_of_its_own_and_hinders_no_other_thread(graph: Graph) -> None:
    replay = record_cuda_graph(lambda: graph.told.append("step"))
    replay()
    assert graph.told == [BEGUN, "step", "replay"]


def test_a_graph_that_cannot_be_ended_gives_its_memory_back(graph: Graph) -> None:
    graph.ends_well = False
    with pytest.raises(RuntimeError, match=INVALID):
        record_cuda_graph(lambda: None)
    assert graph.told == [BEGUN, *GIVEN_BACK]


@pytest.mark.parametrize("error", [RuntimeError("not permitted"), torch.OutOfMemoryError("none"), KeyboardInterrupt()])
@pytest.mark.parametrize("ends_well", [True, False])
def test_the_error_of_a_step_goes_through_and_memory_is_given_back_once(
    graph: Graph, error: BaseException, ends_well: bool
) -> None:
    graph.ends_well = ends_well

    def step() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        record_cuda_graph(step)
    assert raised.value is error
    assert graph.told == [BEGUN, *(["reset"] if ends_well else GIVEN_BACK)]


def test_an_allocator_that_knows_of_no_recording_hides_no_error(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: int, pool: tuple[int, int]) -> None:
        raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    graph.ends_well = False
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", fail)
    with pytest.raises(RuntimeError, match=INVALID):
        record_cuda_graph(lambda: None)
    assert graph.told == [BEGUN, GIVEN_BACK[1]]


@pytest.mark.parametrize("collects", [True, False])
@pytest.mark.parametrize("ends_well", [True, False])
def test_nothing_is_collected_while_a_step_is_recorded(graph: Graph, collects: bool, ends_well: bool) -> None:
    graph.ends_well = ends_well
    seen: list[bool] = []
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        with contextlib.suppress(RuntimeError):
            record_cuda_graph(lambda: seen.append(gc.isenabled()))
        assert (seen, gc.isenabled()) == ([False], collects)
    finally:
        (gc.enable if before else gc.disable)()


# Reduced precision

REDUCED = replace(SETTINGS, precision="bfloat16")


def first_dtypes(
    lesson: Lesson, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> set[tuple[bool, torch.dtype]]:
    """What the convolutions of a training, and of its validation, compute with."""
    found = set()
    convolve = nn.Conv2d._conv_forward

    def seen(self: nn.Conv2d, *inputs: torch.Tensor) -> torch.Tensor:
        output = convolve(self, *inputs)
        found.add((self.training, output.dtype))
        result: torch.Tensor = output
        return result

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", seen)
    teach([replace(lesson, settings=settings)])
    return found


def test_a_network_learns_with_bfloat16_and_predicts_with_float32(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = lessons_of(corpus)[0]
    assert first_dtypes(lesson, SETTINGS, monkeypatch) == {(True, torch.float32), (False, torch.float32)}
    assert first_dtypes(lesson, REDUCED, monkeypatch) == {(True, torch.bfloat16), (False, torch.float32)}


def test_weights_stay_float32_and_learn_nearly_the_same(corpus: SegmentCorpus) -> None:
    reduced, whole = (Training(lessons_of(corpus, settings)[0], MemoryCheckpoint()) for settings in (REDUCED, SETTINGS))
    for training in (reduced, whole):
        while not training.run.finished:
            train_an_epoch([training])
    assert {weight.dtype for weight in reduced.run.network.parameters()} == {torch.float32}
    found, expected = ([epoch.loss for epoch in one.run.history] for one in (reduced, whole))
    assert found != expected
    assert found == pytest.approx(expected, abs=0.03)
