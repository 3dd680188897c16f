"""What a chain trains and validates on: segments that an update drops, and no validation part at all."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl.dealt import deal
from dsl.fold_parts import FoldPart
from dsl.labels import RULES, Rule, labels_of, one_hot
from dsl.settings import Step
from dsl.training import Lesson
from tests.dsl.chains import (
    CROSS_FIT,
    LEAK_FREE,
    QUICK,
    WARNINGS_OF_RULES,
    every_leak_free_source,
    run,
    settings_of,
    update,
)

pytestmark = pytest.mark.filterwarnings(*WARNINGS_OF_RULES)


# Folds that were dealt before


@pytest.mark.parametrize("split", ["stratified", "speaker"])
@pytest.mark.parametrize("inner_fold", [None, 1])
@pytest.mark.parametrize("labels", ["given", "permuted"])
def test_folds_that_were_dealt_are_those_that_are_made(
    spoken: SegmentCorpus, split: str, inner_fold: int | None, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains = [settings_of(split=split, folds=4, fold=fold, inner_folds=2, labels=labels) for fold in range(4)]
    label = labels_of(spoken.utterances, labels, chains[0].seed)
    learnt = replace(spoken, utterances=spoken.utterances.assign(label=label))
    made = [FoldPart.of(learnt, chain, inner_fold) for chain in chains]
    dealt = replace(learnt, dealt=deal(spoken.utterances, [(chain, inner_fold) for chain in chains]))
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)  # which makes them
    for chain, expected in zip(chains, made, strict=True):
        found = FoldPart.of(dealt, chain, inner_fold)
        for name in ("training", "validation", "test"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    with pytest.raises(ImportError):
        FoldPart.of(dealt, replace(chains[0], seed=1), inner_fold)


def test_what_cannot_be_dealt_is_left_to_the_training(corpus: SegmentCorpus) -> None:
    assert not deal(corpus.utterances, [(settings_of(folds=len(corpus.utterances)), None)]).row


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
