"""Folds: whole utterances, every class everywhere, groups kept together, the same for the same seed."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.settings import ChainSettings, TrainingSettings
from dsl.splits import (
    assign_folds,
    derived_seed,
    groups_of,
    may_train,
    stratified_folds,
    validation_part,
)
from tests.dsl.dsl_toys import UTTERANCES, light

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
    assert set(stratified_folds(label, 5, 0, np.arange(40) // 2)) == set(range(5))
    assert not recwarn


def test_the_validation_part_of_a_grouped_split_varies_with_the_seed() -> None:
    groups = groups_of("speaker", UTTERANCES)
    label, training = UTTERANCES["label"].to_numpy(), np.arange(len(UTTERANCES))
    assert len({tuple(validation_part(label, training, 0.1, seed, groups)) for seed in range(20)}) > 2


@light
@given(labels(at_least=4), st.integers(2, 4), st.integers(0, 4), seeds)
def test_folds_of_groups_keep_each_of_them_in_one_and_leave_no_fold_empty(
    label: np.ndarray, folds: int, more: int, seed: int
) -> None:
    groups = np.arange(len(label)) % (folds + more)
    fold_of = stratified_folds(label, folds, seed, groups)
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


def chain_of(split: str) -> ChainSettings:
    return ChainSettings("toy", "tiny", split, 4, 0, 0, None, (), TrainingSettings())


TESTED = ((UTTERANCES["speaker"] == "s1") & (UTTERANCES["text"] == "t2")).to_numpy()


@pytest.mark.parametrize(
    ("split", "kept_out"),
    [
        ("stratified", TESTED),
        ("speaker", UTTERANCES["speaker"] == "s1"),
        ("text", UTTERANCES["text"] == "t2"),
        ("speaker_text", (UTTERANCES["speaker"] == "s1") | (UTTERANCES["text"] == "t2")),
        ("session", UTTERANCES["session"] == "d1"),
    ],
)
def test_all_may_train_but_the_tested_and_those_of_their_groups(split: str, kept_out: np.ndarray) -> None:
    np.testing.assert_array_equal(may_train(chain_of(split), UTTERANCES, TESTED), ~np.asarray(kept_out))


def test_who_is_tested_stays_as_it_was() -> None:
    tested = TESTED.copy()
    may_train(chain_of("speaker_text"), UTTERANCES, tested)
    np.testing.assert_array_equal(tested, TESTED)
