"""Algorithm 1 on one fold: iterations in order, targets from the one before, nothing from the test utterances."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from dsl_toys import CPU, SETTINGS, KillError, MemoryStages, distributions
from torch import nn

from data_prep.shards import SegmentCorpus
from dsl import chain
from dsl.chain import StageResult, run_chain
from dsl.labels import RULES, LabelUpdate, one_hot, updated_targets
from dsl.settings import ChainSettings, Step
from dsl.splits import stratified_folds
from dsl.training import Epoch

FOLDS = 3
QUICK = replace(SETTINGS, epochs=2)
every_rule = pytest.mark.parametrize("rule", RULES)


def folds_of(corpus: SegmentCorpus) -> np.ndarray:
    return stratified_folds(corpus.utterances["label"].to_numpy(), FOLDS, 0)


def update(rule: str) -> LabelUpdate:
    return LabelUpdate(rule, 0.2 if RULES[rule].takes_alpha else None)


def run(
    corpus: SegmentCorpus,
    *updates: LabelUpdate,
    memory: MemoryStages | None = None,
    on_epoch: Callable[[Step, Epoch], None] = lambda step, epoch: None,
    steps: int | None = None,
    **settings: Any,
) -> MemoryStages:
    """Run a chain of `tiny` networks with some of its `settings` replaced; returns what it left in its memory."""
    memory = memory or MemoryStages()
    source = "in_fold" if updates else None
    chain = ChainSettings("toy", "tiny", "stratified", FOLDS, 0, 0, source, updates, QUICK)
    run_chain(corpus, replace(chain, **settings), CPU, memory, on_epoch, steps)
    return memory


@dataclass(frozen=True)
class Fit:
    """What one training was given."""

    training: np.ndarray
    validation: np.ndarray
    targets: np.ndarray
    seed: int


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Fit]:
    """The trainings that chains ask for, which are still done."""
    noted: list[Fit] = []
    fit = chain.fit

    def noting(
        build: Any, segments: Any, training: np.ndarray, validation: np.ndarray, targets: np.ndarray, *rest: Any
    ) -> tuple[nn.Module, list[Epoch]]:
        noted.append(Fit(training, validation, targets, seed=rest[1]))
        return fit(build, segments, training, validation, targets, *rest)

    monkeypatch.setattr(chain, "fit", noting)
    return noted


@pytest.fixture(scope="module")
def result(corpus: SegmentCorpus) -> StageResult:
    """Iteration 0 of fold 0."""
    return run(corpus).saved[0]


# Iterations


@pytest.mark.parametrize("updates", [0, 1, 3])
def test_a_chain_trains_iteration_0_and_one_more_for_each_update_in_order(
    corpus: SegmentCorpus, fits: list[Fit], updates: int
) -> None:
    memory = run(corpus, *[update("bdsl")] * updates)
    assert list(memory.saved) == list(range(updates + 1))
    assert len(fits) == updates + 1


def test_iteration_0_learns_the_inherited_labels(corpus: SegmentCorpus, fits: list[Fit]) -> None:
    run(corpus)
    np.testing.assert_array_equal(fits[0].targets, one_hot(corpus.label, 3))


@every_rule
def test_targets_come_from_the_predictions_of_the_iteration_before(
    corpus: SegmentCorpus, fits: list[Fit], rule: str
) -> None:
    memory = run(corpus, update(rule), update(rule))
    y = one_hot(corpus.label, 3)
    for t in (1, 2):
        expected = updated_targets(update(rule), memory.saved[t - 1].q, y, corpus.utterance)
        np.testing.assert_array_equal(fits[t].targets, expected)
    assert (memory.q[0] != memory.q[1]).any()


def test_each_iteration_has_an_update_of_its_own(corpus: SegmentCorpus, fits: list[Fit]) -> None:
    updates = [LabelUpdate("wdsl", 0.5), LabelUpdate("hdl")]
    memory = run(corpus, *updates)
    y = one_hot(corpus.label, 3)
    for t, used in enumerate(updates, start=1):
        expected = updated_targets(used, memory.saved[t - 1].q, y, corpus.utterance)
        np.testing.assert_array_equal(fits[t].targets, expected)


def test_finished_iterations_are_not_trained_again(corpus: SegmentCorpus, fits: list[Fit]) -> None:
    known = distributions(len(corpus), 3)
    memory = run(corpus, update("bdsl"), memory=MemoryStages({0: known}))
    assert list(memory.saved) == [1]
    (only,) = fits
    np.testing.assert_array_equal(only.targets, known)


def test_a_chain_taken_up_again_ends_with_the_same_bits(corpus: SegmentCorpus) -> None:
    whole = run(corpus, update("gsl"), update("gsl"))
    later = run(corpus, update("gsl"), update("gsl"), memory=MemoryStages({0: whole.q[0]}))
    np.testing.assert_array_equal(later.q[2], whole.q[2])


def test_a_finished_chain_does_nothing(corpus: SegmentCorpus, fits: list[Fit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "Segments", None)  # not even the corpus is brought to the device
    known = distributions(len(corpus), 3)
    memory = run(corpus, update("bdsl"), memory=MemoryStages({0: known, 1: known}))
    assert not memory.saved
    assert not fits


def test_epochs_are_reported_with_their_iteration(corpus: SegmentCorpus) -> None:
    reported: list[tuple[int, int]] = []
    run(corpus, update("bdsl"), on_epoch=lambda iteration, epoch: reported.append((iteration, epoch.number)))
    assert reported == [(0, 0), (0, 1), (1, 0), (1, 1)]


# What a stage comes to


def test_a_result_has_a_distribution_for_every_segment(corpus: SegmentCorpus, result: StageResult) -> None:
    assert result.q.shape == (len(corpus), 3)
    assert result.q.dtype == np.float32
    np.testing.assert_allclose(result.q.sum(axis=1), 1, rtol=1e-6)


def test_a_result_tells_the_segments_of_the_folds_test_utterances(corpus: SegmentCorpus, result: StageResult) -> None:
    assert result.test.dtype == bool
    np.testing.assert_array_equal(result.test, (folds_of(corpus) == 0)[corpus.utterance])


def test_a_result_keeps_the_history_and_the_time(result: StageResult) -> None:
    assert [epoch.number for epoch in result.history] == [0, 1]
    assert result.seconds > 0


def test_a_training_that_was_not_interrupted_was_resumed_at_0(result: StageResult) -> None:
    assert result.resumed_at == 0


def test_an_interrupted_training_goes_on_and_says_how_many_epochs_were_done(corpus: SegmentCorpus) -> None:
    whole, memory = run(corpus, update("hdl")), MemoryStages()

    def kill(iteration: int, epoch: Epoch) -> None:
        if (iteration, epoch.number) == (1, 0):
            raise KillError

    with pytest.raises(KillError):
        run(corpus, update("hdl"), memory=memory, on_epoch=kill)
    assert list(memory.saved) == [0]
    torch.manual_seed(99)
    run(corpus, update("hdl"), memory=memory)
    assert memory.saved[1].resumed_at == 1
    assert len(memory.saved[1].history) == 2
    np.testing.assert_array_equal(memory.q[1], whole.q[1])


# No leak from the test utterances


@pytest.mark.parametrize("fold", range(FOLDS))
def test_training_validation_and_test_are_whole_utterances_apart(
    corpus: SegmentCorpus, fits: list[Fit], fold: int
) -> None:
    test = run(corpus, fold=fold).saved[0].test
    parts = [fits[0].training, fits[0].validation, np.flatnonzero(test)]
    assert sorted(np.concatenate(parts)) == list(range(len(corpus)))
    utterances = [set(corpus.utterance[part]) for part in parts]
    assert all(utterances)
    assert sum(len(part) for part in utterances) == len(corpus.utterances)


def test_every_iteration_has_the_same_training_and_validation_part(corpus: SegmentCorpus, fits: list[Fit]) -> None:
    run(corpus, update("bdsl"), update("bdsl"))
    for later in fits[1:]:
        np.testing.assert_array_equal(later.training, fits[0].training)
        np.testing.assert_array_equal(later.validation, fits[0].validation)


@every_rule
def test_labels_of_test_utterances_do_not_matter(corpus: SegmentCorpus, rule: str) -> None:
    fold_of = folds_of(corpus)
    label = corpus.utterances["label"].to_numpy().copy()
    label[fold_of == 0] = np.roll(label[fold_of == 0], 1)
    assert (label != corpus.utterances["label"]).sum() >= 4
    relabelled = replace(corpus, utterances=corpus.utterances.assign(label=label))
    expected = run(corpus, update(rule), update(rule), fold_of=fold_of)
    found = run(relabelled, update(rule), update(rule), fold_of=fold_of)
    for t in range(3):
        np.testing.assert_array_equal(found.q[t], expected.q[t])


def test_labels_of_training_utterances_do_matter(corpus: SegmentCorpus) -> None:
    """Or the test before this one would show nothing."""
    fold_of = folds_of(corpus)
    label = corpus.utterances["label"].to_numpy().copy()
    label[fold_of != 0] = np.roll(label[fold_of != 0], 1)
    relabelled = replace(corpus, utterances=corpus.utterances.assign(label=label))
    assert (run(relabelled, fold_of=fold_of).q[0] != run(corpus, fold_of=fold_of).q[0]).any()


@every_rule
def test_the_sound_of_test_utterances_does_not_matter_to_the_others(corpus: SegmentCorpus, rule: str) -> None:
    """Nor does it to how they are standardised."""
    test = (folds_of(corpus) == 0)[corpus.utterance]
    frames = corpus.frames.copy()
    frames[corpus.start[test, None] + np.arange(corpus.segment_frames)] *= -3
    expected = run(corpus, update(rule))
    found = run(replace(corpus, frames=frames), update(rule))
    for t in range(2):
        np.testing.assert_array_equal(found.q[t][~test], expected.q[t][~test])
        assert (found.q[t][test] != expected.q[t][test]).any()


def test_the_corpus_is_standardised_by_the_training_part_alone(
    corpus: SegmentCorpus, fits: list[Fit], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    statistics = chain.band_statistics

    def noting(corpus: SegmentCorpus, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(index)
        return statistics(corpus, index)

    monkeypatch.setattr(chain, "band_statistics", noting)
    run(corpus, update("bdsl"))
    np.testing.assert_array_equal(seen, [fits[0].training])


# The same bits, and pairs that can be compared


def test_the_same_seed_gives_the_same_bits(corpus: SegmentCorpus) -> None:
    first, second = run(corpus, update("wdsl")), run(corpus, update("wdsl"))
    for t in range(2):
        np.testing.assert_array_equal(first.q[t], second.q[t])


def test_another_seed_gives_another_network_and_another_validation_part(corpus: SegmentCorpus, fits: list[Fit]) -> None:
    first, second = run(corpus, seed=0), run(corpus, seed=1)
    assert (first.q[0] != second.q[0]).any()
    assert set(fits[0].validation) != set(fits[1].validation)


@every_rule
def test_iteration_0_is_the_same_whatever_rule_follows(corpus: SegmentCorpus, result: StageResult, rule: str) -> None:
    np.testing.assert_array_equal(run(corpus, update(rule)).q[0], result.q)


def test_the_seed_of_a_training_depends_on_seed_fold_and_iteration(corpus: SegmentCorpus, fits: list[Fit]) -> None:
    for seed in range(2):
        for fold in range(FOLDS):
            run(corpus, update("bdsl"), update("bdsl"), seed=seed, fold=fold)
    assert len({fit.seed for fit in fits}) == len(fits) == 2 * FOLDS * 3


def test_the_seed_of_a_training_does_not_depend_on_rule_or_alpha(corpus: SegmentCorpus, fits: list[Fit]) -> None:
    run(corpus, LabelUpdate("wdsl", 0.2))
    run(corpus, LabelUpdate("wdsl", 0.8))
    run(corpus, LabelUpdate("hdl"))
    seeds = [fit.seed for fit in fits]
    assert seeds[:2] == seeds[2:4] == seeds[4:]


def test_all_folds_together_test_every_segment_once(corpus: SegmentCorpus) -> None:
    tested = sum(run(corpus, fold=fold).saved[0].test.astype(int) for fold in range(FOLDS))
    np.testing.assert_array_equal(tested, np.ones(len(corpus)))
