"""Networks side by side: each comes to the bits that it comes to alone, whatever becomes of the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from torch import nn

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl import chain, company
from dsl.chain import StageResult
from dsl.company import Company, run_chain
from dsl.labels import LabelUpdate, updated_targets
from dsl.settings import ChainSettings, Step
from dsl.steps import Epoch, TrainingRun
from dsl.training import Lesson, Training, TrainingDivergedError, train_an_epoch
from tests.dsl.dsl_toys import CPU, SETTINGS, KillError, MemoryCheckpoint, MemoryStages, timeless
from tests.dsl.lessons import EPOCHS, build_tiny, build_with_dropout, epochs_of, lessons_of, teach, teach_alone

QUICK = replace(SETTINGS, epochs=2)


@pytest.fixture(params=[build_tiny, build_with_dropout], ids=["tiny", "with dropout"])
def lessons(corpus: SegmentCorpus, request: pytest.FixtureRequest) -> list[Lesson]:
    return lessons_of(corpus, build=request.param)


# Trainings


def test_each_comes_to_what_it_does_alone(lessons: list[Lesson]) -> None:
    assert teach(lessons) == teach_alone(lessons)


def test_each_stops_when_its_own_validation_says_so(corpus: SegmentCorpus) -> None:
    lessons = lessons_of(corpus, replace(EPOCHS, epochs=20, patience=2))
    expected = teach_alone(lessons)
    assert len(set(epochs_of(expected))) > 1
    assert teach(lessons) == expected


def test_one_that_diverges_leaves_the_others_as_they_are(lessons: list[Lesson]) -> None:
    lessons[1] = replace(lessons[1], targets=np.full_like(lessons[1].targets, np.nan))
    expected = teach_alone(lessons)
    assert [isinstance(one, str) for one in expected] == [False, True, False]
    assert teach(lessons) == expected


@pytest.mark.parametrize("killed", range(3))
def test_killed_in_any_epoch_they_go_on_to_the_same_bits(lessons: list[Lesson], killed: int) -> None:
    checkpoints = [MemoryCheckpoint() for _ in lessons]
    with pytest.raises(KillError):
        teach(lessons, checkpoints, killed_in=killed)
    assert teach(lessons, checkpoints) == teach(lessons)


def test_what_was_begun_beside_others_can_be_taken_up_alone(lessons: list[Lesson]) -> None:
    checkpoints = [MemoryCheckpoint() for _ in lessons]
    with pytest.raises(KillError):
        teach(lessons, checkpoints, killed_in=1)
    for lesson, checkpoint in zip(lessons, checkpoints, strict=True):
        assert teach([lesson], [checkpoint]) == teach_alone([lesson])


def test_what_was_begun_alone_can_be_taken_up_beside_others(lessons: list[Lesson]) -> None:
    checkpoints = [MemoryCheckpoint() for _ in lessons]
    with pytest.raises(KillError):
        teach(lessons[:1], checkpoints[:1], killed_in=1)
    assert teach(lessons, checkpoints) == teach_alone(lessons)


# Chains

UPDATES = [LabelUpdate("bdsl"), LabelUpdate("wdsl", 0.5), LabelUpdate("gsl")]
CROSS_FIT: dict[str, Any] = {"label_source": "cross_fit", "inner_folds": 2}


def settings_of(*updates: LabelUpdate, **settings: Any) -> ChainSettings:
    source = "in_fold" if updates else None
    return replace(ChainSettings("toy", "tiny", "stratified", 3, 0, 0, source, updates, QUICK), **settings)


Key = tuple[Any, ...]


@dataclass
class Shelf:
    """What several chains have done. Each finds there what another has, as in a store."""

    done: dict[Key, StageResult] = field(default_factory=dict)
    checkpoints: dict[Key, MemoryCheckpoint] = field(default_factory=dict)


class ShelfStages(MemoryStages):
    """A chain's memory on a shelf."""

    def __init__(self, settings: ChainSettings, shelf: Shelf) -> None:
        super().__init__()
        self._settings = settings
        self._shelf = shelf

    def key(self, step: Step) -> Key:
        own = self._settings
        return own.fold, own.seed, own.labels, own.training, own.updates[: step.iteration], step.inner_fold

    def load(self, step: Step) -> np.ndarray | None:
        found = self._shelf.done.get(self.key(step))
        return None if found is None else found.q

    def save(self, step: Step, result: StageResult) -> None:
        assert self.key(step) not in self._shelf.done, "trained twice"
        self._shelf.done[self.key(step)] = result

    def checkpoint(self, step: Step) -> MemoryCheckpoint:
        return self._shelf.checkpoints.setdefault(self.key(step), MemoryCheckpoint())


def run_beside(
    corpus: SegmentCorpus,
    chains: Sequence[ChainSettings],
    at_once: int = 8,
    shelf: Shelf | None = None,
    on_epoch: Callable[[int, Step, Epoch], None] = lambda number, step, epoch: None,
    **how: Any,
) -> Shelf:
    """What the chains leave, none of which fails. With a checkpoint after each epoch, of which `on_epoch` is told with
    the number of its chain."""
    shelf = shelf or Shelf()
    memories = [ShelfStages(one, shelf) for one in chains]
    for number, memory in enumerate(memories):
        memory.hear = partial(on_epoch, number)
    company = Company(CPU, at_once, checkpoint_seconds=0, **how)
    assert company.run(corpus, chains, memories) == [None] * len(chains)
    return shelf


