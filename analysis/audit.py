"""The null-label test: with labels that have nothing to do with the speech, nothing can be recognised above chance.

Whatever is, leaks: labels of test utterances have reached what was tested on them. UA is tested, because its chance is
1 / K whatever a network prefers to say. The test is by permutation: labels are dealt out anew to the decisions.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.statistics import holm, rate_intervals
from dsl.labels import LEAKY_LABEL_SOURCES

PERMUTATIONS = 10_000
SIGNIFICANCE = 0.05
ABOVE_CHANCE, WITHIN_CHANCE, INCOMPLETE = "above chance: leaks", "within chance", "incomplete folds"


@dataclass(frozen=True)
class Finding:
    """How a network does on permuted labels by one kind of decision. Rates are in percent.

    `p` is the one-sided permutation test's, `p_holm` adjusted for all findings of an audit. `found_from` is the UA
    that 95% of permutations stay below.
    """

    corpus: str
    backbone: str
    split: str
    label_source: str
    rule: str
    alpha: str
    iteration: int
    decision: str
    folds_done: int
    folds: int
    ua: float
    low: float
    high: float
    chance: float
    found_from: float
    p: float
    p_holm: float = np.nan

    @property
    def verdict(self) -> str:
        if self.folds_done < self.folds:
            return INCOMPLETE
        return ABOVE_CHANCE if self.p_holm < SIGNIFICANCE else WITHIN_CHANCE

    @property
    def unexpected(self) -> bool:
        """Whether a label source is above chance that must not be."""
        return self.verdict == ABOVE_CHANCE and self.label_source not in LEAKY_LABEL_SOURCES

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict, "leaky_source": self.label_source in LEAKY_LABEL_SOURCES}


def audit(decisions: pd.DataFrame) -> list[Finding]:
    """A finding for every network and kind of decision in `decisions` (`results.decide`), of permuted labels only.

    p values are adjusted by Holm's method over all complete findings.
    """
    permuted = decisions[decisions[columns.LABELS] == "permuted"]
    identity = [*columns.NETWORK_IDENTITY, columns.DECISION]
    found = [_finding(group) for _, group in permuted.groupby(identity, dropna=False, sort=False)]
    complete = [one for one in found if one.verdict != INCOMPLETE]
    adjusted = dict(zip(map(id, complete), holm([one.p for one in complete]), strict=True))
    return [Finding(**{**asdict(one), "p_holm": float(adjusted.get(id(one), np.nan))}) for one in found]


def permutation_test(
    label: Sequence[np.ndarray], predicted: Sequence[np.ndarray], permutations: int = PERMUTATIONS, seed: int = 0
) -> tuple[float, np.ndarray]:
    """UA, and what it comes to where labels are dealt out anew: a fraction, and float64 [permutations].

    There is an entry for each training seed: `label` [U] and `predicted` [R, U], whose rates are averaged over all.
    """
    rng = np.random.default_rng(seed)
    observed, null = [], []
    for own, decided in zip(label, predicted, strict=True):
        classes, coded, counts = np.unique(own, return_inverse=True, return_counts=True)
        weight = 1 / (len(classes) * counts)  # of an utterance of each class in UA
        dealt = rng.permuted(np.tile(coded, (permutations, 1)), axis=1)
        said = np.where(np.isin(decided, classes), np.searchsorted(classes, decided), -1)
        observed.append(np.mean([(weight[coded] * (coded == row)).sum() for row in said]))
        null.append(np.mean([(weight[dealt] * (dealt == row)).sum(axis=1) for row in said], axis=0))
    return float(np.mean(observed)), np.mean(null, axis=0)


def _finding(group: pd.DataFrame) -> Finding:
    """A network by one kind of decision; `group` has a line for each training seed, forest seed and utterance."""
    label, predicted = [], []
    for _, seed in group.groupby(columns.SEED):
        by_utterance = seed.pivot(index=columns.FOREST_SEED, columns=columns.UTTERANCE, values=columns.PREDICTED)
        known = seed.drop_duplicates(columns.UTTERANCE).set_index(columns.UTTERANCE)[columns.LABEL]
        label.append(known.reindex(by_utterance.columns).to_numpy())
        predicted.append(by_utterance.to_numpy())
    ua, null = permutation_test(label, predicted)
    intervals = [rate_intervals(own, decided).ua for own, decided in zip(label, predicted, strict=True)]
    first = group.iloc[0]
    per_seed = group.drop_duplicates(columns.SEED)
    return Finding(
        **{name: first[name] for name in (*columns.NETWORK, columns.CORPUS, columns.SPLIT, columns.DECISION)},
        folds_done=int(per_seed[columns.FOLDS_DONE].sum()),
        folds=int(first[columns.FOLDS] * first[columns.SEEDS]),
        ua=100 * ua,
        low=100 * float(np.mean([each.low for each in intervals])),
        high=100 * float(np.mean([each.high for each in intervals])),
        chance=100 / len(np.unique(label[0])),
        found_from=100 * float(np.quantile(null, 0.95)),
        p=float((1 + (null >= ua - 1e-12).sum()) / (1 + len(null))),
    )
