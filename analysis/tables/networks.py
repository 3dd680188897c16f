"""Every network of a grid beside its baseline, and the iteration that validation chooses: as listings."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from analysis import columns
from analysis.paper.layouts import RowLabel, Treatment
from analysis.scoring.comparisons import Network, comparisons, of_networks
from analysis.scoring.differences import Difference, difference_record, difference_text, speaker_text
from analysis.scoring.formats import MISSING, number, score_text
from analysis.scoring.results import score_networks
from analysis.scoring.selection import Chosen, choose_by_fold
from analysis.tables.listings import (
    Group,
    Listing,
    ListingRow,
    Record,
    chain_name,
    last_of_chains,
    treatment_order,
)
from analysis.tables.paper_tables import (
    METRICS,
    PAPER_METRICS,
    About,
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
    "Recognition rate in percent by random forest, [95% bootstrap interval over utterances]; mean: by mean pooling; "
    "F1: macro-averaged."
)
_NOTHING_CHOOSES = "No rate on validation utterances is known, as with validation_share: 0: no iteration is chosen."
_DIFFERENCE = (
    "− baseline: the forest's rate minus that of iteration 0 of the same backbone, [95% paired bootstrap interval], "
    "and p of McNemar's exact test, adjusted by Holm's method for all "
)
_OF_NETWORKS = "networks of the label source (the claims show the same test's p unadjusted)."
_OF_CHAINS = "chains of the label source."
_BY_SPEAKER = (
    "By speaker: the same difference's interval over whole speakers, and p of a sign-flip test over them, not adjusted."
)
_INCOMPLETE = (
    "Differences marked (incomplete) are of the utterances and training seeds that a network and its baseline share; "
    "the rates beside them are of all that either has."
)

_HOW_BY_VALIDATION = (
    "In each fold, and for each training seed, the iteration t of a chain with the highest WA of mean pooling on the "
    "fold's validation utterances; t (folds): how many folds choose it; WA validation: the mean of what is chosen"
)
_HOW_BY_TEST = (
    "Of each chain the iteration t with the highest WA of the forest on the test folds, the same in all folds"
)


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

    @property
    def about(self) -> About:
        return About.named(corpus=self.corpus, split=self.split, labels=self.labels)

    def caption(self, tested: str, *sentences: str) -> str:
        """`tested` ends the sentence on what p is adjusted for."""
        conditions_of = conditions("", self.split, self.labels)
        return " ".join([f"{corpus_name(self.corpus)}. {conditions_of}", *sentences, _RATES, _DIFFERENCE + tested])

    def groups(self, *headings: str) -> tuple[Group, ...]:
        return tuple(Group(source, headings) for source in self.sources)

    def footnotes(self) -> tuple[Footnote, ...]:
        scores = [score for source in self.sources for score in self.scores[source].values()]
        incomplete = [_INCOMPLETE] if any(not one.complete for one in self.differences.values()) else []
        notes = [*incomplete, *setup_notes(self.corpus, scores, published=False)]
        return (*score_footnotes(scores), *(Footnote("", text) for text in notes))


def networks_listings(scores: pd.DataFrame, compared: pd.DataFrame) -> list[Listing]:
    """Every network beside its baseline: a listing for each corpus, split and kind of labels.

    `scores` is what `score_networks` returns, `compared` what `comparisons` does.
    """
    return [_networks_listing(block) for block in blocks(scores, compared)]


def chosen_listings(decisions: pd.DataFrame, by_test: bool = False) -> list[Listing]:
    """What each chain comes to where validation chooses its iteration, fold by fold, beside the baseline.

    `decisions` is what `decide` returns. Of equals the earlier iteration is chosen, and iteration 0 may be. `by_test`
    chooses one iteration for all folds by the forest's WA on the test folds instead, as one must not.
    """
    known = of_networks(decisions)
    baselines = decisions[decisions[columns.ITERATION] == 0]
    chosen = {chain: one for chain in _chains(known) if (one := _choose_iterations(known, chain, by_test)) is not None}
    shown = pd.concat([baselines, *(one.under(chain) for chain, one in chosen.items())])
    conditions_of = {chain[:3] for chain in _chains(known)}
    return [
        _chosen_listing(block, chosen, by_test)
        for block in blocks(score_networks(shown), comparisons(shown))
        if (block.corpus, block.split, block.labels) in conditions_of
    ]


def _chains(known: Collection[Network]) -> Iterator[Network]:
    """The last network of every chain."""
    of_source: dict[Network, set[Treatment]] = {}
    for network in known:
        if network.treatment.iteration:
            of_source.setdefault(network._replace(treatment=network.baseline.treatment), set()).add(network.treatment)
    for about, treatments in of_source.items():
        yield from (about._replace(treatment=last) for last in last_of_chains(treatments))


def _choose_iterations(known: Mapping[Network, pd.DataFrame], chain: Network, by_test: bool) -> Chosen | None:
    """What is chosen of a chain's iterations, of which some may be missing."""
    earlier = (
        chain._replace(treatment=chain.treatment.at(iteration)) for iteration in range(1, chain.treatment.iteration)
    )
    iterations = [one for one in (chain.baseline, *earlier, chain) if one in known]
    if by_test:
        iterations = [max(iterations, key=lambda one: _wa_by_forest(known[one]))]
    return choose_by_fold({one: known[one] for one in iterations})


