"""Every network of a grid beside its baseline, and the iteration that validation chooses: as listings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from analysis import columns
from analysis.formats import MISSING, interval_text, number, p_text, score_text, signed
from analysis.layouts import RowLabel, Treatment
from analysis.listings import (
    Group,
    Listing,
    ListingRow,
    Record,
    chain_name,
    last_of_chains,
    treatment_order,
)
from analysis.tables import (
    METRICS,
    Footnote,
    Score,
    ScoreKey,
    conditions,
    corpus_name,
    index_scores,
    paper_order,
    recall_records,
    score_footnotes,
    score_record,
    setup_notes,
    source_order,
)
from dsl.labels import LEAKY_LABEL_SOURCES

ALL_NETWORKS = "All networks"
CHOSEN_BY_VALIDATION = "Iteration chosen by validation"
CHOSEN_BY_TEST = "Iteration chosen on the test folds (optimistic)"
_RATES = (
    "Recognition rate in percent by random forest, [95% bootstrap interval over utterances]; mean: by mean pooling."
)
_DIFFERENCE = (
    "− baseline: the forest's rate minus that of iteration 0 of the same backbone, [95% paired bootstrap interval], "
    "and p of McNemar's exact test, adjusted by Holm's method for all networks of the label source."
)


class Difference(NamedTuple):
    """Percentage points to the baseline, their 95% interval, and Holm-adjusted p (NaN without a test)."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Block:
    """What there is of one corpus, split and kind of labels, by label source."""

    corpus: str
    split: str
    labels: str
    sources: list[str]
    scores: dict[str, dict[ScoreKey, Score]]
    differences: dict[tuple[str, Treatment, str], Difference]
    validation: dict[tuple[str, Treatment], float]

    def score(self, source: str, treatment: Treatment, decision: str, metric: str) -> Score | None:
        return self.scores[source].get(ScoreKey(treatment, self.corpus, decision, metric))

    def treatments(self, source: str) -> set[Treatment]:
        return {key.treatment for key in self.scores[source]}

    def caption(self, *sentences: str) -> str:
        conditions_of = conditions("", self.split, self.labels)
        return " ".join([f"{corpus_name(self.corpus)}. {conditions_of}", *sentences, _RATES, _DIFFERENCE])

    def groups(self, *headings: str) -> tuple[Group, ...]:
        return tuple(Group(source, headings) for source in self.sources)

    def footnotes(self) -> tuple[Footnote, ...]:
        scores = [score for source in self.sources for score in self.scores[source].values()]
        notes = setup_notes(self.corpus, scores, published=False)
        return (*score_footnotes(scores), *(Footnote("", text) for text in notes))


def networks_listings(scores: pd.DataFrame, compared: pd.DataFrame) -> list[Listing]:
    """Every network beside its baseline: a listing for each corpus, split and kind of labels.

    `scores` is what `score_networks` returns, `compared` what `comparisons` does.
    """
    return [_networks_listing(block) for block in blocks(scores, compared)]


def chosen_listings(scores: pd.DataFrame, compared: pd.DataFrame, by_test: bool = False) -> list[Listing]:
    """The iteration of each chain that recognises most validation utterances, beside the baseline.

    Means over folds and training seeds are compared; of equals the earlier iteration is chosen, and iteration 0 may
    be. `by_test` chooses by the forest's WA on the test folds instead, as one must not.
    """
    return [_chosen_listing(block, by_test) for block in blocks(scores, compared)]


def blocks(scores: pd.DataFrame, compared: pd.DataFrame) -> Iterator[Block]:
    """Scores and comparisons by split, kind of labels and corpus."""
    differences = compared[compared[columns.DECISION] == columns.FOREST]
    for (split, labels), lines in scores.groupby([columns.SPLIT, columns.LABELS]):
        for corpus in paper_order(lines[columns.CORPUS]):
            found = lines[lines[columns.CORPUS] == corpus]
            sources = source_order(found[columns.LABEL_SOURCE])
            by_source = {one: found[found[columns.LABEL_SOURCE].isin([one, ""])] for one in sources}
            same = (differences[[columns.CORPUS, columns.SPLIT, columns.LABELS]] == [corpus, split, labels]).all(axis=1)
            yield Block(
                corpus,
                split,
                labels,
                sources,
                {source: index_scores(lines) for source, lines in by_source.items()},
                _differences(differences[same]),
                {
                    (source, Treatment.of(line)): line[columns.VALIDATION_WA]
                    for source, lines in by_source.items()
                    for line in lines.to_dict("records")
                },
            )


def choose_iteration(block: Block, source: str, chain: Treatment, by_test: bool) -> Treatment | None:
    """The iteration of a chain with the highest WA; the earliest of equals, None where none is known."""
    best, chosen = -1.0, None
    for treatment in (chain.at(iteration) for iteration in range(chain.iteration + 1)):
        score = block.score(source, treatment, columns.FOREST, "WA")
        value = (score.value if score else None) if by_test else block.validation.get((source, treatment))
        if value is not None and value > best:
            best, chosen = value, treatment
    return chosen


