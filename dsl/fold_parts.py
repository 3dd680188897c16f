"""Which segments of a corpus a fold trains, validates and tests on."""

from dataclasses import dataclass, replace

import numpy as np

from data_prep.arrays import Bools, Floats, Ints
from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from data_prep.text import counted
from dsl.settings import ChainSettings
from dsl.splits import parts_of


@dataclass(frozen=True)
class FoldPart:
    """Which segments train, validate and test: `training` and `validation` indices, `test` bool [S]."""

    training: Ints
    validation: Ints
    test: Bools

    @classmethod
    def of(cls, corpus: SegmentCorpus, chain: ChainSettings, inner_fold: int | None = None) -> "FoldPart":
        """The parts of the chain's fold or, with `inner_fold`, of that part of the fold's training utterances.

        Raises ValueError where the utterances are too few for it.
        """
        dealt = corpus.dealt.of(chain, inner_fold) if corpus.dealt else None
        parts = dealt or parts_of(chain, corpus.utterances, inner_fold)
        training, validation, tested = (
            part[corpus.utterance] for part in (parts.training, parts.validation, parts.tested)
        )
        return cls(np.flatnonzero(training), np.flatnonzero(validation), tested)

    def without_dropped(self, targets: Floats) -> "FoldPart":
        """Training and validation without the segments whose targets [S, K] an update has set to zero.

        Raises UserError where less is left than a training needs: two segments, and one to validate on where there is
        a validation part.
        """
        training, validation = (part[targets[part].any(axis=1)] for part in (self.training, self.validation))
        if len(self.training) < 2:
            raise UserError(
                f"the training part has {counted(len(self.training), 'segment')}, and a training needs two; use more "
                "data, or a smaller training.every"
            )
        for name, left, needed in (("training", training, 2), ("validation", validation, min(1, len(self.validation)))):
            if len(left) < needed:
                raise UserError(
                    f"the update of labels leaves {counted(len(left), f'{name} segment')}; use another rule"
                )
        return replace(self, training=training, validation=validation)
