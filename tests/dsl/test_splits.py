"""Folds and the validation part: whole utterances, every class everywhere, the same for the same seed."""

import itertools
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.labels import LabelUpdate
from dsl.settings import ChainSettings, Step, TrainingSettings, ValidationBy
from dsl.splits import (
    GROUPED_BY,
    SPLITS,
    Parts,
    assign_folds,
    canonical_training,
    derived_seed,
    grouped_folds,
    groups_of,
    impossible_parts,
    may_train,
    parts_of,
    stratified_folds,
    training_seed,
    validation_part,
    whole_folds,
)
from tests.dsl.dsl_toys import light

seeds = st.integers(0, 2**32 - 1)
BALANCED = np.arange(30) % 3


@st.composite
def labels(draw: st.DrawFn, at_least: int) -> np.ndarray:
    """Labels of 2 to 4 classes, `at_least` utterances of each, in any order."""
    counts = draw(st.lists(st.integers(at_least, at_least + 20), min_size=2, max_size=4))
    label = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(seeds)).permutation(label)


@light
@given(labels(at_least=4), seeds)
def test_every_utterance_is_tested_in_one_of_the_folds(label: np.ndarray, seed: int) -> None:
    fold_of = stratified_folds(label, 4, seed)
    assert fold_of.shape == label.shape
    assert set(fold_of) == {0, 1, 2, 3}


@light
@given(labels(at_least=4), seeds)
def test_folds_have_the_same_number_of_each_class_within_one(label: np.ndarray, seed: int) -> None:
    fold_of = stratified_folds(label, 4, seed)
    for k in np.unique(label):
        counts = np.bincount(fold_of[label == k], minlength=4)
        assert counts.max() - counts.min() <= 1


@light
@given(labels(at_least=4), seeds)
def test_the_same_seed_gives_the_same_folds(label: np.ndarray, seed: int) -> None:
    np.testing.assert_array_equal(stratified_folds(label, 4, seed), stratified_folds(label, 4, seed))


def test_another_seed_gives_other_folds() -> None:
    assert (stratified_folds(BALANCED, 5, 0) != stratified_folds(BALANCED, 5, 1)).any()


def test_as_many_utterances_of_a_class_as_folds_are_enough() -> None:
    label = np.repeat([0, 1], [20, 5])
    assert sorted(stratified_folds(label, 5, 0)[label == 1]) == [0, 1, 2, 3, 4]


def test_a_class_with_fewer_utterances_than_folds_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 utterances, fewer than the 5 folds"):
        stratified_folds(np.repeat([0, 1], [20, 4]), 5, 0)


