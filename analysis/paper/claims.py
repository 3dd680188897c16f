"""What the paper says, as statements that decisions can support or contradict.

A claim is a list of pairs of networks of which the first is said to be better. Each pair is tested on the same
utterances by McNemar's exact test of the forest's majority decision over all forest and training seeds.

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

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.paper.layouts import BACKBONE_NAMES, BEST_ALPHA, PAPER_ALPHAS, Treatment, backbone_name, paper_treatment
from analysis.paper.setup import Setup
from analysis.scoring.comparisons import Network, Pair, compare
from analysis.scoring.differences import Difference, difference_text, speaker_text
from analysis.scoring.formats import LEVEL, p_text
from analysis.scoring.statistics import holm
from analysis.tables.listings import chain_name
from analysis.tables.paper_tables import PAPER_BACKBONE, corpus_name, paper_order, source_name, source_order
from dsl.labels import BASELINE, LEAKY_LABEL_SOURCES

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED = "supported", "contradicted", "undecided", "not tested"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED)
FOUND, INCOMPLETE, MISSING = "found", "incomplete", "missing"

UNKNOWN = Difference(np.nan, (np.nan, np.nan), (np.nan, np.nan), np.nan, np.nan, np.nan, complete=False)

Better = tuple[Treatment, Treatment]  # the first is said to be better than the second


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, where it stands, and the pairs it comes to for a backbone.

    A claim `across` backbones is one for all of them: `pairs` is then called with an empty name.
    """

    name: str
    statement: str
    source: str
    pairs: Callable[[str], list[Better]]
    across: bool = False


@dataclass(frozen=True)
class Evidence:
    """A pair and what is known of it: the difference in WA, UNKNOWN where a network is missing.

    Its `p_holm` is adjusted over the pairs of the claim. `gained` is how many more utterances the majority of the first
    has right than that of the second, on so many training seeds and speakers.
    """

    first: Treatment
    second: Treatment
    difference: Difference = UNKNOWN
    gained: float = np.nan
    seeds: int = 0
    speakers: int = 0

    @property
    def state(self) -> str:
        """FOUND, INCOMPLETE or MISSING; where not FOUND, there is no test."""
        if np.isnan(self.difference.value):
            return MISSING
        return FOUND if self.difference.complete else INCOMPLETE

    @property
    def direction(self) -> int:
        """1 where the first is better, -1 where the second is, and 0 where neither is or there is no test.

        Where forests on average and their majority say opposite things, neither is.
        """
        if np.isnan(self.difference.p) or self.gained * self.difference.value < 0:
            return 0
        return int(np.sign(self.gained))


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
        if all(each.state == MISSING for each in self.evidence):
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
    def training_seeds(self) -> int:
        """How many the verdict rests on or, where there is none, what is known; 0 where that is nothing."""
        known = [each for each in self.evidence if each.state != MISSING]
        return min((each.seeds for each in self.decisive or known), default=0)

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
        remarks = [f"adjusted{p_text(self.p_holm)}"] if self.p_holm > self.p else []
        if self.p_speaker >= LEVEL:
            speakers = min(each.speakers for each in self.decisive)
            remarks.append(f"not beyond chance across speakers ({p_text(self.p_speaker).strip()}, n = {speakers})")
        return tuple(remarks)

    @property
    def reason(self) -> str:
        """Why it is undecided or not tested; empty where it is neither."""
        if self.decisive:
            return ""
        reasons = [f"{state}: {', '.join(names)}" for state in (MISSING, INCOMPLETE) if (names := self._names(state))]
        return "; ".join(reasons) or "within chance"

    def _names(self, state: str) -> list[str]:
        return [f"{_name(each.first)} against {_name(each.second)}" for each in self.evidence if each.state == state]


def _at(backbone: str, rule: str, alpha: str = "", iteration: int = 1) -> Treatment:
    return Treatment(backbone, rule, alpha, iteration)


