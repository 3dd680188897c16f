"""The settings of a grid against one of them: what a network gains or loses at each, on the same utterances."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import columns
from analysis.columns import METRICS
from analysis.identity import Condition, Network, corpus_name, network_name
from analysis.paper.layouts import RowLabel
from analysis.scoring.comparisons import Pair, comparison, holm_within
from analysis.scoring.differences import Difference, difference_entry
from analysis.scoring.ranking import BySetting, Candidate
from analysis.tables.captions import (
    OF_SETTINGS_COMPARED,
    REFERENCE,
    Caption,
    Footnote,
    conditions_text,
    decided_by,
    difference_footnotes,
    setup_notes,
)
from analysis.tables.cells import TextCell, difference_cells
from analysis.tables.entries import Entry, candidate_entry, setup_entry
from analysis.tables.listings import Group, Heading, Listing, ListingRow, difference_headings
from sweep.planning.settings import Setting

SETTINGS_COMPARED = "Settings compared"
Compared = dict[Any, Any]  # a line of `comparison`


def compared_listings(by: BySetting) -> list[Listing]:
    """Every network at every setting minus the same network at the one shown: a listing for each corpus, split and kind
    of labels of which there is anything to compare."""
    against = {(one.network, one.decision): one for one in by.candidates if one.setting == by.shown}
    of_condition: dict[Condition, list[tuple[Candidate, Compared]]] = {}
    for one in by.candidates:
        other = against.get((one.network, one.decision))
        if other is None or other is one:
            continue
        decided = (each.decisions[each.decisions[columns.DECISION] == one.decision] for each in (one, other))
        line = comparison(Pair(one.network, other.network), one.decision, *decided)
        if line is not None:
            of_condition.setdefault(one.network.condition, []).append((one, line))
    references = {network: one for (network, _), one in against.items()}
    return [_listing(condition, own, by, references) for condition, own in of_condition.items()]


def _listing(
    condition: Condition,
    compared: Sequence[tuple[Candidate, Compared]],
    by: BySetting,
    references: Mapping[Network, Candidate],
) -> Listing:
    lines = pd.DataFrame([line for _, line in compared])
    lines[columns.P_HOLM] = holm_within([columns.DECISION], lines)
    intervals = str(lines[columns.INTERVALS].iloc[0])
    caption = Caption.filled(
        corpus_name(condition.corpus),
        OF_SETTINGS_COMPARED,
        intervals,
        conditions=conditions_text(condition),
        decision=decided_by(set(lines[columns.DECISION])),
    )
    rows = tuple(_row(one, line, by.shown) for (one, _), line in zip(compared, lines.to_dict("records"), strict=True))
    headings = (Heading("changed"), *difference_headings(intervals))
    scores = [each.score for one, _ in compared for each in (references[one.network], one)]
    notes = (
        Footnote("", REFERENCE.format(setting=by.shown_text)),
        *difference_footnotes(lines),
        *setup_notes(condition.corpus, scores, fields=by.fields),
    )
    return Listing(SETTINGS_COMPARED, caption, "Network", (Group("", headings),), rows, notes, condition)


def _row(one: Candidate, line: Compared, shown: Setting) -> ListingRow:
    label = RowLabel(network_name(one.network), leaky=one.is_leaky)
    cells = [TextCell(one.setting.beside(shown).text), *difference_cells(line)]
    entries = tuple(_entries(str(label), one, line))
    return ListingRow(label, {"": cells}, entries, one.network.treatment.backbone)


def _entries(name: str, one: Candidate, line: Mapping[Any, Any]) -> Iterator[Entry]:
    for metric in METRICS:
        yield {
            **candidate_entry(SETTINGS_COMPARED, name, one),
            "metric": metric,
            "partial": line[columns.PARTIAL],
            "intervals": line[columns.INTERVALS],
            **difference_entry("setting_difference", Difference.of(line, metric)),
            **setup_entry(one.score.setup, one.score.seeds),
        }