def _differences(compared: pd.DataFrame) -> dict[tuple[str, Treatment, str], Difference]:
    """Differences to the baseline by label source, network and metric; the test is of WA."""
    found = {}
    for line in compared.to_dict("records"):
        key = line[columns.LABEL_SOURCE], Treatment.of(line)
        wa = line[columns.WA_DIFFERENCE], line[columns.WA_DIFFERENCE_LOW], line[columns.WA_DIFFERENCE_HIGH]
        ua = line[columns.UA_DIFFERENCE], line[columns.UA_DIFFERENCE_LOW], line[columns.UA_DIFFERENCE_HIGH]
        found[(*key, "WA")] = Difference(*wa, line[columns.P_HOLM])
        found[(*key, "UA")] = Difference(*ua, float("nan"))
    return found


def _networks_listing(block: Block) -> Listing:
    rows = []
    for treatment in sorted(set().union(*map(block.treatments, block.sources)), key=treatment_order):
        texts: dict[str, list[str]] = {}
        records: list[Record] = []
        name = f"{chain_name(treatment)}, t = {treatment.iteration}"
        for source in block.sources:
            if treatment not in block.treatments(source):
                continue
            by_mean = [block.score(source, treatment, columns.MEAN_POOLING, metric) for metric in METRICS]
            texts[source] = [
                *_forest_texts(block, source, treatment),
                *(score_text(score, interval=False) for score in by_mean),
                *(_difference_text(block, source, treatment, metric) for metric in METRICS),
            ]
            if treatment.iteration or source == block.sources[0]:  # iteration 0 is the same for all sources
                records += _records(ALL_NETWORKS, name, block, source, treatment)
        rows.append(ListingRow(RowLabel(name), texts, tuple(records), treatment.backbone))
    groups = block.groups("WA forest", "UA forest", "WA mean", "UA mean", "WA − baseline", "UA − baseline")
    return Listing(ALL_NETWORKS, block.caption(), "Network", groups, tuple(rows), block.footnotes())


def _chosen_listing(block: Block, by_test: bool) -> Listing:
    title = CHOSEN_BY_TEST if by_test else CHOSEN_BY_VALIDATION
    rows = []
    chains = {source: last_of_chains(block.treatments(source)) for source in block.sources}
    for chain in sorted(set().union(*chains.values()), key=treatment_order):
        texts: dict[str, list[str]] = {}
        records: list[Record] = []
        for source in block.sources:
            chosen = choose_iteration(block, source, chain, by_test) if chain in chains[source] else None
            if chosen is None:
                continue
            baseline = [block.score(source, chain.at(0), columns.FOREST, metric) for metric in METRICS]
            texts[source] = [
                str(chosen.iteration),
                _validation_text(block, source, chosen),
                *_forest_texts(block, source, chosen),
                *(score_text(score, interval=False) for score in baseline),
                _difference_text(block, source, chosen, "WA"),
            ]
            records += _records(title, chain_name(chain), block, source, chosen)
        rows.append(ListingRow(RowLabel(chain_name(chain)), texts, tuple(records), chain.backbone))
    of = "the forest on the test folds" if by_test else "mean pooling on validation utterances"
    caption = block.caption(
        f"Of each chain the iteration t with the highest WA of {of}, mean over folds and training seeds; the earlier "
        "of equals, and 0 is one of them."
    )
    names = ("t", "WA validation", "WA forest", "UA forest", "WA baseline", "UA baseline", "WA − baseline")
    return Listing(title, caption, "Chain", block.groups(*names), tuple(rows), block.footnotes())


def _forest_texts(block: Block, source: str, treatment: Treatment) -> list[str]:
    return [score_text(block.score(source, treatment, columns.FOREST, metric)) for metric in METRICS]


def _difference_text(block: Block, source: str, treatment: Treatment, metric: str) -> str:
    difference = block.differences.get((source, treatment, metric))
    if difference is None:
        return MISSING
    return f"{signed(difference.value)}{interval_text(difference.low, difference.high)}{p_text(difference.p)}"


def _validation_text(block: Block, source: str, treatment: Treatment) -> str:
    value = block.validation.get((source, treatment), float("nan"))
    return MISSING if value != value else number(value, 2)


def _records(title: str, name: str, block: Block, source: str, treatment: Treatment) -> Iterator[Record]:
    """One for each metric, and one for the recall of each class."""
    used = source if treatment.iteration else ""
    about = {
        "table": title,
        "labels": block.labels,
        "backbone": treatment.backbone,
        "label_source": source if title != ALL_NETWORKS else used,
        "leaky": used in LEAKY_LABEL_SOURCES,
        "split": block.split,
        "row": name,
        "rule": treatment.rule,
        "alpha": treatment.alpha,
        "iteration": treatment.iteration,
        "corpus": block.corpus,
    }
    for metric in METRICS:
        forest, by_mean = (
            block.score(source, treatment, decision, metric) for decision in (columns.FOREST, columns.MEAN_POOLING)
        )
        difference = block.differences.get((source, treatment, metric))
        validation = block.validation.get((source, treatment), float("nan"))
        yield {
            **about,
            "metric": metric,
            "validation_wa": None if validation != validation else round(validation, 4),
            **score_record(forest, by_mean),
            **(_difference_record(difference) if difference else {}),
        }
    yield from ({**about, **record} for record in recall_records(forest, by_mean))


def _difference_record(difference: Difference) -> Record:
    names = ("baseline_difference", "baseline_difference_low", "baseline_difference_high", "p_holm")
    return {name: round(value, 6) for name, value in zip(names, difference, strict=True) if value == value}
