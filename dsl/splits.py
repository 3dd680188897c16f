"""Folds and the validation part: always whole utterances, never single segments (§VIII-A).

Splits: `stratified` is the paper's. In `speaker` no speaker, in `session` no session, in `text` no sentence, and in
`speaker_text` neither speaker nor sentence is both in training and test. In `listed` a list says who is in which part.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from data_prep.arrays import Bools, Ints, Strings
from data_prep.errors import UserError
from data_prep.fold_lists import TEST, TRAIN, VALID, column_of
from data_prep.text import counted
from dsl.settings import ChainSettings, Step, TrainingSettings, ValidationBy

GROUPED_BY = {  # split -> columns of the utterances of which no value is both in training and test
    "stratified": (),
    "speaker": ("speaker",),
    "text": ("text",),
    "speaker_text": ("speaker", "text"),
    "session": ("session",),
}
SPLITS = tuple(GROUPED_BY)
LISTED = "listed"  # the split of a list of folds, which may separate anything


@dataclass(frozen=True)
class Parts:
    """Which utterances train, validate and test a network: bool [U] each."""

    training: Bools
    validation: Bools
    tested: Bools


def parts_of(chain: ChainSettings, utterances: pd.DataFrame, inner_fold: int | None = None) -> Parts:
    """The parts of the chain's fold or, with `inner_fold`, of that part of the fold's training utterances.

    `utterances` has the columns label, speaker and text, and what the split takes beside them, in the order of ids.
    Raises ValueError where there are too few.
    """
    label = utterances["label"].to_numpy()
    tested = tested_by(chain, utterances)
    learnt = may_train(chain, utterances, tested)
    seed = derived_seed(chain.seed, chain.fold)
    if inner_fold is not None:
        tested = _inner_folds(chain, utterances, learnt) == inner_fold
        learnt &= ~tested
        seed = derived_seed(chain.seed, chain.fold, 0, 0, inner_fold + 1)
    validation = listed_to_validate(chain, utterances)
    if validation is None:
        groups = groups_of(kept_whole(kept_apart(chain, utterances), chain.training.validation_by), utterances)
        validation = np.zeros(len(label), dtype=bool)
        validation[validation_part(label, np.flatnonzero(learnt), chain.training.validation_share, seed, groups)] = True
    return Parts(learnt & ~validation, learnt & validation, tested)


@dataclass(frozen=True)
class Impossible:
    """A part that cannot be made: `whose` says in words whose it is, and `among` bool [U] which utterances it was to be
    made of; then why it cannot, and what to ask for instead."""

    whose: str
    among: Bools
    cause: str
    remedy: str


def impossible_parts(chain: ChainSettings, utterances: pd.DataFrame) -> Iterator[Impossible]:
    """What `parts_of` cannot make of the chain's folds, and of the inner folds of each, or what a training could not
    learn from.

    `utterances` has the columns label, speaker, text and segments, in the order of ids. All is tried but the making of
    validation parts, which takes long where there are many groups: that there is something to make them of is enough.
    """
    everything = np.ones(len(utterances), dtype=bool)
    of_folds = [replace(chain, fold=fold) for fold in range(chain.folds)]
    try:
        tested = [tested_by(one, utterances) for one in of_folds]
    except ValueError as error:
        yield Impossible("the corpus has", everything, str(error), "ask for other folds or another split")
        return
    for fold, one in enumerate(of_folds):
        learnt = may_train(one, utterances, tested[fold])
        whose = f"fold {fold} may learn from"
        yield from _impossible_to_learn(one, utterances, learnt, whose)
        if chain.inner_folds is None:
            continue
        try:
            inner_of = _inner_folds(one, utterances, learnt)
        except ValueError as error:
            remedy = "ask for fewer inner_folds, another label source or another split"
            yield Impossible(whose, learnt, f"for inner folds, {error}", remedy)
            continue
        for inner in range(chain.inner_folds):
            yield from _impossible_to_learn(
                one, utterances, learnt & (inner_of != inner), f"inner fold {inner} of {whose}"
            )


def _impossible_to_learn(
    chain: ChainSettings, utterances: pd.DataFrame, learnt: Bools, whose: str
) -> Iterator[Impossible]:
    """Why the utterances `learnt` bool [U] are too few for training and validation, where they are."""
    segments = -(-utterances["segments"].to_numpy()[learnt] // chain.training.every)
    if segments.sum() < 2:
        cause = "they have fewer segments than the two that a training needs"
        yield Impossible(whose, learnt, cause, "use more data, or a smaller training.every")
    listed = listed_to_validate(chain, utterances)
    if listed is not None:
        if not (learnt & listed).any() or not (learnt & ~listed).any():
            yield Impossible(whose, learnt, "all of them validate, or none", "list others")
        return
    if not chain.training.validation_share:
        return
    column = kept_whole(kept_apart(chain, utterances), chain.training.validation_by)
    try:
        may_validate(utterances["label"].to_numpy(), np.flatnonzero(learnt), groups_of(column, utterances))
    except ValueError as error:
        without = "training.validation_share: 0 with training.early_stopping: false"
        remedy = without if column is None else f"training.validation_by: utterance, or {without}"
        yield Impossible(whose, learnt, str(error), f"use {remedy}")


def _inner_folds(chain: ChainSettings, utterances: pd.DataFrame, learnt: Bools) -> Ints:
    """The inner fold that tests each of the utterances `learnt` bool [U] of the chain's fold; -1 elsewhere: int [U]."""
    assert chain.inner_folds is not None
    own = utterances[learnt]
    groups = groups_of(kept_whole(kept_apart(chain, utterances)), own)
    fold_of = np.full(len(utterances), -1)
    seed = derived_seed(chain.seed, chain.fold)
    fold_of[learnt] = stratified_folds(own["label"].to_numpy(), chain.inner_folds, seed, groups)
    return fold_of


