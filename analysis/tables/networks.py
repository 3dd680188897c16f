"""Every network of a grid beside its baseline, and the iteration that validation chooses: as listings."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import columns
from analysis.columns import METRICS
from analysis.identity import (
    Condition,
    Network,
    Treatment,
    Updates,
    chain_name,
    conditions,
    corpus_name,
    corpus_order,
    iterations_of,
    last_of_chains,
    treatment_name,
    updates_of,
)
from analysis.scoring.comparisons import comparisons, of_networks
from analysis.scoring.differences import Difference, difference_entry, speaker_metrics
from analysis.scoring.scores import Score, ScoreKey, index_scores, score_networks
from analysis.scoring.selection import Chosen, choose_by_fold
from analysis.tables.captions import (
    CHAINS_BESIDE_BASELINE,
    DIFFERENCES,
    NETWORKS_BESIDE_BASELINE,
    OF_CHOSEN_BY_TEST,
    OF_CHOSEN_BY_VALIDATION,
    OF_NETWORKS,
    Caption,
    Footnote,
    conditions_text,
    score_footnotes,
    setup_notes,
)
from analysis.tables.cells import DifferenceCell, RateCell, SpeakerCell, TableCell, choice_cell
from analysis.tables.entries import Entry, network_entry, recall_entries, score_entry
from analysis.tables.listings import Group, Heading, Listing, ListingRow, of_group, treatment_rows

ALL_NETWORKS = "All networks"
CHOSEN_BY_VALIDATION = "Iteration chosen by validation"
CHOSEN_BY_TEST = "Iteration chosen on the test folds (optimistic)"
_DIFFERENCES = "differences to the baseline"
_NOTHING_CHOOSES = "No rate on validation utterances is known, as with validation_share: 0: no iteration is chosen."
_INCOMPLETE = (
    "Differences marked (incomplete) are of the utterances and training seeds that a network and its baseline share; "
    "the rates beside them are of all that either has."
)


@dataclass(frozen=True)
class Known:
    """What there is of one corpus, split and kind of labels, by label source."""

    condition: Condition
    scores: dict[str, dict[ScoreKey, Score]]
    differences: dict[tuple[str, Treatment, str], Difference]
    validation: dict[tuple[str, Treatment], float]

    def network(self, source: str, treatment: Treatment) -> Network:
        """That of a treatment and a label source."""
        return self.condition._replace(label_source=source).network(treatment)

    def score(self, source: str, treatment: Treatment, decision: str, metric: str) -> Score | None:
        """The score of a treatment by one kind of decision and metric; None where it was not trained."""
        return self.scores[source].get(ScoreKey(treatment, self.condition.corpus, decision, metric))

    def rates(self, source: str, treatment: Treatment, decision: str) -> list[Score | None]:
        """The same of all metrics."""
        return [self.score(source, treatment, decision, metric) for metric in METRICS]

    @property
    def treatments(self) -> dict[str, set[Treatment]]:
        """The treatments that were trained with each label source."""
        return {source: {key.treatment for key in scores} for source, scores in self.scores.items()}

    def caption(self, template: str, beside_baseline: str) -> Caption:
        """That of a listing, by its template and what follows where there are differences to the baseline."""
        score = next(score for scores in self.scores.values() for score in scores.values())
        template += beside_baseline if self.differences else ""
        about = corpus_name(self.condition.corpus), template, score.intervals
        return Caption.filled(*about, self.has_forest, conditions=conditions_text(self.condition))

    @property
    def has_forest(self) -> bool:
        """Whether any rate is by a forest; mean pooling has the intervals where none is."""
        return any(key.decision == columns.FOREST for scores in self.scores.values() for key in scores)

    def footnotes(self) -> tuple[Footnote, ...]:
        """What the scores and differences shown need to have explained, and the set-up."""
        scores = [score for of_source in self.scores.values() for score in of_source.values()]
        incomplete = any(not one.complete for one in self.differences.values())
        return (
            *score_footnotes(scores),
            *([Footnote("", _INCOMPLETE, cells=DIFFERENCES)] if incomplete else []),
            *setup_notes(self.condition.corpus, scores, published=False),
        )

    @property
    def speaker_metrics(self) -> tuple[str, ...]:
        """The metrics of which differences are told by speaker, too."""
        return next((speaker_metrics(one.intervals) for one in self.differences.values()), METRICS)

    def difference_headings(self) -> list[Heading]:
        """Those of `difference_cells`."""
        of = (("− baseline", METRICS), ("by speaker", self.speaker_metrics))
        return [Heading(what, metric) for what, metrics in of for metric in metrics]

    def difference_cells(self, source: str, treatment: Treatment) -> dict[str, list[TableCell]]:
        """The differences of a treatment from its baseline, and what is known of them by speaker, by their group; none
        of the baseline."""
        of = {metric: self.differences.get((source, treatment, metric)) for metric in METRICS}
        if of["WA"] is None:
            return {}
        by_speaker = (SpeakerCell(of[metric]) for metric in self.speaker_metrics)
        return {of_group(source, _DIFFERENCES): [*map(DifferenceCell, of.values()), *by_speaker]}


def networks_listings(scores: pd.DataFrame, compared: pd.DataFrame) -> list[Listing]:
    """Every network beside its baseline: a listing for each corpus, split and kind of labels.

    `scores` is what `score_networks` returns, `compared` what `comparisons` does.
    """
    return [_networks_listing(known) for known in known_of(scores, compared)]


def chosen_listings(decisions: pd.DataFrame, by_test: bool = False) -> list[Listing]:
    """What each chain comes to where validation chooses its iteration, fold by fold, beside the baseline.

    `decisions` is what `decide` returns. Of equals the earlier iteration is chosen, and iteration 0 may be. `by_test`
    chooses one iteration for all folds by the forest's WA on the test folds instead, as one must not.
    """
    known, updates = of_networks(decisions), updates_of(decisions)
    baselines = decisions[decisions[columns.ITERATION] == 0]
    chains = list(_chains(known, updates))
    chosen = {
        chain: one
        for chain in chains
        if (one := _choose_iterations(known, chain, updates[chain.treatment], by_test)) is not None
    }
    shown = pd.concat([baselines, *(one.under(chain) for chain, one in chosen.items())])
    conditions_of = {chain.condition for chain in chains}
    return [
        _chosen_listing(known, chosen, by_test)
        for known in known_of(score_networks(shown), comparisons(shown))
        if known.condition in conditions_of
    ]


def _chains(known: Mapping[Network, pd.DataFrame], updates: Mapping[Treatment, Updates]) -> Iterator[Network]:
    """The last network of every chain."""
    of_source: dict[Network, dict[Treatment, Updates]] = {}
    for network in known:
        if network.treatment.iteration:
            of_chain = network._replace(treatment=network.treatment.baseline)
            of_source.setdefault(of_chain, {})[network.treatment] = updates[network.treatment]
    for about, own in of_source.items():
        yield from (about._replace(treatment=last) for last in last_of_chains(own))


def _choose_iterations(
    known: Mapping[Network, pd.DataFrame], chain: Network, updates: Updates, by_test: bool
) -> Chosen | None:
    """What is chosen of a chain's iterations, of which some may be missing."""
    condition = Condition(*chain[:-1])
    networks = (condition.network(treatment) for treatment in iterations_of(chain.treatment, updates))
    iterations = [one for one in networks if one in known]
    if by_test:
        iterations = [max(iterations, key=lambda one: _wa_by_forest(known[one]))]
    return choose_by_fold({one: known[one] for one in iterations})


