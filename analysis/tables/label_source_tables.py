"""Label sources side by side: what a rule gains from one of them over another, on the same utterances."""

from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import Any

import pandas as pd

from analysis import columns
from analysis.paper.layouts import RowLabel, Treatment
from analysis.paper.setup import Setup
from analysis.scoring.comparisons import Network, Pair, compare, networks, of_networks, one_decision
from analysis.scoring.differences import Difference, difference_record, difference_text, speaker_text
from analysis.tables.listings import Group, Listing, ListingRow, Record, chain_name, treatment_order
from analysis.tables.paper_tables import (
    METRICS,
    PAPER_METRICS,
    About,
    Footnote,
    conditions,
    corpus_name,
    setup_record,
    setup_texts,
    source_name,
    source_order,
)
from dsl.labels import LEAKY_LABEL_SOURCES

SOURCES_COMPARED = "Label sources compared"
Line = dict[Hashable, Any]
_CAPTION = (
    "with the first label source minus that with the second, in points, [95% paired bootstrap interval], and p of "
    "McNemar's exact test of WA, adjusted by Holm's method for all of the table. By speaker: the same difference's "
    "interval over whole speakers, and p of a sign-flip test over them, not adjusted."
)
_INCOMPLETE = "Differences marked (incomplete) are of the utterances that both have, with folds missing."


def sources_listings(decisions: pd.DataFrame) -> list[Listing]:
    """A listing for each corpus, split and kind of labels that more than one label source was used with.

    `decisions` is what `decide` returns.
    """
    decision, decided = one_decision(decisions)
    conditions_of: dict[tuple[str, str, str], list[Network]] = {}
    for network in networks(decided):
        if network.treatment.iteration:
            conditions_of.setdefault(network[:3], []).append(network)
    found = [_listing(decision, decided, known) for known in conditions_of.values()]
    return [listing for listing in found if listing.rows]


def _listing(decision: str, decisions: pd.DataFrame, known: list[Network]) -> Listing:
    sources = source_order({network.label_source for network in known})
    pairs = [
        Pair(network._replace(label_source=first), network)
        for second, first in combinations(sources, 2)
        for network in known
        if network.label_source == second and network._replace(label_source=first) in known
    ]
    lines: dict[Treatment, list[Line]] = {}
    for line in compare(decisions, pairs).to_dict("records"):
        lines.setdefault(Treatment.of(line), []).append(line)
    trained = {network: _trained(own) for network, own in of_networks(decisions).items() if network in known}
    of_treatment = {network.treatment: one for network, one in trained.items()}
    rows = [
        _row(treatment, lines[treatment], setup_record(*of_treatment[treatment]))
        for treatment in sorted(lines, key=treatment_order)
    ]
    corpus, split, labels = known[0][:3]
    incomplete = any(not line[columns.COMPLETE] for own in lines.values() for line in own)
    return Listing(
        SOURCES_COMPARED,
        f"{corpus_name(corpus)}. {conditions('', split, labels)} Rate by {columns.DECISION_NAMES[decision]} {_CAPTION}",
        "Network",
        tuple(
            Group(_name(first, second), (*PAPER_METRICS, "WA by speaker")) for second, first in combinations(sources, 2)
        ),
        tuple(rows),
        tuple(Footnote("", text) for text in [*[_INCOMPLETE] * incomplete, *setup_texts(corpus, trained.values())]),
        About.named(corpus=corpus, split=split, labels=labels),
    )


def _trained(decisions: pd.DataFrame) -> tuple[Setup, int]:
    """How a network was trained, and with how many seeds."""
    return decisions[columns.SETUP].iloc[0], int(decisions[columns.SEEDS].max())


def _name(first: str, second: str) -> str:
    return f"{source_name(first)} − {second}"


def _row(treatment: Treatment, lines: list[Line], setup: Record) -> ListingRow:
    name = f"{chain_name(treatment)}, t = {treatment.iteration}"
    texts = {
        _name(line[columns.LABEL_SOURCE], line[columns.SECOND + columns.LABEL_SOURCE]): _texts(line) for line in lines
    }
    records = tuple(record for line in lines for record in _records(name, treatment, line, setup))
    return ListingRow(RowLabel(name), texts, records, treatment.backbone)


def _texts(line: Line) -> list[str]:
    differences = [Difference.of(line, metric) for metric in PAPER_METRICS]
    return [*map(difference_text, differences), speaker_text(differences[0])]


def _records(name: str, treatment: Treatment, line: Line, setup: Record) -> Iterator[Record]:
    for metric in METRICS:
        yield {
            "table": SOURCES_COMPARED,
            "labels": line[columns.LABELS],
            "backbone": treatment.backbone,
            "label_source": line[columns.LABEL_SOURCE],
            "leaky": line[columns.LABEL_SOURCE] in LEAKY_LABEL_SOURCES,
            "split": line[columns.SPLIT],
            "row": name,
            "rule": treatment.rule,
            "alpha": treatment.alpha,
            "iteration": treatment.iteration,
            "corpus": line[columns.CORPUS],
            "metric": metric,
            "partial": line[columns.PARTIAL],
            "other_source": line[columns.SECOND + columns.LABEL_SOURCE],
            **difference_record("source_difference", Difference.of(line, metric)),
            **setup,
        }
