"""Steps that are recorded and replayed: they come to what steps one by one come to, or are not used.

There is no GPU to record with here. What stands in for a CUDA graph keeps to its terms: it is given a step once, and
later repeats that without being told anything.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from dsl_toys import SETTINGS
from test_fusion import Class
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from data_prep.shards import SegmentCorpus
from dsl import steps
from dsl.recording import SWITCH, WARM_UP_STEPS, RecordedStep, repeated
from dsl.settings import TrainingSettings
from dsl.training import Fitted

Replay = Callable[[], None]
SETTINGS_OF_EPOCHS = replace(SETTINGS, epochs=3, batch_size=8)  # a learning rate that changes, and a smaller last batch


class Recorder:
    """Records steps as `record` does, and counts how often they are replayed."""

    def __init__(self, record: Callable[[Replay], Replay] = lambda step: step) -> None:
        self._record = record
        self.recorded = self.replayed = 0

    def __call__(self, step: Replay) -> Replay:
        self.recorded += 1
        replay = self._record(step)

        def counted() -> None:
            self.replayed += 1
            replay()

        return counted

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            steps, "repeated", lambda step, changed, size, device: RecordedStep(step, changed, size, self)
        )


def nothing(step: Replay) -> Replay:
    """As of a network whose work the recording does not hold."""
    return lambda: None


def too_often(step: Replay) -> Replay:
    def replay() -> None:
        step()
        step()

    return replay


def half_as_far(step: Replay) -> Replay:
    """As with a learning rate that the recording holds as it was."""

    def scale(by: float) -> Callable[..., None]:
        def change(optimizer: torch.optim.Optimizer, *_: object) -> None:
            optimizer.param_groups[0]["lr"] *= by

        return change

    def replay() -> None:
        handles = register_optimizer_step_pre_hook(scale(0.5)), register_optimizer_step_post_hook(scale(2))
        step()
        for handle in handles:
            handle.remove()

    return replay


def refused(step: Replay) -> Replay:
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture(params=[1, 3], ids=["alone", "fused"])
def fit(corpus: SegmentCorpus, request: pytest.FixtureRequest) -> Callable[[], list[Fitted]]:
    """Trains one network, or three as one."""
    learning = Class(corpus)

    def train() -> list[Fitted]:
        return learning.fit(learning.targets[: request.param], SETTINGS_OF_EPOCHS)  # type: ignore[return-value]

    return train


def assert_same_bits(found: list[Fitted], expected: list[Fitted]) -> None:
    for (network, history), (other, its) in zip(found, expected, strict=True):
        assert [replace(epoch, rate=0) for epoch in history] == [replace(epoch, rate=0) for epoch in its]
        for name, tensor in other.state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor), name


def test_a_replayed_training_comes_to_the_bits_of_one_step_by_step(
    fit: Callable[[], list[Fitted]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fit()
    recorder = Recorder()
    recorder.use(monkeypatch)
    assert_same_bits(fit(), expected)
    assert recorder.replayed > 5


@pytest.mark.parametrize("record", [nothing, too_often, half_as_far, refused])
def test_a_recording_that_is_something_else_is_not_used(
    record: Callable[[Replay], Replay], fit: Callable[[], list[Fitted]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fit()
    recorder = Recorder(record)
    recorder.use(monkeypatch)
    assert_same_bits(fit(), expected)
    assert recorder.recorded >= 1
    assert recorder.replayed <= recorder.recorded  # to be tried


class Steps:
    """A step that adds up the segments it learns from, and the sizes of batches that it was called for."""

    def __init__(self) -> None:
        self.learnt = torch.zeros(8)
        self.sizes: list[int] = []

    def __call__(self, index: torch.Tensor) -> None:
        self.sizes.append(len(index))
        self.learnt[index] += 1


def test_every_batch_is_learnt_from_once_in_its_turn() -> None:
    step, recorder = Steps(), Recorder()
    recorded = RecordedStep(step, lambda: [[step.learnt]], 2, recorder)
    for first in range(7):
        recorded(torch.tensor([first, first + 1]))
    recorded(torch.tensor([7]))
    assert step.learnt.tolist() == [1, 2, 2, 2, 2, 2, 2, 2]
    assert recorder.recorded == 1
    assert recorder.replayed == 1 + 7 - (WARM_UP_STEPS + 1)  # once to be tried
    assert step.sizes[-1] == 1  # a last batch that is smaller is not what was recorded


def test_a_recording_does_not_keep_the_batch_it_was_made_with() -> None:
    step = Steps()
    recorded = RecordedStep(step, lambda: [[step.learnt]], 1, Recorder())
    batch = torch.tensor([0])
    for number in range(8):
        batch.fill_(number)  # the caller's tensor is the caller's
        recorded(batch)
    assert step.learnt.tolist() == [1] * 8


def test_a_cpu_and_a_gpu_that_is_told_not_to_go_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Steps()

    def of(device: str) -> object:
        return repeated(step, lambda: [[step.learnt]], 2, torch.device(device))

    assert of("cpu") is step
    assert isinstance(of("cuda"), RecordedStep)
    monkeypatch.setenv(SWITCH, "0")
    assert of("cuda") is step


# Reduced precision


REDUCED = replace(SETTINGS, precision="bfloat16")


def first_dtypes(learning: Class, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch) -> set[torch.dtype]:
    """What the convolutions of a training, and of its validation, compute with."""
    found = set()
    convolve = nn.Conv2d._conv_forward

    def seen(self: nn.Conv2d, *inputs: torch.Tensor) -> torch.Tensor:
        output = convolve(self, *inputs)
        found.add((self.training, output.dtype))
        return output

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", seen)
    learning.fit(learning.targets[:1], settings)
    return found  # type: ignore[return-value]


def test_a_network_learns_with_bfloat16_and_predicts_with_float32(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning = Class(corpus)
    assert first_dtypes(learning, SETTINGS, monkeypatch) == {(True, torch.float32), (False, torch.float32)}
    assert first_dtypes(learning, REDUCED, monkeypatch) == {(True, torch.bfloat16), (False, torch.float32)}


def test_weights_stay_float32_and_learn_nearly_the_same(corpus: SegmentCorpus) -> None:
    learning = Class(corpus)
    ((network, history),) = learning.fit(learning.targets[:1], REDUCED)  # type: ignore[misc]
    ((_, expected),) = learning.fit(learning.targets[:1], SETTINGS)  # type: ignore[misc]
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    found = [epoch.loss for epoch in history]
    assert found != [epoch.loss for epoch in expected]
    assert found == pytest.approx([epoch.loss for epoch in expected], rel=0.05)


def test_fused_trainings_learn_with_bfloat16_too(corpus: SegmentCorpus) -> None:
    learning = Class(corpus)
    for found, targets in zip(learning.fit(learning.targets, REDUCED), learning.targets, strict=True):
        (alone,) = learning.fit([targets], REDUCED)
        assert [epoch.loss for epoch in found[1]] == pytest.approx(  # type: ignore[index]
            [epoch.loss for epoch in alone[1]],  # type: ignore[index]
            rel=0.05,
        )