def training_seed(chain: ChainSettings, step: Step) -> int:
    """The seed of one training: of neither rule nor alpha nor label source, so that these can be compared in pairs."""
    inner = () if step.inner_fold is None else (step.inner_fold + 1,)
    return derived_seed(chain.seed, chain.fold, step.iteration, *inner)


def kept_apart(chain: ChainSettings, utterances: pd.DataFrame) -> tuple[str, ...]:
    """The columns of the utterances of which no value is both in training and test; those of a list of folds are looked
    up. The first has the fewest values of speakers and sessions, where both are kept apart."""
    if chain.listed is None:
        return GROUPED_BY[chain.split]
    known = [one for one in ("speaker", "session", "text") if one in utterances and (utterances[one] != "").all()]
    parts = [_letters(replace(chain, fold=fold), utterances) for fold in range(chain.folds)]
    apart = [
        column
        for column in known
        if not any(
            set(utterances.loc[letters == TEST, column]) & set(utterances.loc[np.isin(letters, (TRAIN, VALID)), column])
            for letters in parts
        )
    ]
    return tuple(sorted(apart, key=lambda column: (column == "text", utterances[column].nunique())))


def kept_whole(apart: tuple[str, ...], validation_by: ValidationBy = "split") -> str | None:
    """The column of the utterances of which no value is divided, None where there is none: by the inner folds of a
    split that keeps these columns `apart` or, with `validation_by`, by its validation parts.

    That of `speaker_text` is the speaker.
    """
    if validation_by == "split":
        return next(iter(apart), None)
    return None if validation_by == "utterance" else validation_by


def canonical_training(training: TrainingSettings, split: str, validates: bool = False) -> TrainingSettings:
    """`training` under `split`, the same for every way of writing it. What has no effect is at its default:
    `validation_by` where it means the split's, and where there is no validation part; `restore_best_weights` without
    early stopping; and `staircase` of a rate that does not decay. Where a list says who `validates`, neither
    `validation_by` nor the share matters."""
    training = replace(
        training,
        restore_best_weights=training.restore_best_weights or not training.early_stopping,
        staircase=training.staircase or training.decay == 1,
    )
    if validates:
        return replace(training, validation_by="split", validation_share=TrainingSettings.validation_share)
    apart = GROUPED_BY.get(split)
    same = apart is not None and kept_whole(apart, training.validation_by) == kept_whole(apart)
    return replace(training, validation_by="split") if same or not training.validation_share else training


