"""Folds and held-out parts are scikit-learn's, draw for draw: stages that were trained on its stay what they are."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit

from dsl.stratified import stratified, stratified_groups, stratified_part

labels = st.lists(st.integers(0, 5), min_size=4, max_size=80).map(np.array)
seeds = st.integers(0, 2**32 - 1)


def folds_of(splitter: StratifiedKFold, label: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    fold_of = np.empty(len(label), dtype=int)
    with warnings.catch_warnings(category=UserWarning, action="ignore"):  # of classes rarer than folds
        for fold, (_, test) in enumerate(splitter.split(np.zeros(len(label)), label, groups)):
            fold_of[test] = fold
    return fold_of


@settings(deadline=None)
@given(labels, st.integers(2, 10), seeds)
def test_folds(label: np.ndarray, folds: int, seed: int) -> None:
    if np.bincount(label).max() < folds:
        return
    theirs = folds_of(StratifiedKFold(folds, shuffle=True, random_state=seed), label)
    assert np.array_equal(stratified(label, folds, seed), theirs)


@settings(deadline=None)
@given(labels, st.integers(2, 6), seeds, st.data())
def test_folds_of_whole_groups(label: np.ndarray, folds: int, seed: int, data: st.DataObject) -> None:
    groups = np.array(data.draw(st.lists(st.integers(0, 12), min_size=len(label), max_size=len(label))))
    if np.bincount(label).max() < folds or len(np.unique(groups)) < folds:
        return
    theirs = folds_of(StratifiedGroupKFold(folds, shuffle=True, random_state=seed), label, groups)
    assert np.array_equal(stratified_groups(label, groups, folds, seed), theirs)


@settings(deadline=None)
@given(labels, st.floats(0.05, 0.5), seeds)
def test_a_held_out_part(label: np.ndarray, share: float, seed: int) -> None:
    label = np.concatenate([label, np.unique(label)])  # two of each class at least
    classes = len(np.unique(label))
    size = max(round(share * len(label)), classes)
    if len(label) - size < classes:
        return
    splitter = StratifiedShuffleSplit(1, test_size=size, random_state=seed)
    _, theirs = next(splitter.split(label, label))
    assert np.array_equal(np.sort(stratified_part(label, size, seed)), np.sort(theirs))


def test_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="every class has fewer utterances than the 4 folds"):
        stratified_groups(np.array([0, 0, 1, 1]), np.arange(4), 4, 0)
    with pytest.raises(ValueError, match="1 utterances are left beside the 3 held out, fewer than the 2 classes"):
        stratified_part(np.array([0, 0, 1, 1]), 3, 0)
