"""What stands in for a CUDA graph in tests hides nothing that a CUDA graph would show."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from data_prep.shards import SegmentCorpus
from dsl.segments import Segments
from dsl.settings import Layout
from dsl.steps import TrainingRun
from tests.dsl.honest_recorder import a_gpu, record_honestly
from tests.dsl.lessons import EPOCHS, build_tiny, lessons_of, teach


def test_to_record_is_not_to_do() -> None:
    kept, lost = torch.zeros(3), torch.ones(3)
    norm = nn.BatchNorm2d(2)
    before = {name: value.clone() for name, value in norm.state_dict().items()}

    def step() -> None:
        kept.add_(1)
        kept[1:].mul_(5)
        lost.copy_(torch.rand(3))
        norm(torch.randn(4, 2, 3, 3))

    torch.manual_seed(0)
    record_honestly(step)
    assert kept.tolist() == [0, 0, 0] and lost.tolist() == [1, 1, 1]
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name]), name
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn)


def test_a_replay_does_it_anew_in_the_same_places() -> None:
    total, given = torch.zeros(()), torch.ones(2)
    replay = record_honestly(lambda: total.add_((given * 2).sum()))
    replay()
    given.fill_(10)
    replay()
    assert total.item() == 4 + 40


def test_a_tensor_that_was_put_in_the_place_of_another_is_not_seen() -> None:
    held = {"weight": torch.ones(1)}
    total = torch.zeros(1)
    replay = record_honestly(lambda: total.add_(held["weight"]))
    held["weight"] = torch.full((1,), 100.0)
    replay()
    assert total.item() == 1


def test_a_number_of_pythons_stays_as_it_was() -> None:
    held = {"rate": 1.0}
    total = torch.zeros(1)
    replay = record_honestly(lambda: total.add_(held["rate"]))
    held["rate"] = 100.0
    replay()
    assert total.item() == 1


@pytest.mark.parametrize("wait", [lambda t: t.item(), lambda t: bool(t > 0), torch.nonzero, lambda t: t[t > 0]])
def test_a_step_that_waits_for_the_device_is_refused_and_undone(wait: Callable[[torch.Tensor], Any]) -> None:
    total = torch.zeros(1)

    def step() -> None:
        total.add_(1)
        wait(total)

    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        record_honestly(step)
    assert total.item() == 0


# Mistakes of a training that it finds


def teaches_the_same(corpus: SegmentCorpus, **mistake: Callable[..., Any]) -> bool:
    """Whether a recorded training, with a mistaken method of TrainingRun or Segments, comes to the same bits."""
    found = []
    for record in (None, record_honestly):
        with a_gpu(record), pytest.MonkeyPatch.context() as patch:
            for name, method in mistake.items():
                patch.setattr(TrainingRun if hasattr(TrainingRun, name) else Segments, name, method)
            found.append(teach(lessons_of(corpus)[:1]))
    return found[0] == found[1]


def test_a_learning_rate_that_is_a_number(corpus: SegmentCorpus) -> None:
    def adam(run: TrainingRun) -> torch.optim.Optimizer:
        return torch.optim.Adam(run.network.parameters(), run.settings.learning_rate, eps=1e-7, fused=True)

    assert teaches_the_same(corpus)
    assert not teaches_the_same(corpus, _new_optimizer=adam)


def test_a_batch_that_does_not_come_from_its_index(corpus: SegmentCorpus) -> None:
    batch = Segments.batch

    def by_numbers(segments: Segments, index: torch.Tensor, layout: Layout = "channels_last") -> torch.Tensor:
        numbers = index.numpy().tolist()
        return batch(segments, torch.tensor(numbers), layout)

    assert not teaches_the_same(corpus, batch=by_numbers)


class Alternating(nn.Module):
    """A network whose code depends on more than its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = build_tiny()
        self.calls = 0

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        logits: torch.Tensor = self.layers(maps)
        return logits * (1 + self.calls % 2)


def test_a_network_that_counts_in_python(corpus: SegmentCorpus) -> None:
    lessons = lessons_of(corpus, replace(EPOCHS, early_stopping=False), Alternating)[:1]
    with a_gpu(record=None):
        expected = teach(lessons)
    with a_gpu():
        assert teach(lessons) != expected
