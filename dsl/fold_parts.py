"""What of a corpus a fold's training learns from, validates on and is tested on, and what is measured there."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
import torch

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from data_prep.text import counted
from dsl.alterations import altered
from dsl.labels import labels_of
from dsl.segments import Segments
from dsl.settings import ChainSettings
from dsl.splits import parts_of


class SegmentViews:
    """A corpus where it is needed: in memory, with the labels that a chain learns from, and once on the device."""

    def __init__(self, corpus: SegmentCorpus, device: torch.device) -> None:
        self._corpus = corpus
        self._device = device
        self._labelled: dict[Hashable, SegmentCorpus] = {}
        self._on_device: list[tuple[np.ndarray, Segments]] = []

    def labelled(self, chain: ChainSettings) -> SegmentCorpus:
        """The corpus by which parts are made: with the chain's labels, and nothing altered."""
        which = chain.labels, chain.seed
        if which not in self._labelled:
            label = labels_of(self._corpus.utterances, *which)
            self._labelled[which] = replace(self._corpus, utterances=self._corpus.utterances.assign(label=label))
        return self._labelled[which]

    def learnt(self, chain: ChainSettings) -> SegmentCorpus:
        """The corpus that the chain learns from."""
        if chain.altered is None:
            return self.labelled(chain)
        which = chain.labels, chain.seed, chain.split, chain.folds, chain.altered
        if which not in self._labelled:
            self._labelled[which] = altered(self.labelled(chain), chain)
        return self._labelled[which]

    def segments(self, corpus: SegmentCorpus, mean: np.ndarray, deviation: np.ndarray) -> Segments:
        """The segments of `corpus` on the device, standardised by these; all that ask for it share the frames."""
        found = next((there for frames, there in self._on_device if frames is corpus.frames), None)
        if found is None:
            found = Segments(corpus, mean, deviation, self._device)
            self._on_device.append((corpus.frames, found))
        return found.standardised_by(mean, deviation)


@dataclass(frozen=True)
class FoldPart:
    """Which segments train, validate and test: `training` and `validation` indices, `test` bool [S]."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, corpus: SegmentCorpus, chain: ChainSettings, inner_fold: int | None = None) -> "FoldPart":
        """The parts of the chain's fold or, with `inner_fold`, of that part of the fold's training utterances.

        Raises ValueError where the utterances are too few for it.
        """
        parts = parts_of(chain, corpus.utterances, inner_fold)
        training, validation, tested = (
            part[corpus.utterance] for part in (parts.training, parts.validation, parts.tested)
        )
        return cls(np.flatnonzero(training), np.flatnonzero(validation), tested)

    def without_dropped(self, targets: np.ndarray) -> "FoldPart":
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


def mean_pooled_wa(corpus: SegmentCorpus, q: np.ndarray, index: np.ndarray) -> float | None:
    """The share of the utterances of segments `index` whose label is the class of the highest mean q; None of none."""
    if not len(index):
        return None
    asked, position = np.unique(corpus.utterance[index], return_inverse=True)
    sums = np.zeros((len(asked), q.shape[1]))
    np.add.at(sums, position, q[index])
    return float((sums.argmax(axis=1) == corpus.utterances["label"].to_numpy()[asked]).mean())


def targets_right(corpus: SegmentCorpus, targets: np.ndarray, index: np.ndarray) -> float | None:
    """The share of segments `index` whose most likely class by `targets` is the true one."""
    if corpus.true_label is None:
        return None
    return float((targets[index].argmax(axis=1) == corpus.true_label[index]).mean())
