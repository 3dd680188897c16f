"""Folds and the validation part: always whole utterances, never single segments (§VIII-A).

Splits: `stratified` is the paper's. In `speaker` no speaker, and in `text` no sentence, is both in training and test.
"""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit

GROUPED_BY = {"stratified": None, "speaker": "speaker", "text": "text"}  # split -> column of the utterances
SPLITS = tuple(GROUPED_BY)


def groups_of(split: str, utterances: pd.DataFrame) -> np.ndarray | None:
    """Which utterances must stay together, as numbers [U]; None where each may go where it wants."""
    column = GROUPED_BY[split]
    return None if column is None else pd.factorize(utterances[column], sort=True)[0]


def assign_folds(split: str, utterances: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """The fold in which each utterance is tested, int [U], under one of SPLITS.

    `utterances` has the columns label, speaker and text, in the order of ids. Raises ValueError where there are
    fewer groups, or utterances of a class, than folds.
    """
    label = utterances["label"].to_numpy()
    groups = groups_of(split, utterances)
    return stratified_folds(label, folds, seed) if groups is None else grouped_folds(label, groups, folds, seed)


def grouped_folds(label: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold in which each utterance is tested, int [U]; no group [U] is in two of them.

    As many folds as groups leave one group out each; fewer put groups together, by their classes' shares.
    """
    count = len(np.unique(groups))
    if count < folds:
        raise ValueError(f"{count} groups, fewer than the {folds} folds")
    if count == folds:
        return np.unique(groups, return_inverse=True)[1]
    fold_of = np.empty(len(label), dtype=np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(np.zeros(len(label)), label, groups)):
        fold_of[test] = fold
    return fold_of


def stratified_folds(label: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold in which each utterance is tested, int [U]; every fold has about the same share of each class.

    `label` [U] in the order of the utterances' ids. Raises ValueError where a class has fewer utterances than folds.
    """
    rarest = np.unique(label, return_counts=True)[1].min()
    if rarest < folds:
        raise ValueError(f"a class has {rarest} utterances, fewer than the {folds} folds")
    fold_of = np.empty(len(label), dtype=np.int64)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(np.zeros(len(label)), label)):
        fold_of[test] = fold
    return fold_of


def validation_part(
    label: np.ndarray, training: np.ndarray, share: float, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Which of the utterances `training` [n] (positions in `label` [U]) to hold out for early stopping.

    About `share` of them, with the classes' proportions; at least one of each class. Raises ValueError where one of
    these has a single utterance. With `groups` [U] whole groups are held out, at least one, and classes as they come;
    ValueError where there is one group only.
    """
    if groups is not None:
        there = len(np.unique(groups[training]))
        if there < 2:
            raise ValueError("the training part is a single group, of which none can be held out for validation")
        fold_of = grouped_folds(label[training], groups[training], min(max(2, round(1 / share)), there), seed)
        return training[fold_of == np.random.default_rng(seed).choice(np.unique(fold_of))]
    size = max(round(share * len(training)), len(np.unique(label[training])))
    splitter = StratifiedShuffleSplit(1, test_size=size, random_state=seed)
    _, held_out = next(splitter.split(training, label[training]))
    for absent in np.setdiff1d(label[training], label[training[held_out]]):  # too rare for its share to come to one
        held_out = np.append(held_out, np.random.default_rng(seed).choice(np.flatnonzero(label[training] == absent)))
    return np.sort(training[held_out])


def derived_seed(*parts: int) -> int:
    """A 32-bit seed from several numbers, unrelated for neighbouring ones; zeros at the end do not count."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