@st.composite
def parts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Arguments of validation_part: some utterances train, at least two of each class."""
    label = draw(labels(at_least=2))
    needed = np.concatenate([np.flatnonzero(label == k)[:2] for k in np.unique(label)])
    training = np.random.default_rng(draw(seeds)).random(len(label)) < draw(st.floats(0, 1))
    training[needed] = True
    return label, np.flatnonzero(training), draw(st.floats(0.02, 0.3)), draw(seeds)


@light
@given(parts())
def test_the_validation_part_is_made_of_training_utterances_each_once(
    part: tuple[np.ndarray, np.ndarray, float, int],
) -> None:
    held_out = validation_part(*part)
    assert set(held_out) <= set(part[1])
    assert len(set(held_out)) == len(held_out)


@light
@given(parts())
def test_the_validation_part_and_the_rest_have_at_least_one_utterance_of_each_class(
    part: tuple[np.ndarray, np.ndarray, float, int],
) -> None:
    label, training, _, _ = part
    held_out = validation_part(*part)
    assert set(label[held_out]) == set(label)
    assert set(label[np.setdiff1d(training, held_out)]) == set(label)


def test_a_class_too_rare_for_its_share_is_validated_nevertheless() -> None:
    label = np.repeat([0, 1, 2], [50, 50, 3])
    np.testing.assert_array_equal(np.bincount(label[validation_part(label, np.arange(103), 0.1, 0)]), [5, 5, 1])


def test_the_only_training_utterance_of_a_class_trains() -> None:
    label = np.array([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    held_out = validation_part(label, np.arange(12), 0.2, 0)
    assert set(label[held_out]) == {0, 1}


def test_utterances_of_a_class_each_leave_nothing_to_validate() -> None:
    with pytest.raises(ValueError, match="no class has two of them, of which one could be held out"):
        validation_part(np.arange(5), np.arange(5), 0.2, 0)


@light
@given(parts(), st.booleans())
def test_with_a_share_of_0_there_is_no_validation_part(
    part: tuple[np.ndarray, np.ndarray, float, int], grouped: bool
) -> None:
    label, training, _, seed = part
    assert not len(validation_part(label, training, 0, seed, label if grouped else None))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.5])
@light
@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), seeds)
def test_however_few_each_class_trains_and_each_that_has_two_utterances_validates(
    share: float, counts: list[int], seed: int
) -> None:
    label = np.repeat(np.arange(len(counts)), counts)
    if max(counts) == 1:
        return
    held_out = validation_part(label, np.arange(len(label)), share, seed)
    assert set(label[held_out]) == {k for k, count in enumerate(counts) if count > 1}
    assert set(np.delete(label, held_out)) == set(range(len(counts)))


@light
@given(parts())
def test_the_validation_part_has_about_its_share(part: tuple[np.ndarray, np.ndarray, float, int]) -> None:
    label, training, share, _ = part
    classes = len(np.unique(label))
    size = max(round(share * len(training)), classes)
    assert size <= len(validation_part(*part)) < size + classes


def test_the_validation_part_keeps_the_classes_proportions() -> None:
    label = np.repeat([0, 1], [40, 20])
    np.testing.assert_array_equal(np.bincount(label[validation_part(label, np.arange(60), 0.1, 0)]), [4, 2])


@light
@given(parts())
def test_the_same_seed_gives_the_same_validation_part(part: tuple[np.ndarray, np.ndarray, float, int]) -> None:
    np.testing.assert_array_equal(validation_part(*part), validation_part(*part))


def test_another_seed_gives_another_validation_part() -> None:
    training = np.arange(30)
    first, second = (validation_part(BALANCED, training, 0.2, seed) for seed in (0, 1))
    assert set(first) != set(second)


@light
@given(parts(), seeds)
def test_labels_outside_the_training_utterances_do_not_matter(
    part: tuple[np.ndarray, np.ndarray, float, int], seed: int
) -> None:
    label, training, share, split_seed = part
    other = np.random.default_rng(seed).integers(0, 4, len(label))
    other[training] = label[training]
    np.testing.assert_array_equal(validation_part(other, training, share, split_seed), validation_part(*part))


# A stage's key does not say which utterances a fold tests or what its seed came to: it relies on these never changing.
# Where a new version of a library changes them, raise METHOD_VERSION in sweep/planning/stages.py.


def test_folds_stay_what_they_were() -> None:
    assert stratified_folds(np.arange(12) % 2, 3, 0).tolist() == [2, 0, 1, 1, 0, 2, 1, 0, 0, 1, 2, 2]


def test_the_validation_part_stays_what_it_was() -> None:
    assert validation_part(BALANCED, np.arange(30), 0.2, 0).tolist() == [0, 13, 15, 22, 23, 29]


def test_derived_seeds_stay_what_they_were() -> None:
    assert derived_seed(0, 0, 0) == 2968811710
    assert derived_seed(1, 2, 3) == 3822189696
    assert derived_seed(12345, 11) == 2963957378


def test_derived_seeds_of_neighbours_differ() -> None:
    neighbours = list(itertools.product(range(10), repeat=3))
    assert len({derived_seed(*parts) for parts in neighbours}) == len(neighbours)


def test_a_derived_seed_depends_on_the_order_of_its_parts() -> None:
    assert derived_seed(1, 2) != derived_seed(2, 1)


def test_zeros_at_the_end_do_not_count_in_a_derived_seed() -> None:
    """So a fold's validation part and its iteration 0 have the same seed, for generators of different kinds."""
    assert derived_seed(1, 2) == derived_seed(1, 2, 0)


@light
@given(seeds, seeds)
def test_a_derived_seed_fits_32_bits(first: int, second: int) -> None:
    assert 0 <= derived_seed(first, second) < 2**32


# Splits by groups


