"""Folds and the validation part: always whole utterances, never single segments (§VIII-A)."""

import numpy as np
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

SPLITS = ("stratified",)


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


def validation_part(label: np.ndarray, training: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which of the utterances `training` [n] (positions in `label` [U]) to hold out for early stopping.

    About `share` of them, with the classes' proportions; at least one of each class. Raises ValueError where one of
    these has a single utterance.
    """
    size = max(round(share * len(training)), len(np.unique(label[training])))
    splitter = StratifiedShuffleSplit(1, test_size=size, random_state=seed)
    _, held_out = next(splitter.split(training, label[training]))
    for absent in np.setdiff1d(label[training], label[training[held_out]]):  # too rare for its share to come to one
        held_out = np.append(held_out, np.random.default_rng(seed).choice(np.flatnonzero(label[training] == absent)))
    return np.sort(training[held_out])


def derived_seed(*parts: int) -> int:
    """A 32-bit seed from several numbers, unrelated for neighbouring ones; zeros at the end do not count."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
