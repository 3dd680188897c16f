"""Which setting and network of a grid is the best, by validation alone.

A candidate is a network at one setting of the grid. Candidates of one corpus, split and kind of labels are ranked by
the mean over folds and training seeds of their rate on the folds' validation utterances. Rates on test utterances stand
beside it and choose nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

import pandas as pd

from analysis import columns
from analysis.identity import Condition, Network, network_name, treatment_order
from analysis.scoring.comparisons import of_networks, one_decision
from analysis.scoring.scores import Score, ScoreKey, index_scores, score_networks
from analysis.scoring.selection import eligible
from sweep.planning.settings import Setting


@dataclass(frozen=True)
class Candidate:
    """A network at one setting: its WA on validation utterances in percent, the mean over folds and training seeds and
    the standard deviation over them (NaN where not known, or of one), and its `test` rates by metric, decided by
    `decision`."""

    setting: Setting
    network: Network
    validation: float
    spread: float
    decision: str
    test: Mapping[str, Score] = field(compare=False)
    line: Mapping[Any, Any] = field(compare=False, repr=False)  # of score_networks
    decisions: pd.DataFrame = field(compare=False, repr=False)

    @property
    def is_leaky(self) -> bool:
        """Whether the network saw labels of test utterances."""
        return self.network.is_leaky

    @property
    def score(self) -> Score:
        """WA on test utterances."""
        return self.test["WA"]

    @property
    def is_rated(self) -> bool:
        """Whether its rate on validation utterances is known in every fold that is done."""
        return not math.isnan(self.validation)

    @property
    def name(self) -> str:
        """`learning_rate 0.001: DenseNet22 bdsl, t = 1, in_fold`."""
        return ": ".join(filter(None, (self.setting.text, network_name(self.network))))


@dataclass(frozen=True)
class Ranking:
    """The candidates of one corpus, split and kind of labels: those that may be chosen, the best first, and the
    others. Nothing may be chosen where no rate on validation utterances is known."""

    condition: Condition
    ranked: tuple[Candidate, ...]
    others: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        """The first of those that may be chosen."""
        return self.ranked[0] if self.ranked else None


@dataclass(frozen=True)
class BySetting:
    """The decisions of each setting of a grid, in the order of settings; `shown` is the one that other results are of,
    and `why` says which of how many it is."""

    decisions: Mapping[Setting, pd.DataFrame]
    shown: Setting
    why: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that tell settings apart; none where there is one setting."""
        return tuple(dict.fromkeys(name for setting in self.decisions for name, _ in setting.values))

    @property
    def text(self) -> str:
        """`Setting: learning_rate 0.001 (the nearest to the paper's of 6).`, or nothing where there is one setting."""
        return f"Setting: {self.shown_text}." if self.fields else ""

    @property
    def shown_text(self) -> str:
        """The setting that is shown, and why that."""
        return f"{self.shown.text} ({self.why})"

    @cached_property
    def candidates(self) -> list[Candidate]:
        """What there is to choose from, in the order of settings, then of networks."""
        return candidates_of(self.decisions)


def candidates_of(decisions: Mapping[Setting, pd.DataFrame]) -> list[Candidate]:
    """Every network of every setting; `decisions` are what `decide` returns of each."""
    found = []
    for setting, own in decisions.items():
        known = of_networks(own)
        tested = pd.concat([one_decision(one)[1] for one in known.values()]) if known else own
        of_setting = [
            _candidate(setting, line, known[Network.of(line)]) for line in score_networks(tested).to_dict("records")
        ]
        found += sorted(of_setting, key=lambda one: _order(one.network))
    return found


def rankings(candidates: Sequence[Candidate]) -> list[Ranking]:
    """One for each corpus, split and kind of labels. Of equals the first of `candidates` is the better."""
    of_condition: dict[Condition, list[Candidate]] = {}
    for one in candidates:
        of_condition.setdefault(one.network.condition, []).append(one)
    return [_ranking(condition, own) for condition, own in of_condition.items()]


def _candidate(setting: Setting, line: Mapping[Any, Any], decisions: pd.DataFrame) -> Candidate:
    network, decision = Network.of(line), line[columns.DECISION]
    of_folds = decisions.drop_duplicates([columns.SEED, columns.FOLD])[columns.VALIDATION_WA]
    scores = index_scores(pd.DataFrame([line]))
    test = {metric: scores[ScoreKey(network.treatment, network.corpus, decision, metric)] for metric in columns.METRICS}
    # A sum that does not depend on the order of folds: equals are equal.
    return Candidate(setting, network, fmean(of_folds), float(of_folds.std()), decision, test, line, decisions)


def _order(network: Network) -> tuple[Any, ...]:
    """For sorting: by condition, iteration 0 first, then as everywhere, leaky label sources last."""
    corpus, split, labels, source, treatment = network
    return corpus, split, labels, network.is_leaky, treatment_order(treatment), source


def _ranking(condition: Condition, candidates: Sequence[Candidate]) -> Ranking:
    may_be = eligible({one: one.decisions for one in candidates if one.is_rated})
    ranked = sorted(may_be, key=lambda one: -one.validation)
    others = [one for one in candidates if one not in may_be]
    last = sorted(others, key=lambda one: (one.is_leaky, not one.is_rated, -one.validation if one.is_rated else 0))
    return Ranking(condition, tuple(ranked), tuple(last))
