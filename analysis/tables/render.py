"""Tables in formats: Markdown, CSV and JSON. What they say is decided where they are built."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from analysis import columns
from analysis.columns import METRICS
from analysis.tables.blocks import TextTable, as_texts
from analysis.tables.entries import Entry, recall_entries, score_entry
from analysis.tables.listings import Listing
from analysis.tables.paper_tables import Row, Scored, Table

_CELL_FIELDS = (
    *("forest", "forest_sd_forest_seeds", "forest_sd_training_seeds"),
    *("forest_low", "forest_high", "forest_speaker_low", "forest_speaker_high"),
    *("mean_pooling", "mean_pooling_sd_training_seeds", "mean_pooling_low", "mean_pooling_high"),
    *("mean_pooling_speaker_low", "mean_pooling_speaker_high", "intervals"),
    *("published", "published_backbone", "difference"),
    *("folds_done", "folds", "utterances", "partial", "setup", "departures", "note"),
)
_RECALL_FIELDS = ("class", "forest", "mean_pooling")
_LISTED_FIELDS = (
    *("baseline_difference", "baseline_difference_low", "baseline_difference_high"),
    *("baseline_difference_speaker_low", "baseline_difference_speaker_high"),
    *("p", "p_holm", "p_speaker"),
    *("iterations_chosen", "validation_wa", "value", "value_sd"),
    *("other_source", "source_difference", "source_difference_low", "source_difference_high"),
    *("source_difference_speaker_low", "source_difference_speaker_high"),
    "speaker",
)
_KEYS = ("table", "labels", "backbone", "label_source", "leaky", "split")
_ROW_KEYS = ("row", "rule", "alpha", "iteration", "corpus", "metric", "class")
CSV_COLUMNS = (*_KEYS, *_ROW_KEYS, *_CELL_FIELDS, *_LISTED_FIELDS)


def to_markdown(tables: Sequence[Table | Listing]) -> str:
    """Each table as aligned Markdown, block by block so that lines fit a terminal."""
    return "\n".join(map(_markdown, as_texts(tables)))


def to_csv(tables: Sequence[Table | Listing]) -> str:
    """One line per table, row, corpus and metric under CSV_COLUMNS; rates in percent, missing ones empty.

    The recall of each class is a metric of its own, `recall anger`. Of a grid with several settings, the fields in
    which they differ follow as columns, with the standard deviation of rates on validation utterances.
    """
    text = io.StringIO()
    entries = [{**table.setting, **entry} for table in tables for entry in _entries(table)]
    others = dict.fromkeys(key for entry in entries for key in entry if key not in CSV_COLUMNS)
    writer = csv.DictWriter(text, (*CSV_COLUMNS, *others), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**entry, "departures": "; ".join(entry.get("departures") or ())} for entry in entries)
    return text.getvalue()


def to_json(tables: Sequence[Table | Listing]) -> str:
    """An object `{tables: [{number, caption, ..., rows: [{row, cells: {corpus: {WA: {...}, recall: [...]}}}]}]}`.

    A table that the paper does not have, and Table I, has a list `records` instead of rows, each with what it knows of
    CSV_COLUMNS. Rates are in percent, missing ones null.
    """
    listed = [_json_table(one) for one in tables]
    return json.dumps({"tables": listed}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _entries(table: Table | Listing) -> Iterator[Entry]:
    if isinstance(table, Listing):
        yield from (entry for row in table.rows for entry in row.entries)
        return
    for row in table.rows:
        about = {
            "table": table.number,
            "labels": table.labels,
            "backbone": table.backbone or row.backbone,
            "label_source": table.label_source,
            "leaky": row.label.leaky,
            "split": table.split,
            "row": str(row.label),
        }
        for corpus in table.corpora:
            for metric, cell in zip(METRICS, row.of_corpus(corpus), strict=True):
                yield {**about, "corpus": corpus, "metric": metric, **_cell_entry(cell)}
            for entry in _recall_entries(row, corpus):
                yield {**about, "corpus": corpus, **entry}


def _recall_entries(row: Row, corpus: str) -> Iterator[Entry]:
    cell = row.of_corpus(corpus)[0]  # WA and UA are of the same decisions
    return recall_entries(cell.forest, cell.mean_pooling)


def _markdown(table: TextTable) -> str:
    parts = [f"**{_escape_markdown(table.heading)}.** {_escape_markdown(table.caption)}\n"]
    for block in table.blocks:
        lines = aligned([[one.text for one in block.head], *(line.texts for line in block.lines)])
        parts.append(f"{_escape_markdown(block.heading)}\n\n{lines}".lstrip("\n"))
    if table.footnotes:
        parts.append("".join(f"- {_escape_markdown(footnote.marked)}\n" for footnote in table.footnotes))
    return "\n".join(parts)


def aligned(lines: list[list[str]]) -> str:
    """A Markdown table, its first column flush left, the others flush right; `lines[0]` is the head."""
    escaped = [[_escape_markdown(text) for text in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*escaped, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [
            line[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)),
        ]
        for line in escaped
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in [padded[0], rule, *padded[1:]])


def _escape_markdown(text: str) -> str:
    """Escapes what Markdown would read as markup; an underscore inside a word is none."""
    return re.sub(r"([\\|*`<>~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))


def _json_table(table: Table | Listing) -> dict[str, Any]:
    own: dict[str, Any]
    if isinstance(table, Listing):
        own = {"records": list(_entries(table))}
    else:
        own = {name: getattr(table, name) for name in ("backbone", "label_source", "split", "labels")}
        own["rows"] = [{"row": str(row.label), "cells": _json_cells(table, row)} for row in table.rows]
    return {
        "number": table.title if isinstance(table, Listing) else table.number,
        "caption": table.caption,
        **own,
        "footnotes": [{"mark": footnote.mark, "text": footnote.text} for footnote in table.footnotes],
        **({"setting": dict(table.setting)} if table.setting else {}),
    }


def _json_cells(table: Table, row: Row) -> dict[str, dict[str, Any]]:
    return {
        corpus: {
            **{metric: _cell_entry(cell) for metric, cell in zip(METRICS, row.of_corpus(corpus), strict=True)},
            columns.RECALL: [
                {name: entry.get(name) for name in _RECALL_FIELDS} for entry in _recall_entries(row, corpus)
            ],
        }
        for corpus in table.corpora
    }


def _cell_entry(cell: Scored) -> Entry:
    """A cell's values for machines: percent to four decimals, None where there is none."""
    entry: Entry = dict.fromkeys(_CELL_FIELDS) | score_entry(cell.forest, cell.mean_pooling)
    if cell.published:
        published = cell.published
        entry |= {"published": published.value, "published_backbone": published.backbone or None}
        entry |= {"note": published.note or None}
    if cell.difference is not None:
        entry |= {"difference": round(cell.difference, 4)}
    return entry
