"""Tables as text: Markdown, CSV and JSON, and blocks of texts for other formats.

What they say is decided where they are built.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from analysis import columns
from analysis.paper.layouts import RowLabel
from analysis.scoring.formats import MISSING, score_text, signed
from analysis.tables.listings import Group, Listing, Record, group_heading
from analysis.tables.paper_tables import (
    METRICS,
    PAPER_METRICS,
    About,
    Cell,
    Footnote,
    Row,
    Table,
    corpus_name,
    recall_records,
    score_record,
)
from dsl.labels import LEAKY_LABEL_SOURCES

_OURS = ("forest", "mean")
_PLAIN = "0123456789abcdefghijklmnop"  # iterations, and marks of footnotes
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"
_SUPERSCRIPT = str.maketrans(_PLAIN, _RAISED)
_CELL_FIELDS = (
    *("forest", "forest_sd_forest_seeds", "forest_sd_training_seeds"),
    *("forest_low", "forest_high", "forest_speaker_low", "forest_speaker_high"),
    *("mean_pooling", "mean_pooling_sd_training_seeds", "mean_pooling_low", "mean_pooling_high"),
    *("mean_pooling_speaker_low", "mean_pooling_speaker_high"),
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
)
_KEYS = ("table", "labels", "backbone", "label_source", "leaky", "split")
_ROW_KEYS = ("row", "rule", "alpha", "iteration", "corpus", "metric", "class")
CSV_COLUMNS = (*_KEYS, *_ROW_KEYS, *_CELL_FIELDS, *_LISTED_FIELDS)


@dataclass(frozen=True)
class Line:
    """A row as texts; the first is its name."""

    texts: tuple[str, ...]
    leaky: bool = False  # whether its networks saw test labels
    backbone: str = ""


@dataclass(frozen=True)
class Block:
    """The rows of one corpus or label source: a table narrow enough to be read by itself."""

    heading: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    leaky: bool = False


@dataclass(frozen=True)
class TextTable:
    """A table as text, for formats that show it block by block. `apart` tells it from others of its title."""

    title: str
    apart: tuple[str, ...]
    caption: str
    blocks: tuple[Block, ...]
    footnotes: tuple[str, ...]
    leaky: bool = False  # whether it is of a label source that leaks

    @property
    def heading(self) -> str:
        """`Table II, label source in_fold, speaker split`."""
        return ", ".join([self.title, *self.apart])


def as_texts(tables: Sequence[Table | Listing]) -> list[TextTable]:
    """The texts of tables, one block of rows per corpus or label source so that lines are short."""
    apart = told_apart([(title_of(table), table.about) for table in tables])
    return [_as_text(table, own) for table, own in zip(tables, apart, strict=True)]


def told_apart(tables: Sequence[tuple[str, About]]) -> list[tuple[str, ...]]:
    """What tells each table from the others of its title."""
    alike: dict[str, list[About]] = {}
    for title, about in tables:
        alike.setdefault(title, []).append(about)
    return [about.unlike(alike[title]) for title, about in tables]


def title_of(table: Table | Listing) -> str:
    return table.title if isinstance(table, Listing) else f"Table {table.number}"


def _as_text(table: Table | Listing, apart: tuple[str, ...]) -> TextTable:
    footnotes = tuple(map(_footnote_text, table.footnotes))
    if isinstance(table, Listing):
        groups = tuple(_listing_block(table, group) for group in table.groups)
        return TextTable(title_of(table), apart, table.caption, groups, footnotes)
    blocks = tuple(_corpus_block(table, corpus) for corpus in table.corpora)
    leaky = table.label_source in LEAKY_LABEL_SOURCES
    return TextTable(title_of(table), apart, table.caption, blocks, footnotes, leaky)


def _corpus_block(table: Table, corpus: str) -> Block:
    headings = [f"{metric} {group}" for group in _column_groups(table, corpus) for metric in _metrics_of(group)]
    lines = [
        Line((_label_text(row.label), *_corpus_texts(table, row, corpus)), row.label.leaky, row.backbone)
        for row in table.rows
        if row.shows(corpus)
    ]
    return Block(corpus_name(corpus), (table.row_heading, *headings), tuple(lines))


def _listing_block(listing: Listing, group: Group) -> Block:
    lines = [
        Line((_label_text(row.label), *row.texts[group.name]), row.label.leaky, row.backbone)
        for row in listing.rows
        if group.name in row.texts
    ]
    leaky = any(word in LEAKY_LABEL_SOURCES for word in group.name.split())
    return Block(group_heading(group), (listing.row_heading, *group.headings), tuple(lines), leaky)


def to_markdown(tables: Sequence[Table | Listing]) -> str:
    """Each table as aligned Markdown, block by block so that lines fit a terminal."""
    return "\n".join(map(_markdown, as_texts(tables)))


def to_csv(tables: Sequence[Table | Listing]) -> str:
    """One line per table, row, corpus and metric under CSV_COLUMNS; rates in percent, missing ones empty.

    The recall of each class is a metric of its own, `recall anger`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        records = _listed_records(table) if isinstance(table, Listing) else _records(table)
        writer.writerows({**record, "departures": "; ".join(record.get("departures") or ())} for record in records)
    return text.getvalue()


