"""A table as formats show it: in blocks narrow enough to be read by themselves, with cells that are still values.

What tables say is decided where they are built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analysis.columns import METRICS, PAPER_METRICS
from analysis.identity import corpus_name
from analysis.paper.layouts import RowLabel
from analysis.scoring.formats import joined, raised
from analysis.tables.captions import Caption, Footnote, told_apart
from analysis.tables.cells import RateCell, TableCell, TextCell, points_cell
from analysis.tables.listings import Group, Heading, Listing
from analysis.tables.paper_tables import Scored, Table
from dsl.labels import LEAKY_LABEL_SOURCES


@dataclass(frozen=True)
class Line:
    """A row: its label, and its cells.

    `leaky` is whether its networks saw test labels. A label that says so, too, has a form that is `unmarked`.
    """

    label: str
    cells: tuple[TableCell, ...]
    leaky: bool = False
    backbone: str = ""
    unmarked: str = ""

    @property
    def name(self) -> str:
        """The label without the marks of footnotes."""
        return self.unmarked or self.label

    @property
    def texts(self) -> list[str]:
        """The label and the cells as text, from left to right."""
        return [self.label, *(cell.text for cell in self.cells)]


@dataclass(frozen=True)
class Block:
    """The rows of one corpus or label source; `head` begins with the heading of labels.

    A heading that marks a leaky source has a form that is `unmarked`. `key` is how footnotes call a corpus.
    """

    heading: str
    head: tuple[Heading, ...]
    lines: tuple[Line, ...]
    leaky: bool = False
    unmarked: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        """The heading without the marks of footnotes."""
        return self.unmarked or self.heading


class Apart(NamedTuple):
    """What tells a table from others of its title, with leaky label sources marked, and without."""

    marked: tuple[str, ...]
    unmarked: tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """A table for formats that show it block by block. `of_paper` is whether the paper has a table of its title."""

    title: str
    of_paper: bool
    apart: Apart
    about: Caption
    blocks: tuple[Block, ...]
    footnotes: tuple[Footnote, ...]
    leaky: bool = False  # whether it is of a label source that leaks

    @property
    def heading(self) -> str:
        """`Table II, label source global_oof (leaky), speaker split`."""
        return ", ".join([self.title, *self.apart.marked])

    @property
    def name(self) -> str:
        """The heading without a mark."""
        return ", ".join([self.title, *self.apart.unmarked])

    @property
    def caption(self) -> str:
        """The caption as one text."""
        return self.about.text


def as_texts(tables: Sequence[Table | Listing]) -> list[TextTable]:
    """The tables in blocks: one of rows per corpus or label source, so that lines are short."""
    of = [(table.title, table.condition) for table in tables]
    apart = map(Apart, told_apart(of), told_apart(of, marked=False))
    return [_as_text(table, own) for table, own in zip(tables, apart, strict=True)]


def _as_text(table: Table | Listing, apart: Apart) -> TextTable:
    if isinstance(table, Listing):
        groups = tuple(_listing_block(table, group) for group in table.groups)
        return TextTable(table.title, table.of_paper, apart, table.about, groups, table.footnotes)
    blocks = tuple(_corpus_block(table, corpus) for corpus in table.corpora)
    leaky = table.label_source in LEAKY_LABEL_SOURCES
    return TextTable(table.title, True, apart, table.about, blocks, table.footnotes, leaky)


def _line(label: RowLabel, cells: Sequence[TableCell], backbone: str) -> Line:
    iteration = "" if label.iteration is None else raised(str(label.iteration))
    name = f"{label.name}{iteration}"
    return Line(joined(name, "(leaky)" if label.leaky else ""), tuple(cells), label.leaky, backbone, name)


def _listing_block(listing: Listing, group: Group) -> Block:
    lines = [_line(row.label, row.cells[group.name], row.backbone) for row in listing.rows if group.name in row.cells]
    head = (Heading(listing.row_heading), *group.headings)
    return Block(group.heading, head, tuple(lines), group.leaky, group.name)


_OURS = ("forest", "mean")


def _corpus_block(table: Table, corpus: str) -> Block:
    columns = [Heading(group, metric) for group in _OURS for metric in METRICS]
    for group, shown in (("paper", table.has_published(corpus)), ("− paper", table.has_difference(corpus))):
        columns += [Heading(group, metric) for metric in PAPER_METRICS if shown]
    lines = [
        _line(row.label, [_cell(table, row.cells[corpus, metric], group) for group, metric in columns], row.backbone)
        for row in table.rows
        if row.shows(corpus)
    ]
    return Block(corpus_name(corpus), (Heading(table.row_heading), *columns), tuple(lines), key=corpus)


def _cell(table: Table, scored: Scored, group: str) -> TableCell:
    """What a row shows of a corpus and metric in one group of columns."""
    if group == "forest":
        return RateCell.of(scored.forest, spread=True)
    if group == "mean":
        return RateCell.of(scored.mean_pooling, interval=not table.has_forest)
    if group == "paper":
        published = scored.published
        return TextCell() if published is None else RateCell(published.value, mark=table.mark(scored))
    return points_cell(scored.difference)
