"""How many training targets are right, by iteration, as a listing."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis import columns
from analysis.identity import (
    Condition,
    Treatment,
    chain_name,
    corpus_name,
    iterations_of,
    last_of_chains,
    source_order,
    updates_of,
)
from analysis.paper.layouts import RowLabel
from analysis.tables.captions import OF_TARGETS, Caption, conditions_text, setup_footnotes
from analysis.tables.cells import RateCell, TableCell, TextCell
from analysis.tables.entries import Entry, setup_entry
from analysis.tables.listings import Group, Heading, Listing, ListingRow
from dsl.labels import LEAKY_LABEL_SOURCES

CORRECTION = "Targets that are right"


def correction_listings(corrected: pd.DataFrame) -> list[Listing]:
    """How many training targets are right, by iteration; `corrected` is what `label_correction` returns.

    One listing for each corpus, split and kind of labels.
    """
    keys = [columns.CORPUS, columns.SPLIT, columns.LABELS]
    found = [_correction_listing(Condition(*map(str, key)), lines) for key, lines in corrected.groupby(keys)]
    return [listing for listing in found if listing.rows]


def _correction_listing(condition: Condition, lines: pd.DataFrame) -> Listing:
    found = {(line[columns.LABEL_SOURCE], Treatment.of(line)): line for line in lines.to_dict("records")}
    sources = source_order(lines[columns.LABEL_SOURCE])
    last = int(lines[columns.ITERATION].max())
    updates = updates_of(lines)
    rows = []
    for chain in last_of_chains(updates):
        inherited, *later = iterations_of(chain, updates[chain])
        cells: dict[str, list[TableCell]] = {}
        entries: list[Entry] = []
        for source in sources:
            if not any((source, one) in found for one in later):
                continue
            shares = [found.get(("", inherited)), *(found.get((source, one)) for one in later)]
            cells[source] = [*map(_share_cell, shares), *[TextCell()] * (last - chain.iteration)]
            entries += [_share_entry(chain, source, share) for share in shares if share is not None]
        rows.append(ListingRow(RowLabel(chain_name(chain)), cells, tuple(entries), chain.backbone))
    caption = Caption.filled(corpus_name(condition.corpus), OF_TARGETS, conditions=conditions_text(condition))
    headings = [Heading(name) for name in ("inherited", *(f"t = {iteration}" for iteration in range(1, last + 1)))]
    groups = tuple(Group.of_source(source, headings) for source in sources)
    trained = zip(lines[columns.SETUP], lines[columns.SEEDS], strict=True)
    notes = tuple(setup_footnotes(condition.corpus, trained))
    return Listing(CORRECTION, caption, "Chain", groups, tuple(rows), notes, condition)


def _share_cell(line: Mapping[Any, Any] | None) -> TableCell:
    if line is None:
        return TextCell()
    folds = line[columns.FOLDS_DONE], line[columns.FOLDS]
    return RateCell(line[columns.TARGETS_RIGHT], (line[columns.TARGETS_RIGHT_SD],), folds=folds)


def _share_entry(chain: Treatment, source: str, line: Mapping[Any, Any]) -> Entry:
    deviation = line[columns.TARGETS_RIGHT_SD]
    return {
        "table": CORRECTION,
        "labels": line[columns.LABELS],
        "backbone": chain.backbone,
        "label_source": source,
        "leaky": source in LEAKY_LABEL_SOURCES,
        "split": line[columns.SPLIT],
        "row": chain_name(chain),
        "iteration": line[columns.ITERATION],
        "corpus": line[columns.CORPUS],
        "metric": columns.TARGETS_RIGHT,
        "value": round(line[columns.TARGETS_RIGHT], 4),
        "value_sd": None if deviation != deviation else round(deviation, 4),
        "folds_done": line[columns.FOLDS_DONE],
        "folds": line[columns.FOLDS],
        "partial": line[columns.PARTIAL],
        **setup_entry(line[columns.SETUP], line[columns.SEEDS]),
    }