def _none(backbone: str) -> Treatment:
    return _at(backbone, BASELINE, iteration=0)


def _wdsl(backbone: str) -> Treatment:
    return _at(backbone, "wdsl", BEST_ALPHA)


def _best_alpha(backbone: str) -> list[Better]:
    others = [paper_treatment(backbone, alpha) for alpha in PAPER_ALPHAS if alpha != BEST_ALPHA]
    return [(_wdsl(backbone), other) for other in others]


def _best_backbone(_: str) -> list[Better]:
    others = [name for name in BACKBONE_NAMES if name != PAPER_BACKBONE]
    return [(_at(PAPER_BACKBONE, "bdsl"), _at(other, "bdsl")) for other in others]


def _inverted_bottlenecks(_: str) -> list[Better]:
    light, heavy = ("mobilenetv2", "efficientnet_b0"), ("vgg19", "densenet22")
    return [(_at(one, "bdsl"), _at(other, "bdsl")) for one in light for other in heavy]


CLAIMS = (
    Claim(
        "bdsl_improves",
        "One round of DSL-BDSL improves on no DSL.",
        "Table II, §VIII-B (1)",
        lambda b: [(_at(b, "bdsl"), _none(b))],
    ),
    Claim(
        "second_round_falls",
        "A second round of DSL-BDSL falls below the first.",
        "Table II, §VIII-B (2)",
        lambda b: [(_at(b, "bdsl"), _at(b, "bdsl", iteration=2))],
    ),
    Claim(
        "best_backbone",
        "With DSL-BDSL, EfficientNet-B0 is better than every other backbone.",
        "Table II, §VIII-B (3)",
        _best_backbone,
        across=True,
    ),
    Claim(
        "inverted_bottlenecks",
        "With DSL-BDSL, MobileNetV2 and EfficientNet-B0 are better than VGG19 and DenseNet22.",
        "§VIII-B (3), of Emo-DB",
        _inverted_bottlenecks,
        across=True,
    ),
    Claim(
        "gsl_and_hdl_improve",
        "DSL-GSL and DSL-HDL each improve on no DSL.",
        "Table III, §VIII-C",
        lambda b: [(_at(b, "gsl"), _none(b)), (_at(b, "hdl"), _none(b))],
    ),
    Claim(
        "order_of_rules",
        "DSL-GSL is below DSL-HDL, and DSL-HDL below DSL-BDSL.",
        "Table III, §VIII-C",
        lambda b: [(_at(b, "hdl"), _at(b, "gsl")), (_at(b, "bdsl"), _at(b, "hdl"))],
    ),
    Claim(
        "label_keeps_second_round",
        "With the inherited label as part of the target, the second round no longer collapses: DSL-WDSL (α = 0.5) is "
        "above DSL-BDSL there.",
        "§VIII-D, Figure 6",
        lambda b: [(_at(b, "wdsl", "0.5", 2), _at(b, "bdsl", iteration=2))],
    ),
    Claim(
        "best_alpha",
        "α = 0.2 is better than every other α of DSL-WDSL, α = 0 (DSL-BDSL) and 1 (no DSL) among them.",
        "Table IV, §VIII-E",
        _best_alpha,
    ),
    Claim(
        "wdsl_improves",
        "DSL-WDSL (α = 0.2) improves on no DSL.",
        "Table V, §VIII-F (2)",
        lambda b: [(_wdsl(b), _none(b))],
    ),
    Claim(
        "dynamic_beats_static",
        "The dynamic methods DSL-BDSL, DSL-WDSL (α = 0.2) and DSL-HDL are better than the static DSL-GSL.",
        "Table V, §VIII-F (3)",
        lambda b: [(one, _at(b, "gsl")) for one in (_at(b, "bdsl"), _wdsl(b), _at(b, "hdl"))],
    ),
    Claim(
        "wdsl_beats_bdsl",
        "DSL-WDSL (α = 0.2) is better than DSL-BDSL.",
        "Table V, §VIII-F (4)",
        lambda b: [(_wdsl(b), _at(b, "bdsl"))],
    ),
)


