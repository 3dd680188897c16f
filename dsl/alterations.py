"""A corpus in which the utterances that a fold tests have other labels, or another sound.

A network must know nothing of the utterances it is tested on. Trainings are the same to the last bit however often they
are repeated, so that this can be seen rather than estimated: let the labels or the sound of these utterances be others,
and the fold's networks must not change. Whatever changes has known them.
"""

from dataclasses import replace

import numpy as np

from data_prep.shards import SegmentCorpus
from dsl.settings import ChainSettings
from dsl.splits import tested_by


def altered(corpus: SegmentCorpus, chain: ChainSettings) -> SegmentCorpus:
    """`corpus`, whose labels are those that the chain learns from, as `chain.altered` says; as it is without that.

    Other labels are the first class for all of them, and the second for those that were of the first: no label stays,
    and no class's share. Other sound is their Mel bands in reverse order and louder, by 1 in the logarithm of power:
    that changes the mean and deviation of each band, and those of all bands together. (`Alteration.version` 1 was not
    louder.)
    """
    alteration = chain.altered
    if alteration is None:
        return corpus
    tested = tested_by(replace(chain, fold=alteration.fold), corpus.utterances)
    if alteration.what == "labels":
        label = corpus.utterances["label"].to_numpy()
        others = np.where(tested, label == 0, label)
        return replace(corpus, utterances=corpus.utterances.assign(label=others))
    frames = corpus.frames.copy()
    own = corpus.start[tested[corpus.utterance]]
    rows = np.unique(own[:, None] + np.arange(corpus.segment_frames))
    frames[rows] = frames[rows, ::-1] + (alteration.version > 1)
    return replace(corpus, frames=frames)
