"""Label sources side by side: what a rule gains from one of them over another, on the same utterances."""

from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import Any

import pandas as pd

from analysis import columns
from analysis.columns import METRICS
from analysis.identity import (
    Condition,
    Network,
    Treatment,
    corpus_name,
    source_name,
    source_order,
    treatment_name,
    treatment_order,
)
from analysis.paper.layouts import RowLabel
from analysis.scoring.comparisons import Pair, compare, networks, of_networks, one_decision
from analysis.scoring.differences import Difference, difference_entry
from analysis.scoring.setup import Setup
from analysis.tables.captions import (
    OF_SOURCES_COMPARED,
    Caption,
    conditions_text,
    difference_footnotes,
    setup_footnotes,
)
from analysis.tables.cells import difference_cells
from analysis.tables.entries import Entry, setup_entry
from analysis.tables.listings import Group, Listing, ListingRow, difference_headings
from dsl.labels import LEAKY_LABEL_SOURCES

SOURCES_COMPARED = "Label sources compared"
Compared = dict[Hashable, Any]  # a line of `compare`


def sources_listings(decisions: pd.DataFrame) -> list[Listing]:
    """A listing for each corpus, split and kind of labels that more than one label source was used with.

    `decisions` is what `decide` returns.
    """
    decision, decided = one_decision(decisions)
    of_condition: dict[Condition, list[Network]] = {}
    for network in networks(decided):
        if network.treatment.iteration:
            of_condition.setdefault(network.condition, []).append(network)
    found = [_listing(condition, decision, decided, known) for condition, known in of_condition.items()]
    return [listing for listing in found if listing.rows]


def _listing(condition: Condition, decision: str, decisions: pd.DataFrame, known: list[Network]) -> Listing:
    sources = source_order({network.label_source for network in known})
    pairs = [
        Pair(network._replace(label_source=first), network)
        for second, first in combinations(sources, 2)
        for network in known
        if network.label_source == second and network._replace(label_source=first) in known
    ]
    compared = compare(decisions, pairs)
    lines: dict[Treatment, list[Compared]] = {}
    for line in compared.to_dict("records"):
        lines.setdefault(Treatment.of(line), []).append(line)
    trained = {network: _trained(own) for network, own in of_networks(decisions).items() if network in known}
    of_treatment = {network.treatment: one for network, one in trained.items()}
    rows = [
        _row(treatment, lines[treatment], setup_entry(*of_treatment[treatment]))
        for treatment in sorted(lines, key=treatment_order)
    ]
    intervals = str(decisions[columns.INTERVALS].iloc[0])
    caption = Caption.filled(
        corpus_name(condition.corpus),
        OF_SOURCES_COMPARED,
        intervals,
        conditions=conditions_text(condition),
        decision=columns.DECISION_NAMES[decision],
    )
    return Listing(
        SOURCES_COMPARED,
        caption,
        "Network",
        tuple(_group(first, second, intervals) for second, first in combinations(sources, 2)),
        tuple(rows),
        (*difference_footnotes(compared), *setup_footnotes(condition.corpus, trained.values())),
        condition,
    )


def _trained(decisions: pd.DataFrame) -> tuple[Setup, int]:
    """How a network was trained, and with how many seeds."""
    return decisions[columns.SETUP].iloc[0], int(decisions[columns.SEEDS].max())


def _name(first: str, second: str) -> str:
    return f"{first} − {second}"


def _group(first: str, second: str, intervals: str) -> Group:
    leaky = bool({first, second} & set(LEAKY_LABEL_SOURCES))
    return Group(_name(first, second), tuple(difference_headings(intervals)), _name(source_name(first), second), leaky)


def _row(treatment: Treatment, lines: list[Compared], setup: Entry) -> ListingRow:
    name = treatment_name(treatment)
    cells = {
        _name(line[columns.LABEL_SOURCE], line[columns.SECOND + columns.LABEL_SOURCE]): difference_cells(line)
        for line in lines
    }
    entries = tuple(entry for line in lines for entry in _entries(name, treatment, line, setup))
    return ListingRow(RowLabel(name), cells, entries, treatment.backbone)


def _entries(name: str, treatment: Treatment, line: Compared, setup: Entry) -> Iterator[Entry]:
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
            "intervals": line[columns.INTERVALS],
            **difference_entry("source_difference", Difference.of(line, metric)),
            **setup,
        }