def groups_of(column: str | None, utterances: pd.DataFrame) -> Ints | None:
    """Which utterances have the same value in a column, as numbers [U]; None without one."""
    return None if column is None else pd.factorize(utterances[column], sort=True)[0]


def tested_by(chain: ChainSettings, utterances: pd.DataFrame) -> Bools:
    """Which utterances the chain's fold tests, bool [U]. `utterances` and errors are as for `assign_folds`."""
    if chain.listed is not None:
        return np.asarray(_letters(chain, utterances) == TEST)
    return np.asarray(assign_folds(chain.split, utterances, chain.folds, chain.seed) == chain.fold)


def listed_to_validate(chain: ChainSettings, utterances: pd.DataFrame) -> Bools | None:
    """Which utterances a list says are to validate the chain's fold, bool [U]; None where none says so."""
    if chain.listed is None:
        return None
    validation = _letters(chain, utterances) == VALID
    return validation if validation.any() else None


def _letters(chain: ChainSettings, utterances: pd.DataFrame) -> Strings:
    """What each utterance is for in the chain's fold, by its list: text [U]."""
    assert chain.listed is not None
    if column_of(chain.listed.digest) not in utterances:
        raise UserError(
            f"the folds of {chain.corpus} ({chain.split_name}) are not there; ser-sweep run of their grid adds them"
        )
    return utterances[column_of(chain.listed.digest)].str[chain.fold].to_numpy(dtype=str)


def assign_folds(split: str, utterances: pd.DataFrame, folds: int, seed: int) -> Ints:
    """The fold in which each utterance is tested, int [U], under one of SPLITS.

    `utterances` has the columns label, speaker and text, and session where that is the split, in the order of ids.
    Raises ValueError where there are fewer groups, or utterances of a class, than folds.
    """
    label = utterances["label"].to_numpy()
    if split == "speaker_text":
        return _crossed_folds(utterances, folds, seed)
    return stratified_folds(label, folds, seed, groups_of(kept_whole(GROUPED_BY[split]), utterances))


def may_train(chain: ChainSettings, utterances: pd.DataFrame, tested: Bools) -> Bools:
    """Which utterances may train a network of the chain's fold that is tested on `tested` bool [U]: bool [U].

    All others but, under a split by groups, those of the speaker, session or text of one that is tested; and those that
    a list says are to train or to validate.
    """
    if chain.listed is not None:
        return np.isin(_letters(chain, utterances), (TRAIN, VALID))
    allowed = ~tested
    for column in GROUPED_BY[chain.split]:
        allowed &= ~utterances[column].isin(utterances.loc[tested, column].unique()).to_numpy()
    return allowed


def _crossed_folds(utterances: pd.DataFrame, folds: int, seed: int) -> Ints:
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
    fold_of = stratified_folds(label, rows, seed, speakers) * columns + stratified_folds(label, columns, seed, texts)
    empty = np.setdiff1d(np.arange(folds), fold_of)
    if len(empty):
        raise ValueError(f"fold {empty[0]} has nothing to test: none of its speakers says one of its texts")
    return fold_of


def stratified_folds(label: Ints, folds: int, seed: int, groups: Ints | None = None) -> Ints:
    """The fold in which each utterance is tested, int [U]; every fold has about the same share of each class.

    `label` [U] in the order of the utterances' ids. With `groups` [U] none of these is in two folds: as many folds as
    groups leave one group out each; fewer put groups together, by their classes' shares. Raises ValueError where there
    are fewer groups, or utterances of a class, than folds.
    """
    label = label.astype(np.int64)
    if groups is None:
        rarest = np.unique(label, return_counts=True)[1].min()
        if rarest < folds:
            raise ValueError(f"a class has {counted(rarest, 'utterance')}, fewer than the {folds} folds")
        return _shuffled_folds(label.tobytes(), None, folds, seed)
    count = len(np.unique(groups))
    if count < folds:
        raise ValueError(f"{counted(count, 'group')}, fewer than the {folds} folds")
    if count == folds:
        return np.unique(groups, return_inverse=True)[1]
    return _shuffled_folds(label.tobytes(), groups.astype(np.int64).tobytes(), folds, seed)


