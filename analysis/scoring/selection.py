"""What a sweep is judged by: in each fold, the network that recognises most of the fold's validation utterances.

A fold's test utterances choose nothing there, neither themselves nor as validation utterances of other folds. Networks
of a leaky label source are chosen only where there is no other, and those with folds missing only where none has all of
them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pandas as pd

from analysis import columns
from analysis.identity import IN_EACH_FOLD, Network
from analysis.scoring.comparisons import is_complete


class MayLeak(Protocol):
    """What is chosen from: a network, or a network at a setting."""

    @property
    def is_leaky(self) -> bool:
        """Whether it saw labels of test utterances."""


Named = TypeVar("Named", bound=MayLeak)


@dataclass(frozen=True)
class Chosen:
    """The network that is chosen in each fold of each training seed, and what it decides on the fold's test utterances.

    `of_fold` is by training seed and fold. `decisions` are as from `results.decide`; each line tells its own network.
    """

    of_fold: Mapping[tuple[int, int], Network]
    decisions: pd.DataFrame

    @property
    def counts(self) -> list[tuple[Network, int]]:
        """In how many folds each network is chosen, the most frequent first."""
        return Counter(self.of_fold.values()).most_common()

    @property
    def network(self) -> Network:
        """What is chosen in all folds, or what stands for several."""
        (first, _), *others = self.counts
        return first._replace(label_source="", treatment=IN_EACH_FOLD) if others else first

    def under(self, network: Network) -> pd.DataFrame:
        """The decisions as if all were of one network, to be scored and compared as one."""
        treatment = network.treatment._asdict()
        return self.decisions.assign(**treatment, **{columns.LABEL_SOURCE: network.label_source})


def choose_by_fold(candidates: Mapping[Network, pd.DataFrame]) -> Chosen | None:
    """The best of `candidates`, networks of one corpus, split and kind of labels with their decisions, in each fold.

    Of equals the first is chosen. Folds that one of them lacks are left out, and show in `folds_done`; a network of
    which no validation rate is known is no candidate. None where nothing is left.
    """
    fold = [columns.SEED, columns.FOLD]
    rates = pd.DataFrame(
        {number: one.groupby(fold)[columns.VALIDATION_WA].first() for number, one in enumerate(candidates.values())}
    )
    rates = rates.dropna(axis="columns", how="all").dropna()
    if rates.empty:
        return None
    best = rates.idxmax(axis="columns")
    parts = []
    for number, one in enumerate(candidates.values()):
        parts.append(one[(best.reindex(pd.MultiIndex.from_frame(one[fold])) == number).to_numpy()])
    kinds = set.intersection(*(set(part[columns.DECISION]) for part in parts if len(part)))
    together = pd.concat(parts, ignore_index=True)
    done = together[columns.SEED].map(best.groupby(level=columns.SEED).size())
    together = together.assign(**{columns.FOLDS_DONE: done})[together[columns.DECISION].isin(kinds)]
    networks = list(candidates)
    return Chosen({key: networks[number] for key, number in zip(best.index, best, strict=True)}, together)


def eligible(known: Mapping[Named, pd.DataFrame]) -> dict[Named, pd.DataFrame]:
    """Those of the networks that may be chosen, of one corpus, split and kind of labels, with their decisions."""
    rated = {network: one for network, one in known.items() if one[columns.VALIDATION_WA].notna().any()}
    honest = {network: one for network, one in rated.items() if not network.is_leaky} or rated
    complete = {network: one for network, one in honest.items() if is_complete(one)}
    done = {network: one.groupby(columns.SEED)[columns.FOLD].nunique().sum() for network, one in honest.items()}
    return complete or {network: one for network, one in honest.items() if done[network] == max(done.values())}