# Testing


def evaluate_claims(decisions: pd.DataFrame, claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """Every claim on every corpus, split, label source and backbone that there are decisions of.

    `decisions` is what `decide` returns. Permuted labels are left out: no claim is about them.
    """
    given = decisions[(decisions[columns.LABELS] == "given") & (decisions[columns.DECISION] == columns.FOREST)]
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
    """A corpus, split and label source, and the backbones there."""

    corpus: str
    partial: bool
    split: str
    label_source: str
    setup: Setup
    seeds: tuple[int, ...]
    backbones: tuple[str, ...]

    def of(self, claim: Claim) -> tuple[str, ...]:
        """The backbones of which a claim is tested by itself."""
        return ("",) if claim.across else self.backbones

    def pairs(self, claim: Claim, backbone: str) -> list[Pair]:
        return [Pair(self._network(first), self._network(second)) for first, second in claim.pairs(backbone)]

    def _network(self, treatment: Treatment) -> Network:
        source = self.label_source if treatment.iteration else ""
        return Network(self.corpus, self.split, "given", source, treatment)


def _scopes(decisions: pd.DataFrame) -> Iterator[_Scope]:
    for corpus in paper_order(decisions[columns.CORPUS]):
        of_corpus = decisions[decisions[columns.CORPUS] == corpus]
        for split, lines in of_corpus.groupby(columns.SPLIT):
            found = set(lines[columns.BACKBONE])
            backbones = [*(name for name in BACKBONE_NAMES if name in found), *sorted(found - set(BACKBONE_NAMES))]
            setup, seeds = lines[columns.SETUP].iloc[0], tuple(sorted(set(map(int, lines[columns.SEEDS]))))
            for source in source_order(lines[columns.LABEL_SOURCE]):
                partial = bool(lines[columns.PARTIAL].iloc[0])
                yield _Scope(corpus, partial, split, source, setup, seeds, tuple(backbones))


def _key(line: dict[Any, Any]) -> Pair:
    """The pair that a line of `compare` is of."""
    about = line[columns.CORPUS], line[columns.SPLIT], line[columns.LABELS]
    second = {name: line[columns.SECOND + name] for name in columns.NETWORK}
    return Pair(
        Network(*about, line[columns.LABEL_SOURCE], Treatment.of(line)),
        Network(*about, second[columns.LABEL_SOURCE], Treatment.of(second)),
    )


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
                gained=line[columns.ONLY_FIRST] - line[columns.ONLY_SECOND],
                seeds=line[columns.SHARED_SEEDS],
                speakers=line[columns.SPEAKERS],
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
        about = scope.corpus, scope.partial, scope.split, scope.label_source, scope.setup, scope.seeds
        yield Finding(claim, *about, backbone, evidence, own, float(adjusted))


# Showing


def claims_text(findings: Sequence[Finding]) -> str:
    """Each claim, then a line for each finding and one for each of its pairs; last, what the networks were."""
    parts = []
    for claim in dict.fromkeys(finding.claim for finding in findings):
        mine = [finding for finding in findings if finding.claim == claim]
        width = max(len(where_of(finding)) for finding in mine)
        lines = [f"{claim.statement} ({claim.source})"]
        for finding in mine:
            because = f" ({finding.reason})" if finding.reason else ""
            lines.append(f"  {where_of(finding):{width}}  {', '.join([finding.said + because, *finding.remarks])}")
            lines += [f"    {evidence_text(each)}" for each in finding.evidence if each.state != MISSING]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, "\n".join([*setup_lines(findings), EXPLANATION])])


