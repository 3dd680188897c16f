"""Parts of folds that a launch makes once, for the trials that it hands them to."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data_prep.arrays import Bools
from dsl.labels import labels_of
from dsl.settings import ChainSettings
from dsl.splits import Parts, parts_of


@dataclass(frozen=True)
class Dealt:
    """Parts of folds that were made before: few objects, as each trial reads them all. `row` has the row of each fold
    in `parts` bool [n, 3, U]: which utterances train, validate and are tested."""

    row: dict[str, int]
    parts: Bools

    def of(self, chain: ChainSettings, inner_fold: int | None = None) -> Parts | None:
        """The parts of the chain's fold, or of an inner one; None where they are not among these."""
        row = self.row.get(dealing_of(chain, inner_fold))
        return None if row is None else Parts(*self.parts[row])


def dealing_of(chain: ChainSettings, inner_fold: int | None = None) -> str:
    """All that the parts of the chain's fold, or of an inner one, depend on."""
    inner = () if inner_fold is None else (chain.inner_folds, inner_fold)
    share = chain.training.validation_share, chain.training.validation_by
    split = chain.corpus, chain.split, chain.listed, chain.folds
    return repr((*split, chain.fold, chain.seed, chain.labels, *share, *inner))


def deal(utterances: pd.DataFrame, asked: Iterable[tuple[ChainSettings, int | None]]) -> Dealt:
    """The parts of these folds of one corpus, to be handed to trainings in other processes: they need no scikit-learn
    then, and their folds are the same whichever version of it a machine has.

    `utterances` as for `parts_of`, with the corpus's own labels. What cannot be made is left to the training to tell.
    """
    row: dict[str, int] = {}
    rows = []
    for dealing, (chain, inner) in {dealing_of(*one): one for one in asked}.items():
        with suppress(ValueError):
            label = labels_of(utterances, chain.labels, chain.seed)
            parts = parts_of(chain, utterances.assign(label=label), inner)
            rows.append((parts.training, parts.validation, parts.tested))
            row[dealing] = len(row)
    return Dealt(row, np.array(rows, bool))
