"""Whether mean pooling is right as often as it is sure: expected calibration error, and reliability by confidence.

The confidence of a decision by mean pooling is the mean probability of the class that it decides for, over the
utterance's segments. It is calibrated where, of the decisions with confidence c, a share c is right. The expected
calibration error (ECE) is the mean distance of the two over bins of confidence, weighted by the decisions in each (Guo
et al., "On Calibration of Modern Neural Networks", ICML 2017): 15 bins of equal width, or, as the adaptive one, 15 bins
with as many decisions each (Nguyen and O'Connor, EMNLP 2015). Forests have no confidence here: they say a class.

Few decisions make an ECE above zero even of a calibrated network, so what chance alone gives is computed, too.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis import columns
from analysis.scoring.cores import on_all_cores
from analysis.scoring.scores import pooled_folds

BINS = 15
EDGES = np.linspace(0, 1, BINS + 1)  # of bins of equal width, or the shares of decisions below those of equal number
DRAWS = 1000  # of decisions that would be calibrated
EQUAL_WIDTH, EQUAL_NUMBER = "uniform", "quantile"  # as scikit-learn's calibration_curve calls them


def reliability(confidence: ArrayLike, right: ArrayLike, strategy: str = EQUAL_WIDTH) -> pd.DataFrame:
    """How often decisions of each bin of confidence are right; columns `columns.BIN_COLUMNS`, a line a bin.

    `confidence` [N] is in [0, 1], and `right` [N] says which decisions are. Bins exclude their lower bound and include
    the upper one; they are of equal width, or by EQUAL_NUMBER of as many decisions each as ties allow. Rates are those
    of scikit-learn's `calibration_curve`, which leaves empty bins out. Raises ValueError where nothing is decided, or
    shapes differ.
    """
    sure, correct = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if sure.shape != correct.shape or sure.ndim != 1 or not sure.size:
        raise ValueError(f"confidence: shape {sure.shape}, right: {correct.shape}; expected [N] of both, N at least 1")
    edges = EDGES if strategy == EQUAL_WIDTH else np.percentile(sure, 100 * EDGES)
    place = np.searchsorted(edges[1:-1], sure)
    number = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean, share = (np.bincount(place, values, BINS) / number for values in (sure, correct))
    bounds = {columns.BIN_LOW: edges[:-1], columns.BIN_HIGH: edges[1:]}
    return pd.DataFrame({**bounds, columns.DECISIONS: number, columns.CONFIDENCE: mean, columns.RIGHT: share})


def calibration_error(confidence: ArrayLike, right: ArrayLike, strategy: str = EQUAL_WIDTH) -> float:
    """The expected calibration error, a fraction: sum over bins of n / N |share right - mean confidence|.

    As in `reliability`.
    """
    found = reliability(confidence, right, strategy).dropna()
    gap = (found[columns.RIGHT] - found[columns.CONFIDENCE]).abs()
    return float((gap * found[columns.DECISIONS]).sum() / found[columns.DECISIONS].sum())


def error_if_calibrated(confidence: ArrayLike) -> float:
    """The mean expected calibration error of decisions of which each is right with the chance that `confidence` [N]
    says: what remains of a network that is calibrated, because decisions are few."""
    sure = np.asarray(confidence, dtype=np.float64)
    place = np.searchsorted(EDGES[1:-1], sure)
    drawn = np.random.default_rng(0).random((DRAWS, len(sure))) < sure
    gaps = (drawn - sure) @ np.eye(BINS)[place]  # of each bin, times its decisions
    return float(np.abs(gaps).sum(axis=1).mean() / len(sure))


def sure_decisions(decisions: pd.DataFrame) -> pd.DataFrame:
    """The decisions by mean pooling whose confidence is known: all, but those that were exported before it was kept."""
    pooled = decisions[columns.DECISION] == columns.MEAN_POOLING
    return decisions[pooled & decisions[columns.CONFIDENCE].notna()]


def calibration(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each network whose confidences are known: how well its decisions by mean pooling are calibrated.

    `decisions` is what `decide` returns; the columns are `columns.CALIBRATION_COLUMNS`, in percent and points. An ECE
    is of one training seed, and a network's is the mean over its seeds.
    """
    identity = list(columns.NETWORK_IDENTITY)
    groups = list(sure_decisions(decisions).groupby(identity, dropna=False, sort=False))
    found = on_all_cores(_calibration_of, [group for _, group in groups])
    rows = [
        dict(zip(identity, key, strict=True)) | {columns.SETUP: group[columns.SETUP].iloc[0]} | of_network
        for (key, group), of_network in zip(groups, found, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(columns.CALIBRATION_COLUMNS))


def bins_of(decisions: pd.DataFrame) -> pd.DataFrame:
    """`reliability` of the decisions of one network whose confidence is known, those of all training seeds together.

    The numbers of decisions are means over training seeds.
    """
    found = reliability(decisions[columns.CONFIDENCE], right_of(decisions))
    return found.assign(**{columns.DECISIONS: found[columns.DECISIONS] / decisions[columns.SEED].nunique()})


def right_of(decisions: pd.DataFrame) -> "pd.Series[bool]":
    """Which decisions are right."""
    return decisions[columns.LABEL] == decisions[columns.PREDICTED]


def _calibration_of(group: pd.DataFrame) -> dict[str, Any]:
    of_seeds = []
    for _, own in group.groupby(columns.SEED):
        sure, right = own[columns.CONFIDENCE].to_numpy(), right_of(own).to_numpy()
        rates = right.mean(), sure.mean(), calibration_error(sure, right)
        of_seeds.append((*rates, calibration_error(sure, right, strategy=EQUAL_NUMBER), error_if_calibrated(sure)))
    names = [columns.WA, columns.CONFIDENCE, columns.ECE, columns.ECE_ADAPTIVE, columns.ECE_IF_CALIBRATED]
    by_seed = 100 * pd.DataFrame(of_seeds, columns=names)
    return {
        **pooled_folds(group),
        columns.UTTERANCES: group[columns.UTTERANCE].nunique(),
        **by_seed.mean(),
        columns.ECE_SD: by_seed[columns.ECE].std(),
    }