def run_alone(corpus: SegmentCorpus, chains: Sequence[ChainSettings]) -> Shelf:
    """The same, one chain after the other."""
    shelf = Shelf()
    for one in chains:
        run_chain(corpus, one, CPU, ShelfStages(one, shelf))
    return shelf


def assert_same(found: Shelf, expected: Shelf) -> None:
    assert found.done.keys() == expected.done.keys()
    for key, result in expected.done.items():
        np.testing.assert_array_equal(found.done[key].q, result.q)
        assert timeless(found.done[key].history) == timeless(result.history)
        assert found.done[key].weights.keys() == result.weights.keys()
        for name, value in result.weights.items():
            np.testing.assert_array_equal(found.done[key].weights[name], value)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks each epoch is of."""
    noted: list[int] = []
    epoch = train_an_epoch

    def noting(trainings: Sequence[Training]) -> list[TrainingDivergedError | None]:
        noted.append(len(trainings))
        return epoch(trainings)

    monkeypatch.setattr(company, "train_an_epoch", noting)
    return noted


MIXED = [
    settings_of(),
    settings_of(fold=1),
    settings_of(seed=1),
    settings_of(UPDATES[0]),
    settings_of(UPDATES[1], fold=2),
    settings_of(UPDATES[1], UPDATES[2], seed=1),
    settings_of(UPDATES[0], seed=2, labels="permuted"),
    settings_of(UPDATES[2], fold=1, training=replace(QUICK, epochs=4, learning_rate=3e-3)),
]


@pytest.mark.parametrize("at_once", [2, 3, 6])
def test_chains_of_any_fold_seed_rule_and_length_come_to_the_bits_of_each_alone(
    corpus: SegmentCorpus, together: list[int], at_once: int
) -> None:
    found = run_beside(corpus, MIXED, at_once)
    assert max(together) == at_once
    assert_same(found, run_alone(corpus, MIXED))


def test_inner_networks_are_trained_side_by_side_too(corpus: SegmentCorpus, together: list[int]) -> None:
    chains = [settings_of(update, fold=fold, **CROSS_FIT) for fold in range(2) for update in UPDATES]
    found = run_beside(corpus, chains)
    assert_same(found, run_alone(corpus, chains))
    inner = [result for key, result in found.done.items() if key[-1] is not None]
    assert len(inner) == 4 and all(result.beside == 2 for result in inner)
    assert {result.beside for result in found.done.values()} == {2, 6}


def test_what_chains_share_is_trained_once_and_then_they_go_on_side_by_side(
    corpus: SegmentCorpus, together: list[int]
) -> None:
    found = run_beside(corpus, [settings_of(update) for update in UPDATES])
    assert together == [1] * QUICK.epochs + [3] * QUICK.epochs
    assert sorted(result.beside for result in found.done.values()) == [1, 3, 3, 3]


def test_chains_that_part_later_share_what_comes_before(corpus: SegmentCorpus, together: list[int]) -> None:
    first, second, third = UPDATES
    run_beside(corpus, [settings_of(first, second), settings_of(first, third), settings_of(second, second)])
    assert together == [1] * QUICK.epochs + [2] * QUICK.epochs + [3] * QUICK.epochs


def test_what_is_there_already_is_not_trained_again(corpus: SegmentCorpus, together: list[int]) -> None:
    chains = [settings_of(update, fold=fold) for fold in range(2) for update in UPDATES]
    shelf = run_beside(corpus, [settings_of(fold=0), settings_of(fold=1), chains[2]])
    together.clear()
    run_beside(corpus, chains, shelf=shelf)
    assert together == [5] * QUICK.epochs


def test_a_chain_begins_when_one_before_it_ends(corpus: SegmentCorpus, together: list[int]) -> None:
    """Not only when all that are under way do."""
    short, long = replace(QUICK, epochs=1), replace(QUICK, epochs=3)
    chains = [settings_of(training=long), settings_of(fold=1, training=short), settings_of(fold=2, training=short)]
    run_beside(corpus, chains, at_once=2)
    assert together == [2, 2, 1]


@pytest.mark.parametrize("steps", [[1, 2, 0], [2, 0, 3]])
def test_each_chain_goes_no_further_than_its_first_steps(corpus: SegmentCorpus, steps: list[int]) -> None:
    chains = [settings_of(update, update, fold=fold) for fold, update in enumerate(UPDATES)]
    memories = [MemoryStages() for _ in chains]
    assert Company(CPU, 3).run(corpus, chains, memories, steps) == [None] * 3
    assert [len(memory.trained) for memory in memories] == steps


def test_a_chain_that_cannot_go_on_leaves_the_others(corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fine, diverging, empty = (settings_of(update) for update in UPDATES)
    updated = updated_targets

    def failing(update: LabelUpdate, *rest: Any) -> np.ndarray:
        return updated(update, *rest) * {"bdsl": 1, "wdsl": np.nan, "gsl": 0}[update.rule]

    expected = run_alone(corpus, [fine])
    monkeypatch.setattr(chain, "updated_targets", failing)
    shelf = Shelf()
    memories = [ShelfStages(one, shelf) for one in (fine, diverging, empty)]
    failures = Company(CPU, 3).run(corpus, [fine, diverging, empty], memories)
    assert [type(failure) for failure in failures] == [type(None), TrainingDivergedError, UserError]
    assert_same(shelf, expected)


def test_epochs_are_told_with_the_chain_they_are_of(corpus: SegmentCorpus) -> None:
    told: list[tuple[int, Step, int]] = []
    chains = [settings_of(update) for update in UPDATES[:2]]
    run_beside(corpus, chains, on_epoch=lambda number, step, epoch: told.append((number, step, epoch.number)))
    assert told[:2] == [(0, Step(0), 0), (0, Step(0), 1)]
    assert told[2:] == [(number, Step(1), epoch) for epoch in range(2) for number in range(2)]


@pytest.mark.parametrize("killed", range(6))
def test_chains_killed_in_any_epoch_go_on_to_the_same_bits(corpus: SegmentCorpus, killed: int) -> None:
    chains = [settings_of(update, fold=fold) for fold in range(2) for update in UPDATES[:2]]
    left, shelf = [killed], Shelf()

    def kill(number: int, step: Step, epoch: Epoch) -> None:
        if not left[0]:
            raise KillError
        left[0] -= 1

    with pytest.raises(KillError):
        run_beside(corpus, chains, 3, shelf, on_epoch=kill)
    assert_same(run_beside(corpus, chains, 3, shelf), run_alone(corpus, chains))


# A device whose memory does not hold them


class SmallDevice:
    """Memory for `holds` networks: while there are more, what a run is asked for (`method`) finds none."""

    def __init__(self, patch: pytest.MonkeyPatch, holds: int, method: str) -> None:
        self.holds = holds
        self._networks: WeakSet[nn.Module] = WeakSet()
        begin, ask = TrainingRun.__init__, getattr(TrainingRun, method)

        def begun(run: TrainingRun, *rest: Any) -> None:
            begin(run, *rest)
            self._networks.add(run.network)
            if method == "__init__":
                self._allocate()

        def asked(run: TrainingRun, *rest: Any) -> Any:
            answer = ask(run, *rest)
            self._allocate()
            return answer

        patch.setattr(TrainingRun, method, asked)
        patch.setattr(TrainingRun, "__init__", begun)

    def _allocate(self) -> None:
        if len(self._networks) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


FOUR = [settings_of(UPDATES[0], fold=fold, seed=seed) for fold in range(2) for seed in range(2)]


@pytest.mark.parametrize(
    ("method", "holds", "fewer"),
    [
        ("__init__", 3, [3]),
        ("__init__", 1, [1]),
        *((method, 3, [3]) for method in ("batches", "end_epoch", "predict", "result")),
        *((method, 1, [3, 2, 1]) for method in ("batches", "end_epoch", "predict", "result")),
    ],
)
def test_where_memory_does_not_hold_all_fewer_are_trained_at_once_and_the_bits_stay(
    corpus: SegmentCorpus,
    monkeypatch: pytest.MonkeyPatch,
    together: list[int],
    method: str,
    holds: int,
    fewer: list[int],
) -> None:
    expected = run_alone(corpus, FOUR)
    told: list[int] = []
    SmallDevice(monkeypatch, holds, method)
    together.clear()
    assert_same(run_beside(corpus, FOUR, on_fewer=told.append), expected)
    assert told == fewer
    assert max(together[-QUICK.epochs :]) <= fewer[-1]


def test_what_is_dropped_for_want_of_memory_goes_on_from_its_checkpoint(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SmallDevice(monkeypatch, 4, "predict")

    def other_processes_come(number: int, step: Step, epoch: Epoch) -> None:
        device.holds = 2 if (number, epoch.number) == (3, 0) else device.holds

    chains = [replace(one, updates=()) for one in FOUR]
    found = run_beside(corpus, chains, on_epoch=other_processes_come)
    assert [result.resumed_at for result in found.done.values()] == [1, 1, 1, 1]


def test_memory_that_does_not_hold_a_single_one_is_the_devices_error(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    SmallDevice(monkeypatch, 0, "predict")
    with pytest.raises(torch.OutOfMemoryError):
        run_beside(corpus, FOUR)


def test_the_peak_of_memory_is_that_of_the_networks_under_way(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what those before them have left."""
    told: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: told.append("empty"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: told.append("reset"))
    assert Company(torch.device("cuda")).run(corpus, [], []) == []
    assert told == ["empty", "reset"]


def test_another_error_of_the_device_is_not_taken_for_want_of_memory(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    told: list[int] = []
    monkeypatch.setattr(TrainingRun, "predict", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run_beside(corpus, FOUR, on_fewer=told.append)
    assert not told
