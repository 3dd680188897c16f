"""What training and test of a fold have in common: speakers, sessions, texts and recordings."""

from dataclasses import dataclass

import pandas as pd

from dsl.settings import ChainSettings
from dsl.splits import parts_of

COLUMNS = ("speaker", "session", "text", "sound")  # of the utterances


@dataclass(frozen=True)
class Overlap:
    """Of the `values` of a column among a fold's test utterances, how many training or validation has, too (`shared`),
    and how many of the test utterances have one of those (`utterances`). `untold` utterances of the fold's parts have
    no value; they count in none of these."""

    shared: int
    values: int
    utterances: int
    untold: int


@dataclass(frozen=True)
class FoldParts:
    """The numbers of utterances of a fold's parts, and by column what training and validation have in common with test.

    A column that the corpus tells of no utterance is left out. `utterances` are all of the corpus: a list of folds may
    leave some unused.
    """

    fold: int
    utterances: int
    training: int
    validation: int
    test: int
    overlaps: dict[str, Overlap]

    @property
    def unused(self) -> int:
        """How many utterances are of no part."""
        return self.utterances - self.training - self.validation - self.test


def fold_parts(chain: ChainSettings, utterances: pd.DataFrame) -> FoldParts:
    """Those of the chain's fold.

    `utterances` has the columns label, speaker and text, in the order of ids, and may have session and sound, which is
    the same for recordings of the same samples. Raises ValueError where the fold cannot be made.
    """
    parts = parts_of(chain, utterances)
    learnt, tested = utterances[parts.training | parts.validation], utterances[parts.tested]
    overlaps = {}
    for column in COLUMNS:
        if column in utterances and (utterances[column] != "").any():
            known, asked = (part.loc[part[column] != "", column] for part in (learnt, tested))
            heard = asked[asked.isin(known)]
            untold = len(learnt) + len(tested) - len(known) - len(asked)
            overlaps[column] = Overlap(heard.nunique(), asked.nunique(), len(heard), untold)
    training, validation, test = (int(part.sum()) for part in (parts.training, parts.validation, parts.tested))
    return FoldParts(chain.fold, len(utterances), training, validation, test, overlaps)