UTTERANCES = pd.DataFrame(
    [(label, f"s{speaker}", f"t{text}") for label in range(3) for speaker in range(6) for text in range(4)],
    columns=["label", "speaker", "text"],
)


@pytest.mark.parametrize(("split", "folds"), [("speaker", 6), ("speaker", 3), ("text", 4), ("text", 2)])
def test_a_grouped_split_keeps_every_group_in_one_fold(split: str, folds: int) -> None:
    fold_of = assign_folds(split, UTTERANCES, folds, seed=0)
    assert set(fold_of) == set(range(folds))
    assert (pd.Series(fold_of).groupby(UTTERANCES[split]).nunique() == 1).all()


def test_as_many_folds_as_speakers_leave_one_speaker_out() -> None:
    fold_of = assign_folds("speaker", UTTERANCES, 6, seed=0)
    assert (pd.Series(UTTERANCES["speaker"]).groupby(fold_of).nunique() == 1).all()


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="4 groups, fewer than the 5 folds"):
        assign_folds("text", UTTERANCES, 5, seed=0)


def test_the_stratified_split_has_the_papers_folds() -> None:
    label = UTTERANCES["label"].to_numpy()
    np.testing.assert_array_equal(assign_folds("stratified", UTTERANCES, 4, seed=1), stratified_folds(label, 4, 1))


@pytest.mark.parametrize("split", ["speaker", "text"])
@pytest.mark.parametrize("seed", range(5))
def test_the_validation_part_of_a_grouped_split_is_whole_groups(split: str, seed: int) -> None:
    groups = groups_of(split, UTTERANCES)
    assert groups is not None
    training = np.flatnonzero(assign_folds(split, UTTERANCES, 3, seed=0) != 0)
    held_out = validation_part(UTTERANCES["label"].to_numpy(), training, 0.1, seed, groups)
    left = np.setdiff1d(training, held_out)
    assert 0 < len(held_out) < len(training)
    assert not set(groups[held_out]) & set(groups[left])
    assert np.isin(held_out, training).all()


def test_a_single_group_leaves_none_to_validate() -> None:
    with pytest.raises(ValueError, match="a single group"):
        validation_part(np.array([0, 1, 0, 1]), np.arange(4), 0.1, 0, np.zeros(4, np.int64))


def test_of_many_groups_some_validate_though_every_class_has_fewer_utterances_than_parts() -> None:
    groups = np.arange(12)
    held_out = validation_part(groups % 3, groups, 0.1, 0, groups)
    assert 0 < len(held_out) < 12


