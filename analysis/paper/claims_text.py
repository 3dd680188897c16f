"""The paper's claims beside what was found: as text, and as JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.identity import backbone_name, corpus_name, source_name, treatment_name
from analysis.paper.findings import Evidence, Finding
from analysis.scoring.differences import Difference, by_speaker_text, difference_text
from analysis.scoring.formats import LEVEL, p_text
from analysis.scoring.intervals import DEFAULT, KINDS, by_speaker_words
from sweep.planning.settings import Setting

ONE = Setting()  # of a grid that has one setting


def claims_text(findings: Sequence[Finding], all_metrics: bool = False) -> str:
    """Each claim, then a line for each finding and one for each of its pairs; last, what the networks were.

    With `all_metrics` each pair has another line, with the differences in UA and macro-F1.
    """
    return claims_text_by_setting({ONE: findings}, all_metrics)


def claims_text_by_setting(found: Mapping[Setting, Sequence[Finding]], all_metrics: bool = False) -> str:
    """The same of the settings of a grid, each under a heading of its own where there are several."""
    parts = [
        (f"# {setting.text}\n\n" if setting.values else "") + _claims_text(findings, all_metrics)
        for setting, findings in found.items()
    ]
    everything = [finding for findings in found.values() for finding in findings]
    parts[-1] += "\n" if ONE in found else "\n\n"
    return "\n\n".join(parts).lstrip("\n") + explanation(_intervals(everything) or DEFAULT)


def _claims_text(findings: Sequence[Finding], all_metrics: bool) -> str:
    parts = []
    for claim in dict.fromkeys(finding.claim for finding in findings):
        mine = [finding for finding in findings if finding.claim == claim]
        width = max(len(where_of(finding)) for finding in mine)
        lines = [f"{claim.statement} ({claim.passage})"]
        for finding in mine:
            because = f" ({finding.reason})" if finding.reason else ""
            lines.append(f"  {where_of(finding):{width}}  {', '.join([finding.said + because, *finding.remarks])}")
            for each in finding.found:
                lines.append(f"    {evidence_text(each)}")
                lines += [f"      {_other_text(each)}"] if each.other and all_metrics else []
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, "\n".join(setup_lines(findings))])


def setup_lines(findings: Sequence[Finding]) -> list[str]:
    """How the networks of each corpus and split were trained and tested, with the paper's setting where it differs."""
    return list(dict.fromkeys(f"{corpus_name(one.corpus)}: {one.setup.text(one.seeds, True)}." for one in findings))


def explanation(intervals: str) -> str:
    """What is to be known of verdicts and differences, whose intervals are of a kind, one of KINDS."""
    return f"""\
Differences are in points of WA by random forest, [{KINDS[intervals].words(paired=True)}], with the pair's own
p of a sign-flip test over utterances.
By speaker: {by_speaker_words(intervals)}p of a sign-flip test over speakers.
A claim is supported where the first of every pair is better with p below {LEVEL:g}, and contradicted where the second
of any pair is, with p adjusted by Holm's method over the claim's pairs. A claim's p is adjusted over the backbones that
it is asked of, too. Tables show the same test's p against the baseline, adjusted for all networks of a label source.
Speakers decide no verdict: with n of them p is 2 / 2^n at least, so with five or fewer never below {LEVEL:g}.\
"""


def _intervals(findings: Sequence[Finding]) -> str | None:
    """Of which kind the intervals of differences are, one of KINDS; None where there is none."""
    return next((each.difference.intervals for one in findings for each in one.found), None)


def claims_json(findings: Sequence[Finding]) -> str:
    """An object `{level, claims: [{claim, statement, source, findings: [...]}]}`; what is not known is null.

    A finding's `p` is the claim's, `p_holm` adjusted over its backbones; those of its comparisons are the pair's own,
    and adjusted over the pairs. Differences are in WA, those under `ua` and `f1` in UA and macro-F1.
    """
    return claims_json_by_setting({ONE: findings})


def claims_json_by_setting(found: Mapping[Setting, Sequence[Finding]]) -> str:
    """The same of the settings of a grid: each claim once for each setting, with the fields of that under `setting`
    where there are several."""
    claims = [
        {**record, "setting": setting.by_field} if setting.values else record
        for setting, findings in found.items()
        for record in _claim_records(findings)
    ]
    return json.dumps({"level": LEVEL, "claims": claims}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _claim_records(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    claims = []
    for claim in dict.fromkeys(finding.claim for finding in findings):
        found = [_finding_record(finding) for finding in findings if finding.claim == claim]
        about = {"claim": claim.name, "statement": claim.statement, "source": claim.passage}
        claims.append({**about, "findings": found})
    return claims


def where_of(finding: Finding) -> str:
    """What a finding is of: `Emo-DB, DenseNet22, in_fold, stratified split`."""
    parts = [corpus_name(finding.corpus) + (" (a part)" if finding.partial else "")]
    parts += [backbone_name(finding.backbone)] if finding.backbone else []
    parts += [source_name(finding.label_source)] if finding.label_source else []
    return ", ".join([*parts, f"{finding.split} split"])


def evidence_text(evidence: Evidence) -> str:
    """A pair of networks and their difference with intervals and p; adjusted where that may contradict the claim."""
    difference = evidence.difference
    against = evidence.direction < 0 and difference.p_holm != difference.p
    adjusted = f", adjusted {p_text(difference.p_holm)}" if against else ""
    values = f"{difference_text(difference, difference.p)}{adjusted}{by_speaker_text(difference)}"
    return f"{treatment_name(evidence.first, ' ')} − {treatment_name(evidence.second, ' ')}: {values}"


def _other_text(evidence: Evidence) -> str:
    """The differences of a pair in the metrics that decide nothing."""
    return "; ".join(
        f"{metric} {difference_text(one)}{by_speaker_text(one, ', ')}" for metric, one in evidence.other.items()
    )


def _finding_record(finding: Finding) -> dict[str, Any]:
    return {
        "corpus": finding.corpus,
        "partial": finding.partial,
        "split": finding.split,
        "label_source": finding.label_source,
        "leaky": finding.is_leaky,
        "backbone": finding.backbone or None,
        "setup": finding.setup.text(finding.seeds),
        "departures": list(finding.setup.departures),
        "verdict": finding.verdict,
        "intervals": _intervals([finding]),
        "training_seeds": finding.training_seeds,
        **_rounded({"p": finding.p, "p_holm": finding.p_holm, "p_speaker": finding.p_speaker}),
        "reason": finding.reason or None,
        "comparisons": [_evidence_record(each) for each in finding.evidence],
    }


def _evidence_record(evidence: Evidence) -> dict[str, Any]:
    difference = evidence.difference
    tests = {"p": difference.p, "p_holm": difference.p_holm, "p_speaker": difference.p_speaker}
    return {
        "better": evidence.first._asdict(),
        "worse": evidence.second._asdict(),
        "state": evidence.state,
        **_rounded(_difference_values(difference) | tests),
        **{metric.lower(): _rounded(_difference_values(one)) for metric, one in evidence.other.items()},
    }


def _difference_values(difference: Difference) -> dict[str, float]:
    return {
        "difference": difference.value,
        "low": difference.interval[0],
        "high": difference.interval[1],
        "speaker_low": difference.by_speaker[0],
        "speaker_high": difference.by_speaker[1],
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(float(value), 6) for name, value in values.items()}
