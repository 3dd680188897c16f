"""Algorithm 1 on one fold: iterations in order, targets from the one before, nothing from the test utterances."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl import chain
from dsl.chain import MissingInputsError, StageResult
from dsl.company import run_chain
from dsl.fold_parts import FoldPart
from dsl.labels import RULES, LabelUpdate, Rule, labels_of, one_hot, updated_targets
from dsl.segments import band_statistics
from dsl.settings import ChainSettings, Step
from dsl.splits import stratified_folds
from dsl.steps import Epoch, TrainingRun
from dsl.training import Lesson, Training
from tests.dsl.dsl_toys import CPU, SETTINGS, KillError, MemoryStages, distributions

FOLDS = 3
QUICK = replace(SETTINGS, epochs=2)
CROSS_FIT: dict[str, Any] = {"label_source": "cross_fit", "inner_folds": 2}
LEAK_FREE: dict[str, dict[str, Any]] = {"in_fold": {}, "cross_fit": CROSS_FIT}  # label source -> settings of a chain
every_rule = pytest.mark.parametrize("rule", RULES)
every_leak_free_source = pytest.mark.parametrize("source", LEAK_FREE)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:cleanlab", "ignore::UserWarning:sklearn")


def folds_of(corpus: SegmentCorpus) -> np.ndarray:
    return stratified_folds(corpus.utterances["label"].to_numpy(), FOLDS, 0)


def update(rule: str) -> LabelUpdate:
    return LabelUpdate(rule, 0.2 if RULES[rule].takes_alpha else None)


def settings_of(*updates: LabelUpdate, **settings: Any) -> ChainSettings:
    """A chain of `tiny` networks with some of its settings replaced."""
    source = "in_fold" if updates else None
    return replace(ChainSettings("toy", "tiny", "stratified", FOLDS, 0, 0, source, updates, QUICK), **settings)


def run(
    corpus: SegmentCorpus,
    *updates: LabelUpdate,
    memory: MemoryStages | None = None,
    on_epoch: Callable[[Step, Epoch], None] = lambda step, epoch: None,
    steps: int | None = None,
    **settings: Any,
) -> MemoryStages:
    """Run a chain of `settings_of`, with a checkpoint after each epoch; returns what it left in its memory."""
    memory = memory or MemoryStages()
    memory.hear = on_epoch
    run_chain(corpus, settings_of(*updates, **settings), CPU, memory, steps, checkpoint_seconds=0)
    return memory


def targets_of(
    corpus: SegmentCorpus, test: np.ndarray, updates: Sequence[LabelUpdate], predictions: Sequence[np.ndarray]
) -> np.ndarray:
    """Targets after `updates` by `predictions` of iterations 0, 1...: NaN for the segments `test`."""
    learnt = np.flatnonzero(~test)
    y = g = one_hot(corpus.label[learnt], 3)
    for used, q in zip(updates, predictions, strict=True):
        g = updated_targets(used, q[learnt], y, g, corpus.utterance[learnt])
    targets = np.full((len(corpus), 3), np.nan, dtype=np.float32)
    targets[learnt] = g
    return targets


def put_together(memory: MemoryStages, iteration: int) -> np.ndarray:
    """What the inner networks of an iteration say, each of the segments it did not learn; NaN for the others."""
    q = np.full((len(memory.q[iteration]), 3), np.nan, dtype=np.float32)
    for step, result in memory.trained.items():
        if step.iteration == iteration and step.inner_fold is not None:
            q[result.test] = result.q[result.test]
    return q


def timeless(result: StageResult) -> tuple[list[Epoch], float | None]:
    """What a result says of its training but for the clock."""
    return [replace(epoch, rate=0) for epoch in result.history], result.validation_wa


def assert_same_networks(found: MemoryStages, expected: MemoryStages) -> None:
    assert list(found.trained) == list(expected.trained)
    for step, result in expected.trained.items():
        np.testing.assert_array_equal(found.trained[step].q, result.q)
        assert timeless(found.trained[step]) == timeless(result)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Lesson]:
    """What the trainings of chains are given, which are still done."""
    noted: list[Lesson] = []

    def noting(lesson: Lesson, *rest: Any) -> Training:
        noted.append(lesson)
        return Training(lesson, *rest)

    monkeypatch.setattr(chain, "Training", noting)
    return noted


@pytest.fixture
def standardised(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The segments whose statistics standardise what a network sees, for each network."""
    noted: list[np.ndarray] = []
    statistics = band_statistics

    def noting(corpus: SegmentCorpus, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        noted.append(index)
        return statistics(corpus, index)

    monkeypatch.setattr(chain, "band_statistics", noting)
    return noted


@pytest.fixture
def predicted(corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """What every network says once it is trained: [S, 3]."""
    q = distributions(len(corpus), 3, seed=4)
    monkeypatch.setattr(TrainingRun, "predict", lambda run, index: torch.from_numpy(q)[index])
    return q


@pytest.fixture(scope="module")
def spoken(corpus: SegmentCorpus) -> SegmentCorpus:
    """By six speakers, an utterance of each class by each: a speaker a fold, whatever the labels are."""
    speakers = [f"s{number // 3}" for number in range(len(corpus.utterances))]
    return replace(corpus, utterances=corpus.utterances.assign(speaker=speakers))


@pytest.fixture(scope="module")
def crossed(corpus: SegmentCorpus) -> MemoryStages:
    """A chain of two iterations with inner folds."""
    return run(corpus, update("ema"), update("ema"), **CROSS_FIT)


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


# Segments that an update drops


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that keep all but the first segment of every utterance, and none."""

    def first(y: np.ndarray, utterance: np.ndarray) -> np.ndarray:
        return np.where(np.diff(utterance, prepend=-1)[:, None] != 0, 0, y)

    monkeypatch.setitem(RULES, "first", Rule(first))
    monkeypatch.setitem(RULES, "all", Rule(lambda y: 0 * y))


@pytest.mark.usefixtures("dropping")
@every_leak_free_source
def test_dropped_segments_are_neither_trained_nor_validated_on(
    corpus: SegmentCorpus, fits: list[Lesson], source: str
) -> None:
    memory = run(corpus, update("first"), update("first"), **LEAK_FREE[source])
    for step, fit in zip(memory.trained, fits, strict=True):
        for learnt in (fit.training, fit.validation):
            utterances = np.unique(corpus.utterance[learnt])
            dropped = step.iteration > 0
            assert (corpus.segment[learnt] == 0).sum() == (0 if dropped else len(utterances))


@pytest.mark.usefixtures("dropping")
def test_segments_are_dropped_anew_in_each_iteration(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    run(corpus, update("first"), update("bdsl"))
    np.testing.assert_array_equal(fits[2].training, fits[0].training)


@pytest.mark.usefixtures("dropping")
def test_dropped_segments_do_not_count_as_learnt(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    known = replace(corpus, true_label=np.where(corpus.segment == 0, corpus.label, (corpus.label + 1) % 3))
    found = run(known, update("first")).saved
    assert found[1].training_segments == len(fits[1].training) < found[0].training_segments
    assert found[0].targets_right is not None and found[0].targets_right > 0
    assert found[1].targets_right == 0


@pytest.mark.usefixtures("dropping")
def test_every_iteration_is_standardised_alike_whatever_is_dropped(
    corpus: SegmentCorpus, fits: list[Lesson], standardised: list[np.ndarray]
) -> None:
    memory = run(corpus, update("first"), **CROSS_FIT)
    first, *_, last = memory.trained
    assert (first, last) == (Step(0), Step(1))
    np.testing.assert_array_equal(standardised[-1], standardised[0])
    assert len(fits[-1].training) < len(fits[0].training)


@pytest.mark.usefixtures("dropping")
def test_an_update_that_drops_every_segment_is_an_error_of_the_users(corpus: SegmentCorpus) -> None:
    with pytest.raises(UserError, match="leaves 0 training segments; use another rule"):
        run(corpus, update("all"))


def test_an_update_that_drops_all_there_is_to_validate_is_an_error_of_the_users(corpus: SegmentCorpus) -> None:
    part = FoldPart.of(corpus, settings_of())
    targets = one_hot(corpus.label, 3)
    targets[part.validation[1:]] = 0
    assert part.without_dropped(targets).validation.tolist() == [part.validation[0]]
    targets[part.validation] = 0
    with pytest.raises(UserError, match="leaves 0 validation segments; use another rule"):
        part.without_dropped(targets)


def test_a_training_part_of_one_segment_is_an_error_that_blames_no_update(corpus: SegmentCorpus) -> None:
    part = replace(FoldPart.of(corpus, settings_of()), training=np.array([0]))
    with pytest.raises(UserError, match="has 1 segment, and a training needs two; use more data, or a smaller"):
        part.without_dropped(one_hot(corpus.label, 3))


# Without a validation part


UNVALIDATED = replace(QUICK, validation_share=0, early_stopping=False)


@every_leak_free_source
def test_without_validation_all_of_a_folds_training_utterances_train(
    corpus: SegmentCorpus, fits: list[Lesson], source: str
) -> None:
    memory = run(corpus, update("bdsl"), training=UNVALIDATED, **LEAK_FREE[source])
    relabelled = np.zeros(len(corpus), dtype=bool)
    for (step, result), fit in zip(memory.trained.items(), fits, strict=True):
        assert result.validation_wa is None and not len(fit.validation)
        assert {(epoch.validation_loss, epoch.validation_accuracy) for epoch in result.history} == {(None, None)}
        whole = memory.trained[Step(0)].test
        np.testing.assert_array_equal(np.flatnonzero(~(whole | result.test)), fit.training)
        if step.inner_fold is not None:
            relabelled |= result.test
    np.testing.assert_array_equal(relabelled, ~memory.trained[Step(0)].test & (source == "cross_fit"))


@pytest.mark.usefixtures("dropping")
@every_leak_free_source
def test_without_validation_dropped_segments_are_not_trained_on(
    corpus: SegmentCorpus, fits: list[Lesson], source: str
) -> None:
    run(corpus, update("first"), training=UNVALIDATED, **LEAK_FREE[source])
    assert (corpus.segment[fits[0].training] == 0).any()
    assert not (corpus.segment[fits[-1].training] == 0).any()
    assert not len(fits[-1].validation)


@pytest.mark.parametrize("rule", RULES)
def test_without_validation_every_rule_goes_through_its_iterations(corpus: SegmentCorpus, rule: str) -> None:
    memory = run(corpus, update(rule), update(rule), training=UNVALIDATED, **CROSS_FIT)
    assert list(memory.saved) == [0, 1, 2]
    assert all(np.isfinite(q).all() for q in memory.q.values())


# Label source cross_fit


def test_a_cross_fit_chain_trains_the_inner_networks_of_an_iteration_before_the_next(
    crossed: MemoryStages,
) -> None:
    first, second = [Step(0), Step(0, 0), Step(0, 1)], [Step(1), Step(1, 0), Step(1, 1)]
    assert list(crossed.trained) == [*first, *second, Step(2)]


def test_no_inner_network_learns_validates_or_is_standardised_by_what_it_relabels(
    corpus: SegmentCorpus, fits: list[Lesson], standardised: list[np.ndarray]
) -> None:
    memory = run(corpus, update("hdl"), update("hdl"), **CROSS_FIT)
    for result, fit, used in zip(memory.trained.values(), fits, standardised, strict=True):
        np.testing.assert_array_equal(used, fit.training)
        assert not result.test[fit.training].any()
        assert not result.test[fit.validation].any()


def test_the_sound_of_what_an_inner_network_relabels_does_not_matter_to_its_training(
    corpus: SegmentCorpus, crossed: MemoryStages
) -> None:
    for step in (Step(0, 0), Step(0, 1)):
        frames = corpus.frames.copy()
        frames[corpus.start[crossed.trained[step].test, None] + np.arange(corpus.segment_frames)] *= -3
        again = run(replace(corpus, frames=frames), update("ema"), update("ema"), steps=3, **CROSS_FIT)
        assert timeless(again.trained[step]) == timeless(crossed.trained[step])
        assert timeless(again.trained[Step(0)]) != timeless(crossed.trained[Step(0)])


def test_the_inner_networks_of_an_iteration_relabel_the_folds_training_segments_once(crossed: MemoryStages) -> None:
    for t in range(2):
        relabelled = sum(crossed.trained[Step(t, inner)].test.astype(int) for inner in range(2))
        np.testing.assert_array_equal(relabelled, ~crossed.saved[0].test)


def test_an_inner_result_has_distributions_for_what_it_relabels_and_nothing_else(crossed: MemoryStages) -> None:
    for step in (Step(0, 0), Step(1, 1)):
        result = crossed.trained[step]
        np.testing.assert_allclose(result.q[result.test].sum(axis=1), 1, rtol=1e-6)
        assert np.isnan(result.q[~result.test]).all()


@every_rule
def test_targets_are_put_together_from_the_inner_networks_that_did_not_learn_the_segment(
    corpus: SegmentCorpus, fits: list[Lesson], rule: str
) -> None:
    memory = run(corpus, update(rule), update(rule), **CROSS_FIT)
    predictions = [put_together(memory, t) for t in range(2)]
    for step, fit in zip(memory.trained, fits, strict=True):
        t = step.iteration
        expected = targets_of(corpus, memory.saved[0].test, [update(rule)] * t, predictions[:t])
        np.testing.assert_array_equal(fit.targets, expected)


@pytest.mark.parametrize("done", range(1, 7))
def test_a_cross_fit_chain_taken_up_after_any_step_ends_with_the_same_bits(
    corpus: SegmentCorpus, crossed: MemoryStages, done: int
) -> None:
    memory = MemoryStages()
    memory.trained.update(list(crossed.trained.items())[:done])
    fresh = list(crossed.trained)[done:]
    run(corpus, update("ema"), update("ema"), memory=memory, **CROSS_FIT)
    assert_same_networks(memory, crossed)
    assert [step for step in memory.trained if memory.trained[step] is not crossed.trained[step]] == fresh


def test_an_interrupted_inner_training_goes_on_to_the_same_bits(corpus: SegmentCorpus, crossed: MemoryStages) -> None:
    memory = MemoryStages()

    def kill(step: Step, epoch: Epoch) -> None:
        if (step, epoch.number) == (Step(1, 0), 0):
            raise KillError

    with pytest.raises(KillError):
        run(corpus, update("ema"), update("ema"), memory=memory, on_epoch=kill, **CROSS_FIT)
    run(corpus, update("ema"), update("ema"), memory=memory, **CROSS_FIT)
    assert memory.trained[Step(1, 0)].resumed_at == 1
    assert_same_networks(memory, crossed)


# Label source global_oof


def test_global_oof_takes_its_targets_from_the_networks_that_tested_the_segments(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    others = {t: distributions(len(corpus), 3, seed=t) for t in range(2)}
    updates = [update("ema"), update("ema")]
    memory = run(corpus, *updates, memory=MemoryStages(others=others), label_source="global_oof")
    for t in range(3):
        expected = targets_of(corpus, memory.saved[0].test, updates[:t], [others[0], others[1]][:t])
        np.testing.assert_array_equal(fits[t].targets, expected)


@pytest.mark.parametrize("there", [0, 1])
def test_global_oof_goes_as_far_as_the_other_folds_have_and_keeps_that(corpus: SegmentCorpus, there: int) -> None:
    memory = MemoryStages(others={t: distributions(len(corpus), 3) for t in range(there)})
    with pytest.raises(MissingInputsError, match=f"iteration {there} of another fold"):
        run(corpus, update("bdsl"), update("bdsl"), memory=memory, label_source="global_oof")
    assert list(memory.saved) == list(range(there + 1))


def test_global_oof_needs_no_other_fold_for_steps_it_is_not_asked_for(corpus: SegmentCorpus) -> None:
    assert list(run(corpus, update("bdsl"), label_source="global_oof", steps=1).saved) == [0]


# No leak from the test utterances


@pytest.mark.parametrize("fold", range(FOLDS))
def test_training_validation_and_test_are_whole_utterances_apart(
    corpus: SegmentCorpus, fits: list[Lesson], fold: int
) -> None:
    test = run(corpus, fold=fold).saved[0].test
    parts = [fits[0].training, fits[0].validation, np.flatnonzero(test)]
    assert sorted(np.concatenate(parts)) == list(range(len(corpus)))
    utterances = [set(corpus.utterance[part]) for part in parts]
    assert all(utterances)
    assert sum(len(part) for part in utterances) == len(corpus.utterances)


def test_every_iteration_has_the_same_training_and_validation_part(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    run(corpus, update("bdsl"), update("bdsl"))
    for later in fits[1:]:
        np.testing.assert_array_equal(later.training, fits[0].training)
        np.testing.assert_array_equal(later.validation, fits[0].validation)


@every_rule
@every_leak_free_source
def test_labels_of_test_utterances_do_not_matter(spoken: SegmentCorpus, rule: str, source: str) -> None:
    test = (spoken.utterances["speaker"] == "s0").to_numpy()
    relabelled = with_labels_rolled(spoken, test)
    settings = {"split": "speaker", "folds": 6, **LEAK_FREE[source]}
    expected = run(spoken, update(rule), update(rule), **settings)
    np.testing.assert_array_equal(expected.saved[0].test, test[spoken.utterance])
    assert_same_networks(run(relabelled, update(rule), update(rule), **settings), expected)


@every_leak_free_source
def test_labels_of_training_utterances_do_matter(spoken: SegmentCorpus, source: str) -> None:
    """Or the test before this one would show nothing."""
    relabelled = with_labels_rolled(spoken, (spoken.utterances["speaker"] != "s0").to_numpy())
    settings = {"split": "speaker", "folds": 6, **LEAK_FREE[source]}
    found, expected = (run(each, update("bdsl"), **settings) for each in (relabelled, spoken))
    for step, result in expected.trained.items():
        assert (found.trained[step].q != result.q)[result.test].any()


def with_labels_rolled(corpus: SegmentCorpus, chosen: np.ndarray) -> SegmentCorpus:
    """The labels of the utterances `chosen` handed on from one to the next."""
    label = corpus.utterances["label"].to_numpy().copy()
    label[chosen] = np.roll(label[chosen], 1)
    assert (label != corpus.utterances["label"])[chosen].all()
    return replace(corpus, utterances=corpus.utterances.assign(label=label))


@every_rule
@every_leak_free_source
def test_the_sound_of_test_utterances_does_not_matter_to_the_others(
    corpus: SegmentCorpus, fits: list[Lesson], rule: str, source: str
) -> None:
    """Nor does it to how they are standardised, or to their targets."""
    test = (folds_of(corpus) == 0)[corpus.utterance]
    frames = corpus.frames.copy()
    frames[corpus.start[test, None] + np.arange(corpus.segment_frames)] *= -3
    expected = run(corpus, update(rule), update(rule), **LEAK_FREE[source])
    found = run(replace(corpus, frames=frames), update(rule), update(rule), **LEAK_FREE[source])
    for step, result in expected.trained.items():
        np.testing.assert_array_equal(found.trained[step].q[~test], result.q[~test])
        assert timeless(found.trained[step]) == timeless(result)
        assert step.inner_fold is not None or (found.trained[step].q[test] != result.q[test]).any()
    for first, second in zip(fits[: len(fits) // 2], fits[len(fits) // 2 :], strict=True):
        np.testing.assert_array_equal(first.targets, second.targets)


@every_leak_free_source
def test_test_segments_have_no_targets(corpus: SegmentCorpus, fits: list[Lesson], source: str) -> None:
    test = run(corpus, update("gsl"), update("gsl"), **LEAK_FREE[source]).saved[0].test
    for fit in fits:
        assert np.isnan(fit.targets[test]).all()
        assert np.isfinite(fit.targets[~test]).all()


def test_frames_are_brought_to_the_device_once_for_all_networks(
    corpus: SegmentCorpus, fits: list[Lesson], standardised: list[np.ndarray]
) -> None:
    run(corpus, update("bdsl"), **CROSS_FIT)
    assert len({fit.segments.frames.data_ptr() for fit in fits}) == 1
    for fit, used in zip(fits, standardised, strict=True):
        np.testing.assert_array_equal(used, fit.training)
        np.testing.assert_array_equal(fit.segments.statistics, band_statistics(corpus, fit.training))


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
