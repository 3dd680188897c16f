"""What the paper says, as statements that decisions can support or contradict.

A claim is a list of pairs of networks of which the first is said to be better. Each pair is tested on the same
utterances by McNemar's exact test of the forest's majority decision, adjusted by Holm's method over all of a claim's
pairs on one corpus, split and label source. A claim is supported where the first of every pair is better beyond chance,
contradicted where the second of any is, and undecided otherwise; networks that are missing or incomplete decide
nothing.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.comparisons import Network, Pair, compare
from analysis.formats import interval_text, p_text, signed
from analysis.layouts import BACKBONE_NAMES, BEST_ALPHA, PAPER_ALPHAS, Treatment, backbone_name, paper_treatment
from analysis.listings import chain_name
from analysis.setup import Setup
from analysis.statistics import holm
from analysis.tables import PAPER_BACKBONE, corpus_name, paper_order, source_name, source_order
from dsl.labels import BASELINE, LEAKY_LABEL_SOURCES

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
FOUND, INCOMPLETE, MISSING = "found", "incomplete", "missing"
LEVEL = 0.05

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
    """A pair and what is known of it: the difference in WA in points with its 95% interval, and Holm-adjusted p.

    `gained` is how many more utterances the majority of the first has right than that of the second.
    """

    first: Treatment
    second: Treatment
    state: str  # FOUND, INCOMPLETE or MISSING; where not FOUND, there is no p
    difference: float = np.nan
    low: float = np.nan
    high: float = np.nan
    gained: float = np.nan
    p: float = np.nan

    @property
    def verdict(self) -> str:
        if self.state != FOUND or np.isnan(self.p) or self.p >= LEVEL:
            return UNDECIDED
        if self.gained * self.difference < 0:  # forests on average and their majority say opposite things
            return UNDECIDED
        return SUPPORTED if self.gained > 0 else CONTRADICTED


@dataclass(frozen=True)
class Finding:
    """A claim on one corpus, split and label source; `backbone` is empty for a claim across backbones.

    `setup` is how its networks were trained and tested, and `seeds` their numbers of training seeds.
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

    @property
    def verdict(self) -> str:
        verdicts = {each.verdict for each in self.evidence}
        if CONTRADICTED in verdicts:
            return CONTRADICTED
        return SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED

    @property
    def reason(self) -> str:
        """Why it is undecided; empty where it is not."""
        if self.verdict != UNDECIDED:
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
    families: dict[tuple[Claim, _Scope], list[tuple[str, list[Evidence]]]] = {}
    for claim, scope, backbone in asked:
        evidence = [_evidence(pair, known.get(pair)) for pair in scope.pairs(claim, backbone)]
        families.setdefault((claim, scope), []).append((backbone, evidence))
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


def _evidence(pair: Pair, line: dict[Any, Any] | None) -> Evidence:
    """With p as it is, before it is adjusted."""
    first, second = pair.first.treatment, pair.second.treatment
    if line is None:
        return Evidence(first, second, MISSING)
    return Evidence(
        first,
        second,
        FOUND if line[columns.COMPLETE] else INCOMPLETE,
        line[columns.WA_DIFFERENCE],
        line[columns.WA_DIFFERENCE_LOW],
        line[columns.WA_DIFFERENCE_HIGH],
        line[columns.ONLY_FIRST] - line[columns.ONLY_SECOND],
        line[columns.P] if line[columns.COMPLETE] else np.nan,
    )


def _findings(claim: Claim, scope: _Scope, family: Sequence[tuple[str, list[Evidence]]]) -> Iterator[Finding]:
    """The findings of a family of tests: a claim on one corpus, split and label source, with all its backbones."""
    adjusted = iter(holm([each.p for _, evidence in family for each in evidence]))
    for backbone, evidence in family:
        tested = tuple(replace(each, p=float(next(adjusted))) for each in evidence)
        about = scope.corpus, scope.partial, scope.split, scope.label_source, scope.setup, scope.seeds
        yield Finding(claim, *about, backbone, tested)


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
            lines.append(f"  {where_of(finding):{width}}  {finding.verdict}{because}")
            lines += [f"    {evidence_text(each)}" for each in finding.evidence if each.state != MISSING]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, "\n".join([*setup_lines(findings), EXPLANATION])])


def setup_lines(findings: Sequence[Finding]) -> list[str]:
    """How the networks of each corpus and split were trained and tested, with the paper's setting where it differs."""
    return list(dict.fromkeys(f"{corpus_name(one.corpus)}: {one.setup.text(one.seeds, True)}." for one in findings))


EXPLANATION = (
    "Differences are in points of WA by random forest, [95% paired bootstrap interval over utterances], with p of\n"
    f"McNemar's exact test adjusted by Holm's method; below {LEVEL:g} a claim is supported or contradicted."
)


def claims_json(findings: Sequence[Finding]) -> str:
    """An object `{level, claims: [{claim, statement, source, findings: [...]}]}`; what is not known is null."""
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
    """A pair of networks and their difference with interval and p."""
    values = f"{signed(evidence.difference)}{interval_text(evidence.low, evidence.high)}{p_text(evidence.p)}"
    folds = " (incomplete)" if evidence.state == INCOMPLETE else ""
    return f"{_name(evidence.first)} − {_name(evidence.second)}: {values}{folds}"


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
        "reason": finding.reason or None,
        "comparisons": [_evidence_record(each) for each in finding.evidence],
    }


def _evidence_record(evidence: Evidence) -> dict[str, Any]:
    values = {"difference": evidence.difference, "low": evidence.low, "high": evidence.high, "p_holm": evidence.p}
    return {
        "better": evidence.first._asdict(),
        "worse": evidence.second._asdict(),
        "state": evidence.state,
        **{name: None if np.isnan(value) else round(float(value), 6) for name, value in values.items()},
    }