def to_json(tables: Sequence[Table | Listing]) -> str:
    """An object `{tables: [{number, caption, ..., rows: [{row, cells: {corpus: {WA: {...}, recall: [...]}}}]}]}`.

    A table that the paper does not have, and Table I, has a list `records` instead of rows, each with what it knows of
    CSV_COLUMNS. Rates are in percent, missing ones null.
    """
    listed = [_json_listing(one) if isinstance(one, Listing) else _json_table(one) for one in tables]
    return json.dumps({"tables": listed}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _listed_records(listing: Listing) -> list[Record]:
    return [record for row in listing.rows for record in row.records]


def _records(table: Table) -> Iterator[Record]:
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
                yield {**about, "corpus": corpus, "metric": metric, **_cell_record(cell)}
            for record in _recalls(row, corpus):
                yield {**about, "corpus": corpus, **record}


def _recalls(row: Row, corpus: str) -> Iterator[Record]:
    cell = row.of_corpus(corpus)[0]  # WA and UA are of the same decisions
    return recall_records(cell.forest, cell.mean_pooling)


def _label_text(label: RowLabel) -> str:
    iteration = "" if label.iteration is None else str(label.iteration).translate(_SUPERSCRIPT)
    return f"{label.name}{iteration}{' (leaky)' if label.leaky else ''}"


def _footnote_text(footnote: Footnote) -> str:
    return f"{footnote.mark.translate(_SUPERSCRIPT)} {footnote.text}".strip()


def _cell_text(table: Table, cell: Cell, group: str) -> str:
    if group == "forest":
        return score_text(cell.forest, spread=True)
    if group == "mean":
        return score_text(cell.mean_pooling, interval=False)
    if group == "paper" and cell.published is not None:
        return f"{cell.published.value:.2f}{table.mark(cell).translate(_SUPERSCRIPT)}"
    if group == "− paper" and cell.difference is not None:
        return signed(cell.difference)
    return MISSING


def _column_groups(table: Table, corpus: str) -> tuple[str, ...]:
    paper = ("paper",) if table.has_published(corpus) else ()
    return (*_OURS, *paper, *(("− paper",) if table.has_difference(corpus) else ()))


def _corpus_texts(table: Table, row: Row, corpus: str) -> list[str]:
    """What a row shows of a corpus: the metrics of each column group."""
    groups = _column_groups(table, corpus)
    return [_cell_text(table, row.cells[corpus, metric], group) for group in groups for metric in _metrics_of(group)]


def _metrics_of(group: str) -> tuple[str, ...]:
    """Of the forest all; F1 by mean pooling is in CSV and JSON, for a page is only so wide."""
    return METRICS if group == "forest" else PAPER_METRICS


def _markdown(table: TextTable) -> str:
    parts = [f"**{_escape_markdown(table.heading)}.** {_escape_markdown(table.caption)}\n"]
    for block in table.blocks:
        lines = aligned([list(block.head), *(list(line.texts) for line in block.lines)])
        parts.append(f"{_escape_markdown(block.heading)}\n\n{lines}".lstrip("\n"))
    if table.footnotes:
        parts.append("".join(f"- {_escape_markdown(footnote)}\n" for footnote in table.footnotes))
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


def _json_table(table: Table) -> dict[str, Any]:
    return {
        "number": table.number,
        "caption": table.caption,
        "backbone": table.backbone,
        "label_source": table.label_source,
        "split": table.split,
        "labels": table.labels,
        "rows": [{"row": str(row.label), "cells": _json_cells(table, row)} for row in table.rows],
        "footnotes": [{"mark": footnote.mark, "text": footnote.text} for footnote in table.footnotes],
    }


def _json_listing(listing: Listing) -> dict[str, Any]:
    return {
        "number": listing.title,
        "caption": listing.caption,
        "records": _listed_records(listing),
        "footnotes": [{"mark": footnote.mark, "text": footnote.text} for footnote in listing.footnotes],
    }


def _json_cells(table: Table, row: Row) -> dict[str, dict[str, Any]]:
    return {
        corpus: {
            **{metric: _cell_record(cell) for metric, cell in zip(METRICS, row.of_corpus(corpus), strict=True)},
            columns.RECALL: [{name: record.get(name) for name in _RECALL_FIELDS} for record in _recalls(row, corpus)],
        }
        for corpus in table.corpora
    }


def _cell_record(cell: Cell) -> Record:
    """A cell's values for machines: percent to four decimals, None where there is none."""
    record: Record = dict.fromkeys(_CELL_FIELDS) | score_record(cell.forest, cell.mean_pooling)
    if cell.published:
        published = cell.published
        record |= {"published": published.value, "published_backbone": published.backbone or None}
        record |= {"note": published.note or None}
    if cell.difference is not None:
        record |= {"difference": round(cell.difference, 4)}
    return record