def _wa_by_forest(decisions: pd.DataFrame) -> float:
    """WA on the test folds; below any where there is no forest."""
    right = decisions[columns.LABEL] == decisions[columns.PREDICTED]
    of_forest = decisions[columns.DECISION] == columns.FOREST
    return float(right[of_forest].mean()) if of_forest.any() else -1.0


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


def _differences(compared: pd.DataFrame) -> dict[tuple[str, Treatment, str], Difference]:
    """Differences to the baseline by label source, network and metric."""
    return {
        (line[columns.LABEL_SOURCE], Treatment.of(line), metric): Difference.of(line, metric)
        for line in compared.to_dict("records")
        for metric in METRICS
    }


def _networks_listing(block: Block) -> Listing:
    rows = []
    for treatment in sorted(set().union(*map(block.treatments, block.sources)), key=treatment_order):
        texts: dict[str, list[str]] = {}
        records: list[Record] = []
        name = f"{chain_name(treatment)}, t = {treatment.iteration}"
        for source in block.sources:
            if treatment not in block.treatments(source):
                continue
            by_mean = [block.score(source, treatment, columns.MEAN_POOLING, metric) for metric in PAPER_METRICS]
            texts[source] = [
                *_forest_texts(block, source, treatment),
                score_text(block.score(source, treatment, columns.FOREST, "F1"), interval=False),
                *(score_text(score, interval=False) for score in by_mean),
                *(_difference_text(block, source, treatment, metric) for metric in PAPER_METRICS),
                speaker_text(block.differences.get((source, treatment, "WA"))),
            ]
            if treatment.iteration or source == block.sources[0]:  # iteration 0 is the same for all sources
                records += _records(ALL_NETWORKS, name, block, source, treatment)
        rows.append(ListingRow(RowLabel(name), texts, tuple(records), treatment.backbone))
    names = (
        *(f"{metric} forest" for metric in METRICS),
        *(f"{metric} {what}" for what in ("mean", "− baseline") for metric in PAPER_METRICS),
        "WA by speaker",
    )
    caption = f"{block.caption(_OF_NETWORKS)} {_BY_SPEAKER}"
    notes = block.footnotes()
    return Listing(ALL_NETWORKS, caption, "Network", block.groups(*names), tuple(rows), notes, block.about)


def _chosen_listing(block: Block, chosen: Mapping[Network, Chosen], by_test: bool) -> Listing:
    title = CHOSEN_BY_TEST if by_test else CHOSEN_BY_VALIDATION
    rows = []
    chains = set().union(*(last_of_chains(block.treatments(source)) for source in block.sources))
    for chain in sorted(chains, key=treatment_order):
        texts: dict[str, list[str]] = {}
        records: list[Record] = []
        for source in block.sources:
            one = chosen.get(Network(block.corpus, block.split, block.labels, source, chain))
            if one is None:
                continue
            iterations = _iterations_text(one)
            baseline = [block.score(source, chain.at(0), columns.FOREST, metric) for metric in PAPER_METRICS]
            texts[source] = [
                iterations,
                _validation_text(block, source, chain),
                *_forest_texts(block, source, chain),
                *(score_text(score, interval=False) for score in baseline),
                _difference_text(block, source, chain, "WA"),
            ]
            records += [
                {**record, "iteration": None, "iterations_chosen": iterations}
                for record in _records(title, chain_name(chain), block, source, chain)
            ]
        rows.append(ListingRow(RowLabel(chain_name(chain)), texts, tuple(records), chain.backbone))
    how = _HOW_BY_TEST if by_test else _HOW_BY_VALIDATION
    caption = block.caption(_OF_CHAINS, f"{how}; the earlier of equals, and 0 is one of them.")
    names = ("t (folds)", "WA validation", "WA forest", "UA forest", "WA baseline", "UA baseline", "WA − baseline")
    unknown = not by_test and all(value != value for value in block.validation.values())
    notes = (*([Footnote("", _NOTHING_CHOOSES)] if unknown else []), *block.footnotes())
    return Listing(title, caption, "Chain", block.groups(*names), tuple(rows), notes, block.about)


def _iterations_text(chosen: Chosen) -> str:
    """Which iterations are chosen, and in how many folds: `0 (3), 1 (7)`."""
    counts = Counter(network.treatment.iteration for network in chosen.of_fold.values())
    return ", ".join(f"{iteration} ({counts[iteration]})" for iteration in sorted(counts))


def _forest_texts(block: Block, source: str, treatment: Treatment) -> list[str]:
    return [score_text(block.score(source, treatment, columns.FOREST, metric)) for metric in PAPER_METRICS]


def _difference_text(block: Block, source: str, treatment: Treatment, metric: str) -> str:
    return difference_text(block.differences.get((source, treatment, metric)))


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
            **(difference_record("baseline_difference", difference) if difference else {}),
        }
    yield from ({**about, **record} for record in recall_records(forest, by_mean))