@lru_cache(maxsize=64)
def _shuffled_folds(label: bytes, groups: bytes | None, folds: int, seed: int) -> Ints:
    """The fold of each utterance by scikit-learn, int [U], read-only: of int64 [U], stratified and, with `groups`, in
    whole groups. Each of the folds asks for it anew, and groups take long."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # what imports this may not need it

    of_class = np.frombuffer(label, np.int64)
    of_group = None if groups is None else np.frombuffer(groups, np.int64)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    fold_of = np.empty(len(of_class), np.int64)
    with warnings.catch_warnings(category=UserWarning, action="ignore"):  # of classes rarer than folds
        split = kind(folds, shuffle=True, random_state=seed).split(np.zeros(len(of_class)), of_class, of_group)
        for fold, (_, test) in enumerate(split):
            fold_of[test] = fold
    fold_of.flags.writeable = False
    return fold_of


def validation_part(label: Ints, training: Ints, share: float, seed: int, groups: Ints | None = None) -> Ints:
    """Which of the utterances `training` [n] (positions in `label` [U]) to hold out for early stopping.

    About `share` of them, with the classes' proportions; at least one of each class that has two. With `groups` [U]
    whole groups are held out, at least one, and classes as they come. None with a share of 0. Raises ValueError where
    `may_validate` does.
    """
    if not share:
        return training[:0]
    pool = may_validate(label, training, groups)
    if groups is not None:
        folds = _validation_folds(label[pool], groups[pool], share)
        fold_of = stratified_folds(label[pool], folds, seed, groups[pool])
        drawn: Bools = fold_of == np.random.default_rng(seed).choice(np.unique(fold_of))
        return pool[drawn]
    size = max(round(share * len(pool)), len(np.unique(label[pool])))
    from sklearn.model_selection import StratifiedShuffleSplit

    splitter = StratifiedShuffleSplit(1, test_size=size, random_state=seed)
    held_out: Ints = next(splitter.split(pool, label[pool]))[1]
    for absent in np.setdiff1d(label[pool], label[pool[held_out]]):  # too rare for its share to come to one
        held_out = np.append(held_out, np.random.default_rng(seed).choice(np.flatnonzero(label[pool] == absent)))
    return np.sort(pool[held_out])


def may_validate(label: Ints, training: Ints, groups: Ints | None = None) -> Ints:
    """Which of the utterances `training` [n] (positions in `label` [U]) may be held out for early stopping.

    All but single ones of a class, which train. Raises ValueError where none may: with `groups` [U] where all are of
    one, and elsewhere where no class has two.
    """
    if groups is not None:
        if len(np.unique(groups[training])) < 2:
            raise ValueError("they are a single group, of which none can be held out for validation")
        return training
    _, known, count = np.unique(label[training], return_inverse=True, return_counts=True)
    pool = training[count[known] > 1]
    if not len(pool):
        raise ValueError("no class has two of them, of which one could be held out for validation")
    return pool


def _validation_folds(label: Ints, groups: Ints, share: float) -> int:
    """Of how many folds of whole groups [n] one is about `share`; no more than can be."""
    there = len(np.unique(groups))
    wanted = min(max(2, round(1 / share)), there)
    if wanted == there:
        return there
    return max(2, min(wanted, int(np.unique(label, return_counts=True)[1].max())))


def derived_seed(*parts: int) -> int:
    """A 32-bit seed from several numbers, unrelated for neighbouring ones; zeros at the end do not count."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