def _wa_by_forest(decisions: pd.DataFrame) -> float:
    """WA on the test folds; below any where there is no forest."""
    right = decisions[columns.LABEL] == decisions[columns.PREDICTED]
    of_forest = decisions[columns.DECISION] == columns.FOREST
    return float(right[of_forest].mean()) if of_forest.any() else -1.0


def known_of(scores: pd.DataFrame, compared: pd.DataFrame) -> Iterator[Known]:
    """Scores and comparisons by split, kind of labels and corpus."""
    differences = compared[compared[columns.DECISION] == columns.FOREST]
    for (split, labels), lines in scores.groupby([columns.SPLIT, columns.LABELS]):
        for corpus in corpus_order(lines[columns.CORPUS]):
            by_source = {one.label_source: own for one, own in conditions(lines[lines[columns.CORPUS] == corpus])}
            same = (differences[[columns.CORPUS, columns.SPLIT, columns.LABELS]] == [corpus, split, labels]).all(axis=1)
            yield Known(
                Condition(corpus, str(split), str(labels)),
                {source: index_scores(own) for source, own in by_source.items()},
                _differences(differences[same]),
                {
                    (source, Treatment.of(line)): line[columns.VALIDATION_WA]
                    for source, own in by_source.items()
                    for line in own.to_dict("records")
                },
            )


def _differences(compared: pd.DataFrame) -> dict[tuple[str, Treatment, str], Difference]:
    """Differences to the baseline by label source, network and metric."""
    return {
        (line[columns.LABEL_SOURCE], Treatment.of(line), metric): Difference.of(line, metric)
        for line in compared.to_dict("records")
        for metric in METRICS
    }


