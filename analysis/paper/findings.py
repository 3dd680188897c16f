"""Whether decisions support or contradict what the paper says.

A claim is a list of pairs of networks of which the first is said to be better. Each pair is tested on the same
utterances, by a sign-flip test over them of the forest's decisions with all forest and training seeds.

- Supported: the first of every pair is better beyond chance. All must be, so nothing is adjusted (an
  intersection-union test): the claim's p is the largest of its pairs'.
- Contradicted: the second of any pair is. One is enough, so the claim's p is the smallest of those pairs', adjusted by
  Holm's method over all of its pairs.
- Not tested where every pair lacks a network, and undecided otherwise; networks that are missing or incomplete decide
  nothing.

A claim that is asked of several backbones is several findings on one corpus, split and label source, over which Holm's
method adjusts their p. Beside a verdict stands what it does not take into account: that it rests on one training seed,
and that a test over speakers finds nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.identity import (
    GIVEN,
    Condition,
    Network,
    Treatment,
    backbone_order,
    corpus_order,
    source_order,
    treatment_name,
)
from analysis.paper.claims import CLAIMS, Claim
from analysis.scoring.comparisons import Pair, compare
from analysis.scoring.differences import Difference
from analysis.scoring.formats import LEVEL, p_text
from analysis.scoring.setup import Setup
from analysis.scoring.statistics import holm
from dsl.labels import LEAKY_LABEL_SOURCES

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED = "supported", "contradicted", "undecided", "not tested"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED)
FOUND, INCOMPLETE, MISSING = "found", "incomplete", "missing"

UNKNOWN = Difference(np.nan, (np.nan, np.nan), (np.nan, np.nan), np.nan, np.nan, np.nan, complete=False, intervals="")


@dataclass(frozen=True)
class Evidence:
    """A pair and what is known of it: the difference in WA, UNKNOWN where a network is missing, and those in `other`
    metrics, which decide nothing.

    Its `p_holm` is adjusted over the pairs of the claim. The two are compared on so many training seeds and speakers.
    """

    first: Treatment
    second: Treatment
    difference: Difference = UNKNOWN
    seeds: int = 0
    speakers: int = 0
    other: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """FOUND, INCOMPLETE or MISSING; where not FOUND, there is no test."""
        if np.isnan(self.difference.value):
            return MISSING
        return FOUND if self.difference.complete else INCOMPLETE

    @property
    def direction(self) -> int:
        """1 where the first is better, -1 where the second is, and 0 where neither is or there is no test."""
        return 0 if np.isnan(self.difference.p) else int(np.sign(self.difference.value))


@dataclass(frozen=True)
class Finding:
    """A claim on one corpus, split and label source; `backbone` is empty for a claim across backbones.

    `p` is the claim's (NaN without a test), `p_holm` adjusted over the backbones that it is asked of. `setup` is how
    its networks were trained and tested, and `seeds` their numbers of training seeds.
    """

    claim: Claim
    corpus: str
    partial: bool
    split: str
    label_source: str
    setup: Setup
    seeds: tuple[int, ...]
    backbone: str
    evidence: tuple[Evidence, ...]
    p: float
    p_holm: float

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        if not self.found:
            return NOT_TESTED
        if not self.p_holm < LEVEL:
            return UNDECIDED
        return SUPPORTED if _all_better(self.evidence) else CONTRADICTED

    @property
    def decisive(self) -> tuple[Evidence, ...]:
        """The pairs that the verdict rests on."""
        if self.verdict == SUPPORTED:
            return self.evidence
        against = [each for each in self.evidence if each.direction < 0 and each.difference.p_holm < LEVEL]
        return tuple(against) if self.verdict == CONTRADICTED else ()

    @property
    def found(self) -> list[Evidence]:
        """The pairs that are not missing."""
        return [each for each in self.evidence if each.state != MISSING]

    @property
    def is_leaky(self) -> bool:
        """Whether its networks saw labels of test utterances."""
        return self.label_source in LEAKY_LABEL_SOURCES

    @property
    def training_seeds(self) -> int:
        """How many the verdict rests on or, where there is none, what is known; 0 where that is nothing."""
        return min((each.seeds for each in self.decisive or self.found), default=0)

    @property
    def p_speaker(self) -> float:
        """Of the test over speakers, for the same verdict; NaN where there is none."""
        p = [each.difference.p_speaker for each in self.decisive]
        return (max if self.verdict == SUPPORTED else min)(p, default=np.nan)

    @property
    def said(self) -> str:
        """The verdict, and whether it rests on one training seed."""
        return f"{self.verdict} (one seed)" if self.decisive and self.training_seeds == 1 else self.verdict

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said beside the verdict: that p was adjusted, and that speakers say otherwise."""
        remarks = [f"adjusted {p_text(self.p_holm)}"] if self.p_holm > self.p else []
        if self.p_speaker >= LEVEL:
            speakers = min(each.speakers for each in self.decisive)
            remarks.append(f"not beyond chance across speakers ({p_text(self.p_speaker)}, n = {speakers})")
        return tuple(remarks)

    @property
    def reason(self) -> str:
        """Why it is undecided or not tested; empty where it is neither."""
        if self.decisive:
            return ""
        reasons = [f"{state}: {', '.join(names)}" for state in (MISSING, INCOMPLETE) if (names := self._names(state))]
        return "; ".join(reasons) or "within chance"

    def _names(self, state: str) -> list[str]:
        return [
            f"{treatment_name(each.first, ' ')} against {treatment_name(each.second, ' ')}"
            for each in self.evidence
            if each.state == state
        ]


