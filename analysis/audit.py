"""The null-label test: with labels that have nothing to do with the speech, nothing can be recognised above chance.

Whatever is, leaks: labels of test utterances have reached what was tested on them. UA is tested, because its chance is
1 / K whatever a network prefers to say. The test is by permutation: labels are dealt out anew to the decisions.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.identity import GIVEN, source_name
from analysis.scoring.formats import Printed, joined, p_value
from analysis.scoring.intervals import DEFAULT
from analysis.scoring.scores import decision_arrays, score_networks
from analysis.scoring.setup import PAPER_SPLIT
from analysis.scoring.statistics import UNDECIDED, holm
from analysis.tables.blocks import Line
from analysis.tables.cells import NumberCell, RateCell, TableCell, TextCell
from analysis.tables.render import aligned
from data_prep.arrays import Floats, Ints
from dsl.labels import LEAKY_LABEL_SOURCES

PERMUTATIONS = 10_000
# Two utterances that sound alike, in different folds, decide one another: both are right or both wrong. Dealing labels
# to fixed decisions misses that half of the variance, which for such mutual pairs is twice as large, and never more.
WIDENING = np.sqrt(2)
SIGNIFICANCE = 0.05
NO_SOURCE = "(none yet)"
ABOVE_CHANCE, WITHIN_CHANCE, INCOMPLETE = "above chance: leaks", "within chance", "incomplete folds"


@dataclass(frozen=True)
class AuditFinding:
    """How a network does on permuted labels by one kind of decision. Rates are in percent.

    `low` and `high` are the 95% bootstrap interval of `ua`, over utterances or, where labels are permuted by speaker,
    over speakers, its reach to either side widened by WIDENING as the test's chance is. `p` is the one-sided
    permutation test's, `p_holm` adjusted for all findings of an audit. `found_from` is the UA that 95% of permutations
    stay below.
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
        """INCOMPLETE where folds are missing; else whether UA is above chance, by the p adjusted by Holm's method."""
        if self.folds_done < self.folds:
            return INCOMPLETE
        return ABOVE_CHANCE if self.p_holm < SIGNIFICANCE else WITHIN_CHANCE

    @property
    def unexpected(self) -> bool:
        """Whether a label source is above chance that must not be."""
        return self.verdict == ABOVE_CHANCE and self.label_source not in LEAKY_LABEL_SOURCES

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the fields, the verdict, and whether the label source is a leaky one."""
        return {**asdict(self), "verdict": self.verdict, "leaky_source": self.label_source in LEAKY_LABEL_SOURCES}


def audit(decisions: pd.DataFrame) -> list[AuditFinding]:
    """A finding for every network and kind of decision in `decisions` (`results.decide`) that is of permuted labels.

    p values are adjusted by Holm's method over all complete findings.
    """
    permuted = decisions[decisions[columns.LABELS] != GIVEN]
    if permuted.empty:
        return []
    identity = [*columns.NETWORK_IDENTITY, columns.DECISION]
    scores = score_networks(permuted.assign(**{columns.INTERVALS: DEFAULT})).to_dict("records")
    groups = permuted.groupby(identity, dropna=False, sort=False)
    found = [_finding(line, group) for line, (_, group) in zip(scores, groups, strict=True)]
    p = [np.nan if one.verdict == INCOMPLETE else one.p for one in found]
    return [replace(one, p_holm=float(adjusted)) for one, adjusted in zip(found, holm(p), strict=True)]


def permutation_test(
    label: Ints,
    predicted: Ints,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    within: np.ndarray | None = None,
) -> tuple[float, Floats]:
    """UA, the mean over rows, and what it comes to by chance: a fraction, and [permutations].

    Chance is labels dealt out anew to the decisions as they were to the utterances, its spread widened by WIDENING:
    over all utterances or, with `within` [U], as names of classes that are exchanged in each of these groups.

    Both arrays are [R, U], as from `scores.decision_arrays`; rows of the same labels are dealt the same ones.
    """
    rng = np.random.default_rng(seed)
    labels, group = np.unique(label, axis=0, return_inverse=True)
    observed = np.zeros(len(label))
    null = np.zeros((len(label), permutations))
    for number, row in enumerate(labels):
        decided = row != UNDECIDED
        own = row[decided]
        if within is None:
            dealt = rng.permuted(np.tile(own, (permutations, 1)), axis=1)
        else:
            dealt = _renamed(own, within[decided], permutations, rng)
        weight = _weights(own[None])[0]
        weights = _weights(dealt)
        for place in np.flatnonzero(group == number):
            said = predicted[place, decided]
            observed[place] = (weight[own] * (own == said)).sum()
            null[place] = (np.take_along_axis(weights, dealt, axis=1) * (dealt == said)).sum(axis=1)
    dealt_ua = null.mean(axis=0)
    return float(observed.mean()), dealt_ua.mean() + WIDENING * (dealt_ua - dealt_ua.mean())


def _renamed(label: Ints, within: np.ndarray, permutations: int, rng: np.random.Generator) -> Ints:
    """`label` [U] with the classes' names exchanged in each group of `within` [U], in ways drawn anew: [P, U]."""
    there, known = np.unique(label, return_inverse=True)
    groups, group = np.unique(within, return_inverse=True)
    names = rng.permuted(np.tile(there, (permutations, len(groups), 1)), axis=2)
    return names[:, group, known]


