"""Folds and the validation part: always whole utterances, never single segments (§VIII-A).

Splits: `stratified` is the paper's. In `speaker` no speaker, in `text` no sentence, and in `speaker_text` neither of
them is both in training and test.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit

from dsl.settings import ChainSettings, Step

GROUPED_BY = {  # split -> columns of the utterances of which no value is both in training and test
    "stratified": (),
    "speaker": ("speaker",),
    "text": ("text",),
    "speaker_text": ("speaker", "text"),
}
SPLITS = tuple(GROUPED_BY)


@dataclass(frozen=True)
class Parts:
    """Which utterances train, validate and test a network: bool [U] each."""

    training: np.ndarray
    validation: np.ndarray
    tested: np.ndarray


def parts_of(chain: ChainSettings, utterances: pd.DataFrame, inner_fold: int | None = None) -> Parts:
    """The parts of the chain's fold or, with `inner_fold`, of that part of the fold's training utterances.

    `utterances` has the columns label, speaker and text, in the order of ids. Raises ValueError where there are too
    few.
    """
    label = utterances["label"].to_numpy()
    groups = groups_of(chain.split, utterances)
    tested = assign_folds(chain.split, utterances, chain.folds, chain.seed) == chain.fold
    training = may_train(chain.split, utterances, tested)
    seed = derived_seed(chain.seed, chain.fold)
    if inner_fold is not None:
        assert chain.inner_folds is not None
        pool = np.flatnonzero(training)
        inner_groups = None if groups is None else groups[pool]
        inner = whole_folds(label[pool], inner_groups, chain.inner_folds, seed)
        tested = np.zeros(len(label), dtype=bool)
        tested[pool[inner == inner_fold]] = True
        training &= ~tested
        seed = derived_seed(chain.seed, chain.fold, 0, 0, inner_fold + 1)
    validation = np.zeros(len(label), dtype=bool)
    validation[validation_part(label, np.flatnonzero(training), chain.training.validation_share, seed, groups)] = True
    return Parts(training & ~validation, validation, tested)


def training_seed(chain: ChainSettings, step: Step) -> int:
    """The seed of one training: of neither rule nor alpha nor label source, so that these can be compared in pairs."""
    inner = () if step.inner_fold is None else (step.inner_fold + 1,)
    return derived_seed(chain.seed, chain.fold, step.iteration, *inner)


def groups_of(split: str, utterances: pd.DataFrame) -> np.ndarray | None:
    """Which utterances must stay together in validation and inner folds, as numbers [U]; None where none must.

    Those of `speaker_text` are speakers.
    """
    columns = GROUPED_BY[split]
    return pd.factorize(utterances[columns[0]], sort=True)[0] if columns else None


def assign_folds(split: str, utterances: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """The fold in which each utterance is tested, int [U], under one of SPLITS.

    `utterances` has the columns label, speaker and text, in the order of ids. Raises ValueError where there are
    fewer groups, or utterances of a class, than folds.
    """
    label = utterances["label"].to_numpy()
    if split == "speaker_text":
        return _crossed_folds(utterances, folds, seed)
    return whole_folds(label, groups_of(split, utterances), folds, seed)


def may_train(split: str, utterances: pd.DataFrame, tested: np.ndarray) -> np.ndarray:
    """Which utterances may train a network that is tested on `tested` bool [U]: bool [U].

    All others but, under a split by groups, those of the speaker or the text of one that is tested.
    """
    allowed = ~tested
    for column in GROUPED_BY[split]:
        allowed &= ~utterances[column].isin(utterances.loc[tested, column].unique()).to_numpy()
    return allowed


def _crossed_folds(utterances: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """Folds [U]: each a part of the speakers by a part of the texts, about as many parts of one as of the other."""
    speakers, texts = (pd.factorize(utterances[name], sort=True)[0] for name in ("speaker", "text"))
    there = speakers.max() + 1, texts.max() + 1
    shapes = [(rows, folds // rows) for rows in range(2, folds) if folds % rows == 0]
    fitting = [shape for shape in shapes if shape[0] <= there[0] and shape[1] <= there[1]]
    if not fitting:
        raise ValueError(
            f"{folds} folds are no product of at most {there[0]} parts of the speakers and at most {there[1]} parts of "
            "the texts, 2 of each or more"
        )
    rows, columns = min(fitting, key=lambda shape: abs(shape[0] - shape[1]))
    label = utterances["label"].to_numpy()
    fold_of = grouped_folds(label, speakers, rows, seed) * columns + grouped_folds(label, texts, columns, seed)
    empty = np.setdiff1d(np.arange(folds), fold_of)
    if len(empty):
        raise ValueError(f"fold {empty[0]} has nothing to test: none of its speakers says one of its texts")
    return fold_of


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


def whole_folds(label: np.ndarray, groups: np.ndarray | None, folds: int, seed: int) -> np.ndarray:
    """The fold of each utterance, int [U]: stratified, or by whole groups [U] where there are any.

    Raises ValueError where there are fewer groups, or utterances of a class, than folds.
    """
    return stratified_folds(label, folds, seed) if groups is None else grouped_folds(label, groups, folds, seed)


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