# Testing


def evaluate_claims(decisions: pd.DataFrame, claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """Every claim on every corpus, split, label source and backbone that there are decisions of.

    `decisions` is what `decide` returns. Permuted labels are left out: no claim is about them.
    """
    given = decisions[(decisions[columns.LABELS] == GIVEN) & (decisions[columns.DECISION] == columns.FOREST)]
    asked = [(claim, scope, backbone) for claim in claims for scope in _scopes(given) for backbone in scope.of(claim)]
    pairs = {pair for claim, scope, backbone in asked for pair in scope.pairs(claim, backbone)}
    lines = compare(given, sorted(pairs)).to_dict("records")
    known = {_key(line): line for line in lines}
    families: dict[tuple[Claim, _Scope], dict[str, tuple[Evidence, ...]]] = {}
    for claim, scope, backbone in asked:
        evidence = _evidence(scope.pairs(claim, backbone), known)
        families.setdefault((claim, scope), {})[backbone] = evidence
    return [finding for (claim, scope), family in families.items() for finding in _findings(claim, scope, family)]


@dataclass(frozen=True)
class _Scope:
    """A condition, and the backbones there."""

    condition: Condition
    partial: bool
    setup: Setup
    seeds: tuple[int, ...]
    backbones: tuple[str, ...]

    def of(self, claim: Claim) -> tuple[str, ...]:
        """The backbones of which a claim is tested by itself."""
        return ("",) if claim.across else self.backbones

    def pairs(self, claim: Claim, backbone: str) -> list[Pair]:
        pairs = claim.pairs(backbone)
        return [Pair(self.condition.network(first), self.condition.network(second)) for first, second in pairs]


def _scopes(decisions: pd.DataFrame) -> Iterator[_Scope]:
    for corpus in corpus_order(decisions[columns.CORPUS]):
        of_corpus = decisions[decisions[columns.CORPUS] == corpus]
        for split, lines in of_corpus.groupby(columns.SPLIT):
            backbones = tuple(backbone_order(set(lines[columns.BACKBONE])))
            setup, seeds = lines[columns.SETUP].iloc[0], tuple(sorted(set(map(int, lines[columns.SEEDS]))))
            for source in source_order(lines[columns.LABEL_SOURCE]):
                partial = bool(lines[columns.PARTIAL].iloc[0])
                yield _Scope(Condition(corpus, str(split), GIVEN, source), partial, setup, seeds, backbones)


def _key(line: dict[Any, Any]) -> Pair:
    """The pair that a line of `compare` is of."""
    second = line | {name: line[columns.SECOND + name] for name in columns.NETWORK}
    return Pair(Network.of(line), Network.of(second))


def _evidence(pairs: Sequence[Pair], known: Mapping[Pair, dict[Any, Any]]) -> tuple[Evidence, ...]:
    """The pairs of a claim; incomplete ones are not tested."""
    p = [line[columns.P] if (line := known.get(pair)) and line[columns.COMPLETE] else np.nan for pair in pairs]
    found = []
    for pair, own, adjusted in zip(pairs, p, holm(p), strict=True):
        evidence = Evidence(pair.first.treatment, pair.second.treatment)
        if line := known.get(pair):
            difference = Difference.of(line, "WA")
            p_speaker = np.nan if np.isnan(own) else difference.p_speaker
            evidence = replace(
                evidence,
                difference=replace(difference, p=own, p_holm=float(adjusted), p_speaker=p_speaker),
                seeds=line[columns.SHARED_SEEDS],
                speakers=line[columns.SPEAKERS],
                other={metric: Difference.of(line, metric) for metric in columns.METRICS if metric != "WA"},
            )
        found.append(evidence)
    return tuple(found)


def _all_better(evidence: Sequence[Evidence]) -> bool:
    """Whether the first of every pair is, by chance or beyond it."""
    return all(each.direction > 0 for each in evidence)


def _p(evidence: Sequence[Evidence]) -> float:
    """Of a claim: of all its pairs where the first of each is better, of any pair where the second is."""
    if _all_better(evidence):
        return max(each.difference.p for each in evidence)
    return min((each.difference.p_holm for each in evidence if each.direction < 0), default=np.nan)


def _findings(claim: Claim, scope: _Scope, family: Mapping[str, tuple[Evidence, ...]]) -> Iterator[Finding]:
    """The findings of a family of tests: a claim on one corpus, split and label source, with all its backbones."""
    p = [_p(evidence) for evidence in family.values()]
    for (backbone, evidence), own, adjusted in zip(family.items(), p, holm(p), strict=True):
        corpus, split, _, source, _ = scope.condition
        about = corpus, scope.partial, split, source, scope.setup, scope.seeds
        yield Finding(claim, *about, backbone, evidence, own, float(adjusted))
