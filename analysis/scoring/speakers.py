"""Rates on the utterances of each speaker, and the recall of each class by each speaker.

A speaker has few utterances, of a class perhaps three. So rates have Wilson's interval for a share, which has a width
even where all or none are right. A rate over several seeds is their mean, with the interval of that share of the
speaker's utterances: seeds decide on the same utterances, and are no further evidence.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis import columns
from analysis.frames import checked
from analysis.scoring.scores import decision_arrays
from analysis.scoring.statistics import LEVEL, UNDECIDED
from data_prep.arrays import Floats


class OfSpeakers(NamedTuple):
    """Rates of S speakers as fractions, means over seeds, with the utterances that they are of.

    `speakers` [S] in order; `utterances`, `wa`, `ua` and `f1` are [S], `class_utterances` and `recall` [S, K]. A class
    that a speaker does not have has recall NaN, and counts in neither UA nor, where it is not decided, F1.
    """

    speakers: NDArray[Any]
    utterances: Floats
    wa: Floats
    ua: Floats
    f1: Floats
    class_utterances: Floats
    recall: Floats


def speaker_rates(label: ArrayLike, predicted: ArrayLike, speaker: ArrayLike, classes: int) -> OfSpeakers:
    """WA, UA, macro-F1 and the recall of each class by speaker.

    `label` [U] or [R, U] and `predicted` [R, U], with UNDECIDED where a row says nothing, hold classes below `classes`,
    `speaker` [U] who speaks. A speaker's rate is the mean over the rows that decide on them. Raises ValueError for
    shapes that do not fit.
    """
    predicted, speaker = np.atleast_2d(np.asarray(predicted)), np.asarray(speaker)
    label = np.broadcast_to(np.asarray(label), predicted.shape)
    if speaker.shape != predicted.shape[1:]:
        raise ValueError(f"speaker: shape {speaker.shape}, expected {predicted.shape[1:]}, one per utterance")
    names, member = np.unique(speaker, return_inverse=True)
    row, utterance = np.nonzero(label != UNDECIDED)
    counts = np.zeros((len(predicted), len(names), classes, classes))
    np.add.at(counts, (row, member[utterance], label[row, utterance], predicted[row, utterance]), 1)
    there, said, right = counts.sum(axis=3), counts.sum(axis=2), np.diagonal(counts, axis1=2, axis2=3)
    recall = _share(right, there)
    occurs = there.sum(axis=2) > 0  # [R, S]
    return OfSpeakers(
        names,
        np.bincount(member[np.unique(utterance)], minlength=len(names)).astype(np.float64),
        _mean(_share(right.sum(axis=2), there.sum(axis=2))),
        _mean(_share(np.nansum(recall, axis=2), (there > 0).sum(axis=2))),
        _mean(_share(np.nansum(_share(2 * right, there + said), axis=2), (there + said > 0).sum(axis=2))),
        there.sum(axis=0) / np.maximum(occurs.sum(axis=0), 1)[:, None],
        _mean(recall),
    )


def _share(part: Floats, whole: Floats | NDArray[np.int64]) -> Floats:
    """`part` / `whole`, NaN where there is nothing."""
    share: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return share


def _mean(rows: Floats) -> Floats:
    """The mean over the first axis of what is known; NaN where nothing is."""
    return _share(np.nansum(rows, axis=0), (~np.isnan(rows)).sum(axis=0))


def share_interval(share: ArrayLike, utterances: ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's score interval of shares of so many utterances each: low and high, NaN where there are none.

    Both are arrays of one shape. A share may be a mean over seeds.
    """
    from statsmodels.stats.proportion import proportion_confint

    share, number = np.asarray(share, dtype=np.float64), np.asarray(utterances, dtype=np.float64)
    asked = np.maximum(number, 1)
    low, high = proportion_confint(np.nan_to_num(share) * asked, asked, 1 - LEVEL, method="wilson")
    known = (number > 0) & ~np.isnan(share)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def score_speakers(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each network, decision and speaker: rates in percent, with how many utterances they are of.

    `decisions` is what `decide` returns; the columns are `columns.SPEAKER_COLUMNS`. Speakers come in order of their
    names.
    """
    checked(decisions, "decisions", (*columns.CELL_COLUMNS, columns.SETUP, *columns.DECIDED_COLUMNS))
    identity = [*columns.NETWORK_IDENTITY, columns.DECISION]
    frames = []
    for key, group in decisions.groupby(identity, dropna=False, sort=False):
        about: dict[str, Any] = dict(zip(identity, key, strict=True))
        frames.append(_of_network(group).assign(**about))
    made = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(columns.SPEAKER_COLUMNS))
    return made[list(columns.SPEAKER_COLUMNS)]


def _of_network(decisions: pd.DataFrame) -> pd.DataFrame:
    """The lines of one network by one decision, without what identifies it."""
    label, predicted, speaker = decision_arrays(decisions)
    found = speaker_rates(label, predicted, speaker, int(decisions[columns.CLASSES].iloc[0]))
    wa, of_class = (share_interval(found.wa, found.utterances), share_interval(found.recall, found.class_utterances))
    low, high = columns.RATES["WA"].interval
    setup = decisions[columns.SETUP].iloc[0]
    return pd.DataFrame(
        {
            columns.SETUP: [setup] * len(found.speakers),
            columns.SPEAKER: found.speakers,
            columns.UTTERANCES: found.utterances.astype(np.int64),
            **{columns.WA: 100 * found.wa, low: 100 * wa[0], high: 100 * wa[1]},
            **{columns.UA: 100 * found.ua, columns.F1: 100 * found.f1},
            columns.CLASS_UTTERANCES: found.class_utterances.tolist(),
            columns.RECALL: (100 * found.recall).tolist(),
            columns.RECALL_LOW: (100 * of_class[0]).tolist(),
            columns.RECALL_HIGH: (100 * of_class[1]).tolist(),
        }
    )