def _networks_listing(known: Known) -> Listing:
    def cells(source: str, treatment: Treatment) -> dict[str, list[TableCell]]:
        forest, by_mean = (known.rates(source, treatment, decision) for decision in columns.DECISION_NAMES)
        means = [RateCell.of(score, interval=not known.has_forest) for score in by_mean]
        return {source: [*map(RateCell.of, forest), *means], **known.difference_cells(source, treatment)}

    def entries(source: str, treatment: Treatment) -> Iterator[Entry]:
        return _entries(ALL_NETWORKS, treatment_name(treatment), known, source, treatment)

    rows = treatment_rows(known.treatments, treatment_name, cells, entries)
    rates = [Heading(what, metric) for what in ("forest", "mean") for metric in METRICS]
    about, notes = known.caption(OF_NETWORKS, NETWORKS_BESIDE_BASELINE), known.footnotes()
    return Listing(ALL_NETWORKS, about, "Network", _groups(known, rates, rows), rows, notes, known.condition)


def _groups(known: Known, rates: Sequence[Heading], rows: Sequence[ListingRow]) -> tuple[Group, ...]:
    """Those that the rows have: of each label source its `rates`, and differences to the baseline."""
    parts = (("", rates), (_DIFFERENCES, known.difference_headings()))
    groups = [Group.of_source(source, headings, of) for source in known.scores for of, headings in parts]
    return tuple(group for group in groups if any(group.name in row.cells for row in rows))


def _chosen_listing(known: Known, chosen: Mapping[Network, Chosen], by_test: bool) -> Listing:
    title = CHOSEN_BY_TEST if by_test else CHOSEN_BY_VALIDATION
    of_source = {
        source: [one for one in treatments if known.network(source, one) in chosen]
        for source, treatments in known.treatments.items()
    }

    def choice(source: str, chain: Treatment) -> TableCell:
        of_fold = chosen[known.network(source, chain)].of_fold
        return choice_cell(Counter(network.treatment.iteration for network in of_fold.values()))

    def cells(source: str, chain: Treatment) -> dict[str, list[TableCell]]:
        decision = columns.FOREST if known.has_forest else columns.MEAN_POOLING
        ours, baseline = (known.rates(source, one, decision) for one in (chain, chain.baseline))
        rates = [*map(RateCell.of, ours), *(RateCell.of(score, interval=False) for score in baseline)]
        pooled = known.score(source, chain, columns.MEAN_POOLING, "WA")
        folds = (0, 0) if pooled is None else (pooled.folds_done, pooled.folds)
        validation = RateCell(known.validation.get((source, chain), math.nan), folds=folds)
        return {source: [choice(source, chain), validation, *rates], **known.difference_cells(source, chain)}

    def entries(source: str, chain: Treatment) -> Iterator[Entry]:
        told = {"iteration": None, "iterations_chosen": choice(source, chain).text}
        yield from (entry | told for entry in _entries(title, chain_name(chain), known, source, chain))

    rows = treatment_rows(of_source, chain_name, cells, entries)
    template = OF_CHOSEN_BY_TEST if by_test else OF_CHOSEN_BY_VALIDATION
    caption = known.caption(template, CHAINS_BESIDE_BASELINE)
    headings = (
        *(Heading("t (folds)"), Heading("validation", "WA")),
        *(
            Heading(what, metric)
            for what in ("forest" if known.has_forest else "mean", "baseline")
            for metric in METRICS
        ),
    )
    unknown = not by_test and all(value != value for value in known.validation.values())
    notes = (*([Footnote("", _NOTHING_CHOOSES)] if unknown else []), *known.footnotes())
    return Listing(title, caption, "Chain", _groups(known, headings, rows), rows, notes, known.condition)


def _entries(title: str, name: str, known: Known, source: str, treatment: Treatment) -> Iterator[Entry]:
    """One for each metric, and one for the recall of each class."""
    about = network_entry(title, name, known.network(source, treatment))
    for metric in METRICS:
        forest, by_mean = (known.score(source, treatment, decision, metric) for decision in columns.DECISION_NAMES)
        difference = known.differences.get((source, treatment, metric))
        validation = known.validation.get((source, treatment), float("nan"))
        yield {
            **about,
            "metric": metric,
            "validation_wa": None if validation != validation else round(validation, 4),
            **score_entry(forest, by_mean),
            **(difference_entry("baseline_difference", difference) if difference else {}),
        }
    yield from ({**about, **entry} for entry in recall_entries(forest, by_mean))
