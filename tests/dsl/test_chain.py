"""Algorithm 1 on one fold: iterations in order, targets from the one before, the same bits for the same seed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from data_prep.shards import SegmentCorpus
from dsl import chain
from dsl.chain import StageResult
from dsl.labels import RULES, LabelUpdate, Rule, labels_of, one_hot
from dsl.settings import Step
from dsl.steps import Epoch
from dsl.training import Lesson
from tests.dsl.chains import (
    CROSS_FIT,
    FOLDS,
    LEAK_FREE,
    QUICK,
    WARNINGS_OF_RULES,
    assert_same_networks,
    every_leak_free_source,
    every_rule,
    folds_of,
    run,
    settings_of,
    targets_of,
    update,
)
from tests.dsl.dsl_toys import KillError, MemoryStages, distributions

pytestmark = pytest.mark.filterwarnings(*WARNINGS_OF_RULES)


@pytest.fixture(scope="module")
def result(corpus: SegmentCorpus) -> StageResult:
    """Iteration 0 of fold 0."""
    return run(corpus).saved[0]


# Iterations


@pytest.mark.parametrize("updates", [0, 1, 3])
def test_a_chain_trains_iteration_0_and_one_more_for_each_update_in_order(
    corpus: SegmentCorpus, fits: list[Lesson], updates: int
) -> None:
    memory = run(corpus, *[update("bdsl")] * updates)
    assert list(memory.saved) == list(range(updates + 1))
    assert len(fits) == updates + 1


def test_iteration_0_learns_the_inherited_labels(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    test = run(corpus).saved[0].test
    np.testing.assert_array_equal(fits[0].targets, targets_of(corpus, test, [], []))


@every_leak_free_source
def test_permuted_labels_are_learnt_in_place_of_the_corpuss_own(
    corpus: SegmentCorpus, fits: list[Lesson], source: str
) -> None:
    permuted = labels_of(corpus.utterances, "permuted", seed=3)
    relabelled = replace(corpus, utterances=corpus.utterances.assign(label=permuted))
    found = run(corpus, update("wdsl"), seed=3, labels="permuted", **LEAK_FREE[source])
    expected = run(relabelled, update("wdsl"), seed=3, **LEAK_FREE[source])
    assert_same_networks(found, expected)
    test = found.saved[0].test
    np.testing.assert_array_equal(fits[0].targets, targets_of(relabelled, test, [], []))
    assert (permuted != corpus.utterances["label"]).any()


def test_permuted_labels_leave_the_corpus_as_it_was(corpus: SegmentCorpus) -> None:
    before = corpus.utterances.copy()
    run(corpus, labels="permuted")
    pd.testing.assert_frame_equal(corpus.utterances, before)


@every_rule
def test_targets_come_from_the_predictions_of_the_iteration_before(
    corpus: SegmentCorpus, fits: list[Lesson], rule: str
) -> None:
    memory = run(corpus, update(rule), update(rule))
    for t in (1, 2):
        expected = targets_of(corpus, memory.saved[0].test, [update(rule)] * t, [memory.q[0], memory.q[1]][:t])
        np.testing.assert_array_equal(fits[t].targets, expected)
    assert (memory.q[0] != memory.q[1]).any()


def test_each_iteration_has_an_update_of_its_own(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    updates = [LabelUpdate("wdsl", 0.5), LabelUpdate("hdl")]
    memory = run(corpus, *updates)
    for t in (1, 2):
        expected = targets_of(corpus, memory.saved[0].test, updates[:t], [memory.q[0], memory.q[1]][:t])
        np.testing.assert_array_equal(fits[t].targets, expected)


def test_finished_iterations_are_not_trained_again(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    known = distributions(len(corpus), 3)
    memory = run(corpus, update("bdsl"), memory=MemoryStages({0: known}))
    assert list(memory.saved) == [1]
    (only,) = fits
    expected = targets_of(corpus, memory.saved[1].test, [update("bdsl")], [known])
    np.testing.assert_array_equal(only.targets, expected)


def test_targets_of_iterations_that_were_trained_before_are_made_again_from_the_first(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    """Rule ema needs all of them."""
    known = {t: distributions(len(corpus), 3, seed=t) for t in range(2)}
    run(corpus, update("ema"), update("ema"), memory=MemoryStages(known))
    (last,) = fits
    learnt = ~np.isnan(last.targets).any(axis=1)
    expected = 0.04 * one_hot(corpus.label, 3) + 0.16 * known[0] + 0.8 * known[1]
    np.testing.assert_allclose(last.targets[learnt], expected[learnt], atol=1e-6)


@pytest.mark.parametrize("source", [*LEAK_FREE, "global_oof"])
def test_an_update_sees_all_the_folds_training_utterances_and_no_others(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    seen: list[tuple[np.ndarray, ...]] = []

    def spy(q: np.ndarray, y: np.ndarray, g: np.ndarray, utterance: np.ndarray) -> np.ndarray:
        seen.append((q, y, g, utterance))
        return q

    monkeypatch.setitem(RULES, "spy", Rule(spy))
    others = MemoryStages(others={t: distributions(len(corpus), 3) for t in range(2)})
    settings = LEAK_FREE.get(source, {"label_source": source})
    test = run(corpus, update("spy"), update("spy"), memory=others, **settings).saved[0].test
    assert len(seen) >= 3  # one for iteration 1, two for iteration 2
    for q, y, g, utterance in seen:
        np.testing.assert_array_equal(utterance, corpus.utterance[~test])
        np.testing.assert_array_equal(y, one_hot(corpus.label[~test], 3))
        assert np.isfinite(q).all() and np.isfinite(g).all()


@pytest.mark.parametrize("steps", range(8))
def test_a_chain_goes_no_further_than_its_first_steps(corpus: SegmentCorpus, steps: int) -> None:
    updates = [update("bdsl")] * 2
    memory = run(corpus, *updates, steps=steps, **CROSS_FIT)
    assert list(memory.trained) == list(settings_of(*updates, **CROSS_FIT).steps[:steps])


def test_a_chain_taken_up_again_ends_with_the_same_bits(corpus: SegmentCorpus) -> None:
    whole = run(corpus, update("gsl"), update("gsl"))
    later = run(corpus, update("gsl"), update("gsl"), memory=MemoryStages({0: whole.q[0]}))
    np.testing.assert_array_equal(later.q[2], whole.q[2])


def test_a_finished_chain_does_nothing(
    corpus: SegmentCorpus, fits: list[Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "Segments", None)  # not even the corpus is brought to the device
    known = distributions(len(corpus), 3)
    memory = run(corpus, update("bdsl"), memory=MemoryStages({0: known, 1: known}))
    assert not memory.saved
    assert not fits


def test_epochs_are_reported_with_their_step(corpus: SegmentCorpus) -> None:
    reported: list[tuple[Step, int]] = []
    run(corpus, update("bdsl"), on_epoch=lambda step, epoch: reported.append((step, epoch.number)), **CROSS_FIT)
    steps = [Step(0), Step(0, 0), Step(0, 1), Step(1)]
    assert reported == [(step, epoch) for step in steps for epoch in (0, 1)]


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

    def kill(step: Step, epoch: Epoch) -> None:
        if (step, epoch.number) == (Step(1), 0):
            raise KillError

    with pytest.raises(KillError):
        run(corpus, update("hdl"), memory=memory, on_epoch=kill)
    assert list(memory.saved) == [0]
    torch.manual_seed(99)
    run(corpus, update("hdl"), memory=memory)
    assert memory.saved[1].resumed_at == 1
    assert len(memory.saved[1].history) == 2
    np.testing.assert_array_equal(memory.q[1], whole.q[1])


def test_a_result_tells_how_many_segments_were_learnt(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    found = run(corpus, update("bdsl"), **CROSS_FIT).trained.values()
    assert [each.training_segments for each in found] == [len(fit.training) for fit in fits]
    assert len({each.training_segments for each in found}) > 1


def test_validation_wa_is_the_share_of_validation_utterances_that_mean_pooling_recognises(
    corpus: SegmentCorpus, fits: list[Lesson], predicted: np.ndarray
) -> None:
    """By the inner networks too, of whose validation utterances no prediction is kept."""
    found = run(corpus, update("bdsl"), training=replace(QUICK, validation_share=0.4), **CROSS_FIT)
    shares = []
    for result, fit in zip(found.trained.values(), fits, strict=True):
        utterances = np.unique(corpus.utterance[fit.validation])
        pooled = [predicted[corpus.utterance == each].mean(axis=0).argmax() for each in utterances]
        shares.append(np.mean(corpus.utterances["label"].to_numpy()[utterances] == pooled))
        assert result.validation_wa == pytest.approx(shares[-1])
    assert 0 < min(shares) < max(shares) < 1


def test_targets_right_is_the_share_of_learnt_segments_whose_target_is_their_true_class(
    corpus: SegmentCorpus, fits: list[Lesson], predicted: np.ndarray
) -> None:
    truth = np.random.default_rng(0).integers(0, 3, len(corpus))
    found = run(replace(corpus, true_label=truth), update("bdsl")).saved
    learnt = fits[0].training
    assert found[0].targets_right == pytest.approx((corpus.label == truth)[learnt].mean())
    assert found[1].targets_right == pytest.approx((predicted.argmax(axis=1) == truth)[learnt].mean())
    assert found[0].targets_right != found[1].targets_right


def test_targets_right_is_not_known_where_true_classes_are_not(result: StageResult) -> None:
    assert result.targets_right is None


# The same bits, and pairs that can be compared


def test_the_same_seed_gives_the_same_bits(corpus: SegmentCorpus) -> None:
    first, second = run(corpus, update("wdsl")), run(corpus, update("wdsl"))
    for t in range(2):
        np.testing.assert_array_equal(first.q[t], second.q[t])


def test_another_seed_gives_another_network_and_another_validation_part(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    first, second = run(corpus, seed=0), run(corpus, seed=1)
    assert (first.q[0] != second.q[0]).any()
    assert set(fits[0].validation) != set(fits[1].validation)


@every_rule
@pytest.mark.parametrize("source", [*LEAK_FREE, "global_oof"])
def test_iteration_0_is_the_same_whatever_rule_and_label_source_follow(
    corpus: SegmentCorpus, result: StageResult, rule: str, source: str
) -> None:
    settings = LEAK_FREE.get(source, {"label_source": source})
    np.testing.assert_array_equal(run(corpus, update(rule), steps=1, **settings).q[0], result.q)


def test_inner_networks_of_iteration_0_are_the_same_whatever_rule_follows(
    corpus: SegmentCorpus, crossed: MemoryStages
) -> None:
    other = run(corpus, update("hdl"), steps=3, **CROSS_FIT)
    for step, result in other.trained.items():
        np.testing.assert_array_equal(result.q, crossed.trained[step].q)


def test_the_seed_of_a_training_depends_on_seed_fold_iteration_and_inner_fold(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    for seed in range(2):
        for fold in range(FOLDS):
            run(corpus, update("bdsl"), update("bdsl"), seed=seed, fold=fold, **CROSS_FIT)
    assert len({fit.seed for fit in fits}) == len(fits) == 2 * FOLDS * 7


def test_the_seed_of_a_training_depends_on_neither_rule_nor_alpha_nor_label_source(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    run(corpus, LabelUpdate("wdsl", 0.2))
    run(corpus, LabelUpdate("wdsl", 0.8))
    run(corpus, LabelUpdate("hdl"))
    memory = run(corpus, LabelUpdate("hdl"), **CROSS_FIT)
    seeds = [fit.seed for fit in fits]
    outer = [seed for step, seed in zip(memory.trained, seeds[6:], strict=True) if step.inner_fold is None]
    assert seeds[:2] == seeds[2:4] == seeds[4:6] == outer


def test_all_folds_together_test_every_segment_once(corpus: SegmentCorpus) -> None:
    tested = sum(run(corpus, fold=fold).saved[0].test.astype(int) for fold in range(FOLDS))
    np.testing.assert_array_equal(tested, np.ones(len(corpus)))
