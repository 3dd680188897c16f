"""The parts of a fold and of the folds inside it: who trains, who validates, who is tested, and what cannot be."""

import itertools
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from dsl.labels import LabelUpdate
from dsl.settings import ChainSettings, Step, TrainingSettings, ValidationBy
from dsl.splits import (
    GROUPED_BY,
    SPLITS,
    Parts,
    canonical_training,
    derived_seed,
    impossible_parts,
    may_train,
    parts_of,
    training_seed,
)
from tests.dsl.dsl_toys import UTTERANCES

FOLDS = {"stratified": 5, "speaker": 6, "text": 4, "speaker_text": 4, "session": 5}
every_split = pytest.mark.parametrize("split", SPLITS)
every_part = pytest.mark.parametrize(
    ("split", "inner_fold"), [(split, inner) for split in SPLITS for inner in (None, 0, 1, 2)]
)


def chain(split: str, fold: int = 0, seed: int = 0, **settings: Any) -> ChainSettings:
    """A chain with three inner folds."""
    basic = ChainSettings(
        "toy", "tiny", split, FOLDS[split], fold, seed, "cross_fit", (), TrainingSettings(), inner_folds=3
    )
    return replace(basic, **settings)


def all_parts(split: str, inner_fold: int | None, seed: int = 0) -> list[Parts]:
    """Of every fold."""
    return [parts_of(chain(split, fold, seed), UTTERANCES, inner_fold) for fold in range(FOLDS[split])]


@every_part
def test_every_part_has_utterances_and_none_has_one_of_another(split: str, inner_fold: int | None) -> None:
    for parts in all_parts(split, inner_fold):
        assert parts.training.any() and parts.validation.any() and parts.tested.any()
        assert (parts.training.astype(int) + parts.validation + parts.tested).max() == 1


@every_part
def test_no_group_that_is_tested_trains_or_validates(split: str, inner_fold: int | None) -> None:
    """Inside a fold of `speaker_text` it is the speakers that are apart."""
    columns = GROUPED_BY[split] if inner_fold is None else GROUPED_BY[split][:1]
    for column, parts in itertools.product(columns, all_parts(split, inner_fold)):
        learnt = parts.training | parts.validation
        assert not set(UTTERANCES[column][learnt]) & set(UTTERANCES[column][parts.tested])


@every_part
def test_no_group_that_validates_trains(split: str, inner_fold: int | None) -> None:
    """Under `speaker_text` it is the speakers that are apart."""
    for column, parts in itertools.product(GROUPED_BY[split][:1], all_parts(split, inner_fold)):
        assert not set(UTTERANCES[column][parts.training]) & set(UTTERANCES[column][parts.validation])


@every_split
def test_the_folds_test_every_utterance_once(split: str) -> None:
    tested = sum(parts.tested.astype(int) for parts in all_parts(split, None))
    np.testing.assert_array_equal(tested, np.ones(len(UTTERANCES)))


@every_split
def test_all_who_may_train_or_validate_do(split: str) -> None:
    for parts in all_parts(split, None):
        np.testing.assert_array_equal(
            parts.training | parts.validation, may_train(chain(split), UTTERANCES, parts.tested)
        )


@every_split
def test_the_inner_folds_test_the_folds_training_utterances_once_and_no_others(split: str) -> None:
    for fold in range(FOLDS[split]):
        outer = parts_of(chain(split, fold), UTTERANCES)
        tested = sum(parts_of(chain(split, fold), UTTERANCES, inner).tested.astype(int) for inner in range(3))
        np.testing.assert_array_equal(tested, outer.training | outer.validation)


@every_split
def test_an_inner_fold_learns_from_the_folds_training_utterances_that_it_does_not_test(split: str) -> None:
    for fold, inner in itertools.product(range(FOLDS[split]), range(3)):
        outer, parts = (parts_of(chain(split, fold), UTTERANCES, each) for each in (None, inner))
        learnt = parts.training | parts.validation
        np.testing.assert_array_equal(learnt, (outer.training | outer.validation) & ~parts.tested)


