"""Folds and held-out parts with the classes' proportions, draw for draw as scikit-learn makes them.

StratifiedKFold, StratifiedGroupKFold and StratifiedShuffleSplit of scikit-learn 1.9 (BSD-3-Clause; the second after
https://www.kaggle.com/jakubwasikowski/stratified-group-k-fold-cross-validation, Apache-2.0). Which utterances train a
network is thus no matter of the release that is installed, and a process that trains need not import it, which takes
longer than all else that it plans with.
"""

import numpy as np


def stratified(label: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each of `label` [N], int [N]; the folds' sizes, and their numbers of each class, differ by at most
    one."""
    rng = np.random.RandomState(seed)
    _, first, known = np.unique(label, return_index=True, return_inverse=True)
    ordered = np.argsort(np.argsort(first))[known]  # classes by where they first appear
    dealt = np.sort(ordered)
    fold_of = np.empty(len(label), dtype=np.int64)
    counts = np.array([np.bincount(dealt[fold::folds], minlength=len(first)) for fold in range(folds)])
    for number in range(len(first)):
        of_class = np.arange(folds).repeat(counts[:, number])
        rng.shuffle(of_class)
        fold_of[ordered == number] = of_class
    return fold_of


def stratified_groups(label: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each of `label` [N], int [N], with every group [N] whole: those with the most uneven classes come
    first, each to the fold with which the classes are spread most evenly.

    Raises ValueError where every class has fewer members than there are folds.
    """
    _, known, of_class = np.unique(label, return_inverse=True, return_counts=True)
    if (of_class < folds).all():
        raise ValueError(f"every class has fewer utterances than the {folds} folds")
    _, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((group.max() + 1, len(of_class)))
    np.add.at(counts, (group, known), 1)
    order = np.arange(len(counts))
    np.random.RandomState(seed).shuffle(order)
    order = order[np.argsort(-np.std(counts[order], axis=1), kind="stable")]
    in_fold = np.zeros((folds, len(of_class)))
    fold_of_group = np.empty(len(counts), dtype=np.int64)
    for number in order:
        best = fold_of_group[number] = _most_even(in_fold, counts[number], of_class)
        in_fold[best] += counts[number]
    return fold_of_group[group]


def _most_even(in_fold: np.ndarray, added: np.ndarray, of_class: np.ndarray) -> int:
    """The fold to which `added` [K] comes, given what is `in_fold` [F, K] of `of_class` [K] in all: of about equal ones
    the smallest."""
    best, least, smallest = 0, np.inf, np.inf
    for fold in range(len(in_fold)):
        in_fold[fold] += added
        spread = np.mean(np.std(in_fold / of_class, axis=0))
        in_fold[fold] -= added
        size = in_fold[fold].sum()
        if spread < least or (np.isclose(spread, least) and size < smallest):
            best, least, smallest = fold, spread, size
    return best


def stratified_part(label: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Which `size` of `label` [N] to hold out, int [size]; at least one of each class.

    Raises ValueError where that leaves fewer than there are classes.
    """
    _, known, of_class = np.unique(label, return_inverse=True, return_counts=True)
    left = len(label) - size
    if left < len(of_class):
        raise ValueError(
            f"{left} utterances are left beside the {size} held out, fewer than the {len(of_class)} classes"
        )
    rng = np.random.RandomState(seed)
    kept = _shares(of_class, left, rng)
    held_out = _shares(of_class - kept, size, rng)
    members = np.split(np.argsort(known, kind="stable"), np.cumsum(of_class)[:-1])
    shuffled = [one[rng.permutation(len(one))] for one in members]
    return np.concatenate([one[k : k + n] for one, k, n in zip(shuffled, kept, held_out, strict=True)])


def _shares(counts: np.ndarray, drawn: int, rng: np.random.RandomState) -> np.ndarray:
    """How many of each class [K] are among so many `drawn`, most likely; ties are broken by chance."""
    exact = counts / counts.sum() * drawn
    shares = np.floor(exact)
    rest = exact - shares
    missing = int(drawn - shares.sum())
    for value in np.unique(rest)[::-1]:
        if missing <= 0:
            break
        (there,) = np.where(rest == value)
        more = rng.choice(there, size=min(len(there), missing), replace=False)
        shares[more] += 1
        missing -= len(more)
    return shares.astype(int)