def _weights(label: Ints) -> Floats:
    """What an utterance of each class adds to UA where it is recognised, for each row of `label` [P, U]: [P, K]."""
    counts = np.stack([(label == k).sum(axis=1) for k in range(label.max() + 1)], axis=1)
    occurring: Ints = np.count_nonzero(counts, axis=1)[:, None]
    weights: Floats = 1 / (np.maximum(counts, 1) * occurring)
    return weights


def _finding(score: dict[Any, Any], group: pd.DataFrame) -> AuditFinding:
    label, predicted, speaker = decision_arrays(group)
    by_speaker = score[columns.LABELS] == "permuted_by_speaker"
    bounds = columns.RATES["UA"].by_speaker if by_speaker else columns.RATES["UA"].interval
    ua, null = permutation_test(label, predicted, within=speaker.astype(str) if by_speaker else None)
    low, high = np.clip([100 * ua + WIDENING * (score[bound] - 100 * ua) for bound in bounds], 0, 100)
    found = {
        "ua": 100 * ua,
        "low": float(low),
        "high": float(high),
        "chance": 100 / len(np.setdiff1d(label, UNDECIDED)),
        "found_from": 100 * float(np.quantile(null, 0.95)),
        "p": float((1 + (null >= ua - 1e-12).sum()) / (1 + len(null))),
    }
    known = score | found
    return AuditFinding(**{each.name: known[each.name] for each in fields(AuditFinding) if each.name in known})


def to_text(findings: Sequence[AuditFinding]) -> str:
    """The findings as an aligned Markdown table, and what follows from them."""
    return "\n".join([aligned([list(HEADINGS), *(line_of(one).texts for one in findings)]), *conclusions(findings), ""])


HEADINGS = (
    *("label source", "network", "decision", "UA [widened 95% interval]"),
    *("chance", "95% of chance below", "p (Holm)", "verdict"),
)


def line_of(one: AuditFinding) -> Line:
    """A finding under HEADINGS."""
    network = joined(one.corpus, one.backbone, one.rule, one.alpha, f"t={one.iteration}")
    split = "" if one.split == PAPER_SPLIT else f", {one.split}"
    verdict = one.verdict if one.verdict != INCOMPLETE else f"{INCOMPLETE} ({one.folds_done}/{one.folds})"
    return Line(
        f"{source_name(one.label_source) or NO_SOURCE}{split}",
        (
            *(TextCell(network), TextCell(one.decision)),
            *(RateCell(one.ua, interval=(one.low, one.high)), NumberCell(one.chance, 2), NumberCell(one.found_from, 2)),
            *(PCell(one.p_holm), TextCell(verdict)),
        ),
        one.label_source in LEAKY_LABEL_SOURCES,
        unmarked=f"{one.label_source or NO_SOURCE}{split}",
    )


@dataclass(frozen=True)
class PCell(TableCell):
    """The p of a test; NaN without one."""

    p: float

    @property
    def printed(self) -> Printed:
        """The p value, a bound like `< 0.001` as words, not as a number."""
        return Printed(rest=p_value(self.p)) if self.p < 0.001 else Printed(p_value(self.p))


def conclusions(findings: Sequence[AuditFinding]) -> list[str]:
    """In sentences: which label sources leak, and whether the audit could tell."""
    sources = dict.fromkeys(one.label_source for one in findings if one.label_source)
    sentences = []
    for source in sources:
        own = [one for one in findings if one.label_source == source and one.verdict != INCOMPLETE]
        above = [one for one in own if one.verdict == ABOVE_CHANCE]
        sentences.append(f"{source}: {len(above)} of {len(own)} above chance.")
        if own and not above and source in LEAKY_LABEL_SOURCES:
            sentences.append(
                f"{source} leaks, but this audit did not find it: it is too weak to clear the others. Train until the "
                "labels are learnt by heart (more epochs, early_stopping: false)."
            )
    return sentences