@pytest.mark.parametrize("inner_fold", [None, 0])
def test_labels_of_tested_utterances_do_not_matter_where_groups_make_the_folds(inner_fold: int | None) -> None:
    """As many folds as speakers: which is tested in which is in no label."""
    outer = parts_of(chain("speaker"), UTTERANCES)
    label = UTTERANCES["label"].where(~outer.tested, 2 - UTTERANCES["label"])
    expected = parts_of(chain("speaker"), UTTERANCES, inner_fold)
    found = parts_of(chain("speaker"), UTTERANCES.assign(label=label), inner_fold)
    for name in ("training", "validation", "tested"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@every_part
def test_neither_rule_nor_label_source_changes_the_parts(split: str, inner_fold: int | None) -> None:
    other = chain(split, label_source="in_fold", updates=(LabelUpdate("hdl"),), backbone="vgg19")
    for name in ("training", "validation", "tested"):
        first, second = (parts_of(each, UTTERANCES, inner_fold) for each in (chain(split), other))
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_each_seed_has_inner_folds_and_validation_parts_of_its_own() -> None:
    parts = [parts_of(chain("stratified", seed=seed), UTTERANCES, inner) for seed in range(3) for inner in range(3)]
    assert len({each.tested.tobytes() for each in parts}) == 9
    assert len({each.validation.tobytes() for each in parts}) == 9


def test_more_inner_folds_than_groups_left_are_refused() -> None:
    with pytest.raises(ValueError, match="3 groups, fewer than the 4 folds"):
        parts_of(chain("text", inner_folds=4), UTTERANCES, 0)


def test_an_inner_fold_that_leaves_a_single_group_is_refused() -> None:
    with pytest.raises(ValueError, match="a single group"):
        parts_of(chain("speaker", folds=3, inner_folds=2), UTTERANCES[UTTERANCES["speaker"] < "s3"], 0)


PLAIN = pd.DataFrame({"label": np.arange(24) % 2, "speaker": np.arange(24) // 4, "text": np.arange(24) // 2 % 4})


@pytest.mark.parametrize(
    ("split", "tested", "validation"),
    [
        ("stratified", [2, 10, 11, 13, 19, 22], [1, 8]),
        ("speaker", [16, 17, 18, 19], [0, 1, 2, 3]),
        ("text", [2, 3, 10, 11, 18, 19], [0, 1, 8, 9, 16, 17]),
    ],
)
def test_a_fold_stays_what_it_was(split: str, tested: list[int], validation: list[int]) -> None:
    """As it was before there were inner folds: stages of those days are still found by their keys."""
    parts = parts_of(chain(split, folds=4, fold=1, seed=5), PLAIN)
    assert np.flatnonzero(parts.tested).tolist() == tested
    assert np.flatnonzero(parts.validation).tolist() == validation


@pytest.mark.parametrize(
    ("split", "tested", "validation"),
    [
        ("stratified", [0, 4, 5, 7, 9, 14, 15, 16, 21], [3, 18]),
        ("speaker", [8, 9, 10, 11, 12, 13, 14, 15], [0, 1, 2, 3]),
        ("speaker_text", [12, 13], [4, 5]),
    ],
)
def test_an_inner_fold_stays_what_it_was(split: str, tested: list[int], validation: list[int]) -> None:
    parts = parts_of(chain(split, folds=4, fold=1, seed=5, inner_folds=2), PLAIN, 1)
    assert np.flatnonzero(parts.tested).tolist() == tested
    assert np.flatnonzero(parts.validation).tolist() == validation


# What validates


BYS = get_args(ValidationBy)
every_by = pytest.mark.parametrize("by", BYS)


def validated_by(by: ValidationBy, **settings: Any) -> TrainingSettings:
    return TrainingSettings(validation_by=by, **settings)


@every_by
@every_part
def test_whatever_validates_the_same_utterances_learn_and_are_tested(
    split: str, inner_fold: int | None, by: ValidationBy
) -> None:
    for fold in range(FOLDS[split]):
        expected, found = (
            parts_of(chain(split, fold, training=training), UTTERANCES, inner_fold)
            for training in (TrainingSettings(), validated_by(by))
        )
        np.testing.assert_array_equal(found.tested, expected.tested)
        np.testing.assert_array_equal(found.training | found.validation, expected.training | expected.validation)
        assert not (found.training & found.validation).any()


@every_part
def test_utterances_that_validate_are_a_tenth_of_the_training_utterances_of_every_class(
    split: str, inner_fold: int | None
) -> None:
    for fold in range(FOLDS[split]):
        parts = parts_of(chain(split, fold, training=validated_by("utterance")), UTTERANCES, inner_fold)
        learnt = parts.training | parts.validation
        assert parts.validation.sum() == max(3, round(0.1 * learnt.sum()))
        assert set(UTTERANCES["label"][parts.validation]) == {0, 1, 2}


def test_leaving_one_of_four_speakers_out_trains_on_two_of_them_or_where_utterances_validate_on_three() -> None:
    four = UTTERANCES[UTTERANCES["speaker"] < "s4"].reset_index(drop=True)
    for fold in range(4):
        by_split, by_utterance = (
            parts_of(chain("speaker", fold, folds=4, training=validated_by(by)), four) for by in ("split", "utterance")
        )
        assert four["speaker"][by_split.training].nunique() == 2
        assert four["speaker"][by_utterance.training].nunique() == 3
        assert by_utterance.training.sum() == 3 * 12 - 4


@pytest.mark.parametrize("by", ["speaker", "text"])
@every_part
def test_speakers_and_texts_that_validate_do_not_train(split: str, inner_fold: int | None, by: ValidationBy) -> None:
    parts = parts_of(chain(split, training=validated_by(by)), UTTERANCES, inner_fold)
    assert parts.validation.any()
    assert not set(UTTERANCES[by][parts.training]) & set(UTTERANCES[by][parts.validation])


@every_part
def test_with_a_share_of_0_all_that_learn_train(split: str, inner_fold: int | None) -> None:
    training = TrainingSettings(validation_share=0, early_stopping=False)
    parts = parts_of(chain(split, training=training), UTTERANCES, inner_fold)
    expected = parts_of(chain(split), UTTERANCES, inner_fold)
    assert not parts.validation.any()
    np.testing.assert_array_equal(parts.training, expected.training | expected.validation)


@every_by
@every_split
def test_training_that_is_made_canonical_has_the_same_parts(split: str, by: ValidationBy) -> None:
    written = validated_by(by)
    canonical = canonical_training(written, split)
    one, other = (parts_of(chain(split, training=training), UTTERANCES) for training in (written, canonical))
    np.testing.assert_array_equal(one.validation, other.validation)


def test_what_means_what_the_split_does_is_written_as_that() -> None:
    same = {
        (split, by)
        for split, by in itertools.product(SPLITS, BYS)
        if canonical_training(validated_by(by), split) == TrainingSettings()
    }
    meant = {("stratified", "utterance"), ("speaker", "speaker"), ("text", "text"), ("speaker_text", "speaker")}
    meant |= {("session", "session")}
    assert same == meant | {(split, "split") for split in SPLITS}


@every_by
def test_without_a_validation_part_it_does_not_matter_what_would_validate(by: ValidationBy) -> None:
    without = validated_by(by, validation_share=0, early_stopping=False)
    assert canonical_training(without, "speaker") == replace(without, validation_by="split")


@every_split
def test_what_has_no_effect_is_written_as_the_default(split: str) -> None:
    to_the_end = TrainingSettings(early_stopping=False)
    assert canonical_training(replace(to_the_end, restore_best_weights=False), split) == to_the_end
    level = TrainingSettings(decay=1)
    assert canonical_training(replace(level, staircase=False), split) == level
    for written in (TrainingSettings(staircase=False), TrainingSettings(restore_best_weights=False)):
        assert canonical_training(written, split) == written


# What cannot be


def can_be_made(settings: ChainSettings, utterances: pd.DataFrame) -> bool:
    """Whether `parts_of` makes every part, and each training part has the two segments that a training needs."""
    inner = [None, *range(settings.inner_folds or 0)]
    try:
        made = [
            parts_of(replace(settings, fold=fold), utterances, each)
            for fold, each in itertools.product(range(settings.folds), inner)
        ]
    except ValueError:
        return False
    segments = -(-utterances["segments"].to_numpy() // settings.training.every)
    return all(segments[parts.training].sum() >= 2 for parts in made)


@pytest.mark.parametrize("by", [*BYS, None])
@every_split
def test_what_is_said_to_be_impossible_cannot_be_made_and_everything_else_can(
    split: str, by: ValidationBy | None
) -> None:
    """On corpora of few speakers and texts, of which not every speaker says every text; None: without validation."""
    training = validated_by(by) if by else TrainingSettings(validation_share=0, early_stopping=False)
    outcomes = set()
    for speakers, texts, folds, inner, sparse in itertools.product(
        (1, 2, 3, 4), (1, 2, 4), (2, 3, 4), (None, 2), (0, 1)
    ):
        few = UTTERANCES[(UTTERANCES["speaker"] < f"s{speakers}") & (UTTERANCES["text"] < f"t{texts}")]
        few = few.iloc[:: 2 if sparse else 1].reset_index(drop=True).assign(segments=2)
        settings = chain(split, folds=folds, inner_folds=inner, training=training)
        possible = not list(impossible_parts(settings, few))
        assert possible == can_be_made(settings, few), (speakers, texts, folds, inner, sparse)
        outcomes.add(possible)
    assert outcomes == {True, False}


def test_what_is_impossible_is_told_with_whom_it_concerns_and_what_to_ask_for_instead() -> None:
    three = UTTERANCES[UTTERANCES["speaker"] < "s3"].reset_index(drop=True).assign(segments=2)
    found = list(impossible_parts(chain("speaker", folds=3, inner_folds=2), three))
    assert [one.whose for one in found[:2]] == [f"inner fold {n} of fold 0 may learn from" for n in range(2)]
    assert len(found) == 6
    assert {three["speaker"][one.among].nunique() for one in found} == {1}
    assert {one.remedy.partition(",")[0] for one in found} == {"use training.validation_by: utterance"}
    assert {one.cause for one in found} == {"they are a single group, of which none can be held out for validation"}


def test_fewer_than_two_segments_are_too_few_to_train() -> None:
    two = pd.DataFrame({"label": [0, 0], "speaker": ["a", "b"], "text": "t", "segments": 5})
    training = TrainingSettings(validation_share=0, early_stopping=False)
    settings = chain("speaker", folds=2, inner_folds=None, training=training)
    assert not list(impossible_parts(settings, two))
    found = list(impossible_parts(replace(settings, training=replace(training, every=5)), two))
    assert [one.cause for one in found] == ["they have fewer segments than the two that a training needs"] * 2


# Seeds of trainings


def test_the_seed_of_a_training_stays_what_it_was() -> None:
    assert training_seed(chain("stratified", fold=2, seed=1), Step(3)) == derived_seed(1, 2, 3)


def test_every_training_of_a_grid_has_a_seed_of_its_own() -> None:
    steps = [Step(t, inner) for t in range(3) for inner in (None, 0, 1, 2)]
    grid = itertools.product(range(4), range(3), steps)
    assert len({training_seed(chain("text", fold, seed), step) for fold, seed, step in grid}) == 4 * 3 * 12


def test_the_seed_of_a_training_depends_on_neither_rule_nor_label_source() -> None:
    other = chain("text", label_source="in_fold", updates=(LabelUpdate("wdsl", 0.2),), inner_folds=None)
    assert training_seed(other, Step(1)) == training_seed(chain("text"), Step(1))