def setup_lines(findings: Sequence[Finding]) -> list[str]:
    """How the networks of each corpus and split were trained and tested, with the paper's setting where it differs."""
    return list(dict.fromkeys(f"{corpus_name(one.corpus)}: {one.setup.text(one.seeds, True)}." for one in findings))


EXPLANATION = f"""\
Differences are in points of WA by random forest, [95% paired bootstrap interval over utterances], with the pair's own
p of McNemar's exact test; by speaker: the interval over whole speakers, and p of a sign-flip test over them.
A claim is supported where the first of every pair is better with p below {LEVEL:g}, and contradicted where the second
of any pair is, with p adjusted by Holm's method over the claim's pairs. A claim's p is adjusted over the backbones that
it is asked of, too. Tables show the same test's p against the baseline, adjusted for all networks of a label source.
Speakers decide no verdict: with n of them p is 2 / 2^n at least, so with five or fewer never below {LEVEL:g}.\
"""


def claims_json(findings: Sequence[Finding]) -> str:
    """An object `{level, claims: [{claim, statement, source, findings: [...]}]}`; what is not known is null.

    A finding's `p` is the claim's, `p_holm` adjusted over its backbones; those of its comparisons are the pair's own,
    and adjusted over the pairs.
    """
    claims = []
    for claim in dict.fromkeys(finding.claim for finding in findings):
        found = [_finding_record(finding) for finding in findings if finding.claim == claim]
        about = {"claim": claim.name, "statement": claim.statement, "source": claim.source}
        claims.append({**about, "findings": found})
    return json.dumps({"level": LEVEL, "claims": claims}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def where_of(finding: Finding) -> str:
    """What a finding is of: `Emo-DB, DenseNet22, in_fold, stratified split`."""
    parts = [corpus_name(finding.corpus) + (" (a part)" if finding.partial else "")]
    parts += [backbone_name(finding.backbone)] if finding.backbone else []
    parts += [source_name(finding.label_source)] if finding.label_source else []
    return ", ".join([*parts, f"{finding.split} split"])


def _name(treatment: Treatment) -> str:
    return f"{chain_name(treatment)} t = {treatment.iteration}"


def evidence_text(evidence: Evidence) -> str:
    """A pair of networks and their difference with intervals and p; adjusted where that may contradict the claim."""
    difference = evidence.difference
    against = evidence.direction < 0 and difference.p_holm != difference.p
    adjusted = f", adjusted{p_text(difference.p_holm)}" if against else ""
    values = f"{difference_text(difference, difference.p)}{adjusted}; by speaker {speaker_text(difference)}"
    return f"{_name(evidence.first)} − {_name(evidence.second)}: {values}"


def _finding_record(finding: Finding) -> dict[str, Any]:
    return {
        "corpus": finding.corpus,
        "partial": finding.partial,
        "split": finding.split,
        "label_source": finding.label_source,
        "leaky": finding.label_source in LEAKY_LABEL_SOURCES,
        "backbone": finding.backbone or None,
        "setup": finding.setup.text(finding.seeds),
        "departures": list(finding.setup.departures),
        "verdict": finding.verdict,
        "training_seeds": finding.training_seeds,
        **_rounded({"p": finding.p, "p_holm": finding.p_holm, "p_speaker": finding.p_speaker}),
        "reason": finding.reason or None,
        "comparisons": [_evidence_record(each) for each in finding.evidence],
    }


def _evidence_record(evidence: Evidence) -> dict[str, Any]:
    difference = evidence.difference
    values = {
        "difference": difference.value,
        "low": difference.interval[0],
        "high": difference.interval[1],
        "speaker_low": difference.by_speaker[0],
        "speaker_high": difference.by_speaker[1],
        "p": difference.p,
        "p_holm": difference.p_holm,
        "p_speaker": difference.p_speaker,
    }
    return {
        "better": evidence.first._asdict(),
        "worse": evidence.second._asdict(),
        "state": evidence.state,
        **_rounded(values),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(float(value), 6) for name, value in values.items()}
