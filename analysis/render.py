"""Tables as text: Markdown, LaTeX, CSV and JSON. What they say is decided in `analysis.tables`."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from analysis.layouts import RowLabel
from analysis.tables import METRICS, Cell, Footnote, Row, Table, corpus_name

_COLUMN_GROUPS = ("forest", "mean pooling", "published")
_MISSING = "—"
_PLAIN = "0123456789abcdefghijklmnop"  # iterations, and marks of footnotes
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"
_SUPERSCRIPT = str.maketrans(_PLAIN, _RAISED)
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"[": "{[}", "]": "{]}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"—": "---", "±": r"$\pm$", "α": r"$\alpha$"}
    | {raised: f"$^{{{plain}}}$" for plain, raised in zip(_PLAIN, _RAISED, strict=True)}
)
_CELL_FIELDS = (
    *("forest", "forest_sd", "mean_pooling", "published", "published_backbone"),
    *("difference", "folds_done", "folds", "note"),
)
_CSV_COLUMNS = ("table", "backbone", "label_source", "split", "row", "corpus", "metric", *_CELL_FIELDS)


def to_markdown(tables: Sequence[Table]) -> str:
    """Each table as aligned Markdown, one block of rows per corpus so that lines fit a terminal."""
    return "\n".join(_markdown_table(table) for table in tables)


def to_latex(tables: Sequence[Table]) -> str:
    """Each table as a `table*` environment in the paper's layout; needs packages booktabs and graphicx."""
    return "\n".join(_latex_table(table) for table in tables)