def test_classes_that_are_rarer_than_folds_of_groups_come_as_they_are_and_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    label = np.repeat([0, 1], [38, 2])
    assert set(grouped_folds(label, np.arange(40) // 2, 5, 0)) == set(range(5))
    assert not recwarn


def test_the_validation_part_of_a_grouped_split_varies_with_the_seed() -> None:
    groups = groups_of("speaker", UTTERANCES)
    label, training = UTTERANCES["label"].to_numpy(), np.arange(len(UTTERANCES))
    assert len({tuple(validation_part(label, training, 0.1, seed, groups)) for seed in range(20)}) > 2


def test_whole_folds_are_stratified_where_there_are_no_groups() -> None:
    np.testing.assert_array_equal(whole_folds(BALANCED, None, 5, 1), stratified_folds(BALANCED, 5, 1))


@light
@given(labels(at_least=4), st.integers(2, 4), st.integers(0, 4), seeds)
def test_whole_folds_of_groups_keep_each_of_them_in_one_and_leave_no_fold_empty(
    label: np.ndarray, folds: int, more: int, seed: int
) -> None:
    groups = np.arange(len(label)) % (folds + more)
    fold_of = whole_folds(label, groups, folds, seed)
    assert set(fold_of) == set(range(folds))
    assert (pd.Series(fold_of).groupby(groups).nunique() == 1).all()


# No speaker and no text in both


@pytest.mark.parametrize("folds", [4, 6, 8, 12, 24])
def test_speaker_text_tests_every_utterance_in_one_of_the_folds(folds: int) -> None:
    fold_of = assign_folds("speaker_text", UTTERANCES, folds, seed=0)
    assert fold_of.shape == (len(UTTERANCES),)
    assert set(fold_of) == set(range(folds))


def test_a_fold_of_speaker_text_is_some_speakers_saying_some_texts() -> None:
    fold_of = assign_folds("speaker_text", UTTERANCES, 6, seed=0)
    for fold in range(6):
        tested = UTTERANCES[fold_of == fold]
        pairs = set(zip(tested["speaker"], tested["text"], strict=True))
        assert pairs == set(itertools.product(tested["speaker"], tested["text"]))


@pytest.mark.parametrize(("folds", "parts"), [(4, [2, 2]), (6, [2, 3]), (8, [2, 4]), (12, [3, 4]), (24, [4, 6])])
def test_speaker_text_divides_speakers_and_texts_about_alike(folds: int, parts: list[int]) -> None:
    """Whichever there are more of."""
    swapped = UTTERANCES.rename(columns={"speaker": "text", "text": "speaker"})
    for utterances in (UTTERANCES, swapped):
        tested = utterances.groupby(assign_folds("speaker_text", utterances, folds, seed=0))
        assert sorted(tested[name].agg(frozenset).nunique() for name in ("speaker", "text")) == parts


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_a_prime_number_of_folds_of_speaker_text_is_refused(folds: int) -> None:
    with pytest.raises(
        ValueError, match=f"{folds} folds are no product of at most 6 parts of the speakers and at most"
    ):
        assign_folds("speaker_text", UTTERANCES, folds, seed=0)


@pytest.mark.parametrize(("column", "folds"), [("speaker", 10), ("text", 4)])
def test_too_few_speakers_or_texts_for_speaker_text_are_refused(column: str, folds: int) -> None:
    few = UTTERANCES.assign(**{column: "the only one"})
    with pytest.raises(ValueError, match=f"at most 1 parts of the {column}s"):
        assign_folds("speaker_text", few, folds, seed=0)


def test_a_fold_of_speaker_text_with_nothing_to_test_is_refused() -> None:
    """Half of the speakers say the first half of the texts, the others the rest: two of four folds are empty."""
    late_speaker, late_text = UTTERANCES["speaker"] > "s2", UTTERANCES["text"] > "t1"
    apart = UTTERANCES[late_speaker == late_text].replace({"speaker": {"s1": "s0", "s2": "s0", "s4": "s3", "s5": "s3"}})
    apart = apart.replace({"text": {"t1": "t0", "t3": "t2"}}).reset_index(drop=True)
    with pytest.raises(ValueError, match=r"fold . has nothing to test: none of its speakers says one of its texts"):
        assign_folds("speaker_text", apart, 4, seed=0)


# Who may train


TESTED = ((UTTERANCES["speaker"] == "s1") & (UTTERANCES["text"] == "t2")).to_numpy()


@pytest.mark.parametrize(
    ("split", "kept_out"),
    [
        ("stratified", TESTED),
        ("speaker", UTTERANCES["speaker"] == "s1"),
        ("text", UTTERANCES["text"] == "t2"),
        ("speaker_text", (UTTERANCES["speaker"] == "s1") | (UTTERANCES["text"] == "t2")),
    ],
)
def test_all_may_train_but_the_tested_and_those_of_their_groups(split: str, kept_out: np.ndarray) -> None:
    np.testing.assert_array_equal(may_train(split, UTTERANCES, TESTED), ~np.asarray(kept_out))


def test_who_is_tested_stays_as_it_was() -> None:
    tested = TESTED.copy()
    may_train("speaker_text", UTTERANCES, tested)
    np.testing.assert_array_equal(tested, TESTED)


# The parts of a fold, and of the folds inside it


FOLDS = {"stratified": 5, "speaker": 6, "text": 4, "speaker_text": 4}
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
        np.testing.assert_array_equal(parts.training | parts.validation, may_train(split, UTTERANCES, parts.tested))


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
    assert same == meant | {(split, "split") for split in SPLITS}


@every_by
def test_without_a_validation_part_it_does_not_matter_what_would_validate(by: ValidationBy) -> None:
    without = validated_by(by, validation_share=0, early_stopping=False)
    assert canonical_training(without, "speaker") == replace(without, validation_by="split")


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
