"""Parts of folds that a list gives: what it says, and what is decided where it says nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from data_prep.errors import UserError
from data_prep.fold_lists import TEST, TRAIN, UNUSED, VALID, FoldList, with_lists
from dsl.settings import ChainSettings, Listed, TrainingSettings, identity_of
from dsl.splits import Impossible, canonical_training, impossible_parts, kept_apart, parts_of
from tests.dsl.dsl_toys import UTTERANCES

NUMBERED = UTTERANCES.assign(id=[f"u{number:02d}" for number in range(len(UTTERANCES))], segments=5)


def listed(letters: "pd.Series[str]") -> tuple[ChainSettings, pd.DataFrame]:
    """A chain of a list in which each utterance has these letters, and the utterances."""
    found = FoldList("folds.csv", tuple(zip(NUMBERED["id"], letters, strict=True)))
    own = Listed(found.digest, found.name)
    training = TrainingSettings()
    chain = ChainSettings(
        "toy", "tiny", "listed", found.folds, 0, 0, "cross_fit", (), training, inner_folds=3, listed=own
    )
    return chain, with_lists(NUMBERED, [found])


def by_fold(fold_of: "pd.Series[int]") -> "pd.Series[str]":
    """Letters of a list in which each utterance is tested in its fold, and trains in all others."""
    count = int(fold_of.max()) + 1
    return fold_of.map(lambda own: "".join(TEST if fold == own else TRAIN for fold in range(count)))


BY_SPEAKER = by_fold(NUMBERED["speaker"].str[1].astype(int))
MIXED = by_fold(pd.Series(np.arange(len(NUMBERED)) % 4))


@pytest.mark.parametrize("letters", [BY_SPEAKER, MIXED], ids=["speakers", "mixed"])
def test_a_fold_tests_who_the_list_says_and_all_others_learn(letters: "pd.Series[str]") -> None:
    chain, utterances = listed(letters)
    for fold in range(chain.folds):
        parts = parts_of(replace(chain, fold=fold), utterances)
        np.testing.assert_array_equal(parts.tested, letters.str[fold] == TEST)
        np.testing.assert_array_equal(parts.training | parts.validation, ~parts.tested)
        assert parts.validation.any() and not (parts.training & parts.validation).any()


def test_seeds_change_validation_parts_and_not_folds() -> None:
    chain, utterances = listed(MIXED)
    one, other = (parts_of(replace(chain, seed=seed), utterances) for seed in (0, 1))
    np.testing.assert_array_equal(one.tested, other.tested)
    assert (one.validation != other.validation).any()


def test_what_a_list_keeps_apart_is_seen_in_it() -> None:
    assert kept_apart(*listed(BY_SPEAKER)) == ("speaker",)
    assert kept_apart(*listed(MIXED)) == ("text",)  # every fourth utterance says the same text
    assert kept_apart(*listed(by_fold(pd.Series(np.arange(len(NUMBERED)) // 7 % 3)))) == ()
    assert kept_apart(*listed(by_fold(NUMBERED["session"].str[1].astype(int)))) == ("session",)


def test_the_coarser_of_speakers_and_sessions_stays_whole() -> None:
    chain, utterances = listed(by_fold(NUMBERED["speaker"].str[1].astype(int) // 2))
    days = utterances["speaker"].str[1].astype(int) // 2
    assert kept_apart(chain, utterances.assign(session="d" + days.astype(str))) == ("session", "speaker")
    takes = utterances.assign(session=utterances["speaker"] + utterances["text"])
    assert kept_apart(chain, takes) == ("speaker", "session")


def test_where_no_speaker_is_on_both_sides_speakers_validate_and_relabel_whole() -> None:
    chain, utterances = listed(BY_SPEAKER)
    for inner in (None, 0, 1, 2):
        parts = parts_of(chain, utterances, inner)
        speakers = [set(utterances["speaker"][part]) for part in (parts.training, parts.validation, parts.tested)]
        assert all(map(len, speakers)) and sum(map(len, speakers)) == len(set.union(*speakers))


def test_who_a_list_says_validates_does_whatever_the_share() -> None:
    letters = pd.Series([TEST, VALID, UNUSED, *[TRAIN] * 4] * 11)[: len(NUMBERED)]
    chain, utterances = listed(letters)
    for share in (0.1, 0.4):
        parts = parts_of(replace(chain, training=TrainingSettings(validation_share=share)), utterances)
        np.testing.assert_array_equal(parts.validation, letters == VALID)
        np.testing.assert_array_equal(parts.training, letters == TRAIN)
        np.testing.assert_array_equal(parts.tested, letters == TEST)
    inner = parts_of(chain, utterances, 0)
    assert inner.tested.any() and not (inner.tested & (letters == TEST)).any()
    np.testing.assert_array_equal(inner.validation, (letters == VALID) & ~inner.tested)
    written = TrainingSettings(validation_share=0.4, validation_by="text")
    assert canonical_training(written, "listed", validates=True) == TrainingSettings()
    assert canonical_training(written, "listed") == written


def test_lists_from_which_nothing_can_be_learnt_are_told() -> None:
    one_valid = MIXED.where(NUMBERED["id"] != "u01", "ltvv").str.replace("l", "v").mask(NUMBERED["id"] == "u02", "ltll")
    found = list(impossible_parts(*listed(one_valid)))
    assert found and all(isinstance(one, Impossible) for one in found)


def test_a_chain_is_known_by_what_the_list_says_and_not_by_its_name() -> None:
    chain, _ = listed(MIXED)
    renamed = replace(chain, listed=Listed(chain.listed.digest if chain.listed else "", "other.csv"))
    assert renamed == chain and identity_of(renamed) == identity_of(chain)
    assert identity_of(chain)["listed"] == {"digest": chain.listed.digest if chain.listed else ""}
    assert (chain.split_name, renamed.split_name) == ("folds.csv", "other.csv")
    assert "listed" not in identity_of(replace(chain, split="stratified", listed=None))


def test_a_list_that_is_not_with_the_corpus_is_asked_for() -> None:
    chain, _ = listed(MIXED)
    with pytest.raises(UserError, match=r"the folds of toy \(folds.csv\) are not there; ser-sweep run of their grid"):
        parts_of(chain, NUMBERED)