def to_csv(tables: Sequence[Table]) -> str:
    """One line per table, row, corpus and metric; rates in percent, missing ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for (corpus, metric), cell in row.cells.items():
                keys = {
                    "table": table.number,
                    "backbone": table.backbone or row.backbone,
                    "label_source": table.label_source,
                    "split": table.split,
                    "row": str(row.label),
                    "corpus": corpus,
                    "metric": metric,
                }
                writer.writerow(keys | _cell_record(cell))
    return text.getvalue()


def to_json(tables: Sequence[Table]) -> str:
    """An object `{tables: [{number, caption, ..., rows: [{row, cells: {corpus: {WA: {...}}}}]}]}`.

    Rates are in percent, missing ones null.
    """
    return json.dumps({"tables": [_json_table(table) for table in tables]}, indent=2, ensure_ascii=False) + "\n"


def _label_text(label: RowLabel) -> str:
    return label.name if label.iteration is None else label.name + str(label.iteration).translate(_SUPERSCRIPT)


def _footnote_text(footnote: Footnote) -> str:
    return f"{footnote.mark.translate(_SUPERSCRIPT)} {footnote.text}".strip()


def _cell_text(table: Table, cell: Cell, group: str) -> str:
    if group == "published":
        if cell.published is None:
            return _MISSING
        return f"{cell.published.value:.2f}{table.mark(cell).translate(_SUPERSCRIPT)}"
    score = cell.forest if group == "forest" else cell.mean_pooling
    if score is None:
        return _MISSING
    spread = f" ± {score.spread:.2f}" if group == "forest" else ""
    folds = "" if score.complete else f" ({score.folds_done}/{score.folds} folds)"
    return f"{score.value:.2f}{spread}{folds}"


def _column_groups(table: Table, corpus: str) -> tuple[str, ...]:
    return _COLUMN_GROUPS if table.has_published(corpus) else _COLUMN_GROUPS[:-1]


def _corpus_texts(table: Table, row: Row, corpus: str) -> list[str]:
    """What a row shows of a corpus: WA and UA of each column group."""
    groups = _column_groups(table, corpus)
    return [_cell_text(table, row.cells[corpus, metric], group) for group in groups for metric in METRICS]


def _markdown_table(table: Table) -> str:
    parts = [f"**Table {table.number}.** {_escape_markdown(table.caption)}\n"]
    for corpus in table.corpora:
        headings = [f"{metric} {group}" for group in _column_groups(table, corpus) for metric in METRICS]
        lines = [[table.row_heading, *headings]]
        rows = [row for row in table.rows if row.shows(corpus)]
        lines += [[_label_text(row.label), *_corpus_texts(table, row, corpus)] for row in rows]
        parts.append(f"{_escape_markdown(corpus_name(corpus))}\n\n{_aligned(lines)}")
    if table.footnotes:
        parts.append("".join(f"- {_escape_markdown(_footnote_text(footnote))}\n" for footnote in table.footnotes))
    return "\n".join(parts)


def _aligned(lines: list[list[str]]) -> str:
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


def _latex_table(table: Table) -> str:
    columns = [2 * len(_column_groups(table, corpus)) for corpus in table.corpora]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{_escape_latex(f'Table {table.number} of the paper. {table.caption}')}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * sum(columns)}}}",
        r"\toprule",
        *_latex_head(table, columns),
        *_latex_rows(table),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    for footnote in table.footnotes:
        lines.append(rf"\par\smallskip{{\footnotesize {_escape_latex(_footnote_text(footnote))}}}")
    return "\n".join([*lines, r"\end{table*}", ""])


def _latex_head(table: Table, columns: list[int]) -> list[str]:
    """Three lines - corpora, column groups, metrics - with a rule under each corpus."""
    corpora, rules, groups = [""], [], [""]
    start = 2
    for corpus, width in zip(table.corpora, columns, strict=True):
        corpora.append(rf"\multicolumn{{{width}}}{{c}}{{{_escape_latex(corpus_name(corpus))}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        groups += [rf"\multicolumn{{2}}{{c}}{{{name.capitalize()}}}" for name in _column_groups(table, corpus)]
        start += width
    metrics = [_escape_latex(table.row_heading), *METRICS * (sum(columns) // 2)]
    heads = [" & ".join(texts) + r" \\" for texts in (corpora, groups, metrics)]
    return [heads[0], " ".join(rules), *heads[1:]]


def _latex_rows(table: Table) -> Iterator[str]:
    """The rows, with a rule wherever the backbone changes."""
    previous = None
    for row in table.rows:
        if row.backbone != previous:
            yield r"\midrule"
        previous = row.backbone
        texts = [text for corpus in table.corpora for text in _corpus_texts(table, row, corpus)]
        yield " & ".join(_escape_latex(text) for text in [_label_text(row.label), *texts]) + r" \\"


def _escape_latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)


def _json_table(table: Table) -> dict[str, Any]:
    return {
        "number": table.number,
        "caption": table.caption,
        "backbone": table.backbone,
        "label_source": table.label_source,
        "split": table.split,
        "rows": [{"row": str(row.label), "cells": _json_cells(row)} for row in table.rows],
        "footnotes": [{"mark": footnote.mark, "text": footnote.text} for footnote in table.footnotes],
    }


def _json_cells(row: Row) -> dict[str, dict[str, dict[str, Any]]]:
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for (corpus, metric), cell in row.cells.items():
        cells.setdefault(corpus, {})[metric] = _cell_record(cell)
    return cells


def _cell_record(cell: Cell) -> dict[str, float | str | None]:
    """A cell's values for machines: percent to four decimals, None where there is none."""
    record: dict[str, float | str | None] = dict.fromkeys(_CELL_FIELDS)
    if cell.forest:
        record |= {"forest": round(cell.forest.value, 4), "forest_sd": round(cell.forest.spread, 4)}
    if cell.mean_pooling:
        record |= {"mean_pooling": round(cell.mean_pooling.value, 4)}
    if cell.published:
        published = cell.published
        record |= {"published": published.value, "published_backbone": published.backbone or None}
        record |= {"note": published.note or None}
    if cell.difference is not None:
        record |= {"difference": round(cell.difference, 4)}
    if cell.scores:
        record |= {"folds_done": cell.scores[0].folds_done, "folds": cell.scores[0].folds}
    return record
