"""What tables are made of that the paper does not have, or not in this form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from analysis.columns import METRICS
from analysis.identity import Condition, source_name
from analysis.paper.layouts import RowLabel
from analysis.scoring.differences import speaker_metrics
from analysis.scoring.formats import joined
from analysis.tables.captions import Caption, Footnote
from analysis.tables.cells import TableCell
from analysis.tables.entries import Entry
from dsl.labels import LEAKY_LABEL_SOURCES

OF_EVERYTHING = Condition()


class Heading(NamedTuple):
    """Of a column. Those of one `group` that differ in the metric can stand below it."""

    group: str
    metric: str = ""

    @property
    def text(self) -> str:
        """`WA forest`, or what the group is called where it has no metric."""
        return joined(self.metric, self.group)


@dataclass(frozen=True)
class Group:
    """Columns that belong together: those of a label source, or all of a listing, and then without a name.

    `heading` is the name as people read it, with leaky label sources marked.
    """

    name: str
    headings: tuple[Heading, ...]
    heading: str = ""
    leaky: bool = False

    @classmethod
    def of_source(cls, label_source: str, headings: Sequence[Heading], of: str = "") -> "Group":
        """The columns `headings` of one label source, under its display name, and what they are of where a label source
        has several groups."""
        leaky = label_source in LEAKY_LABEL_SOURCES
        return cls(of_group(label_source, of), tuple(headings), of_group(source_name(label_source), of), leaky)


def difference_headings(intervals: str) -> list[Heading]:
    """Those of `difference_cells`, of differences with intervals of this kind."""
    return [*map(Heading, METRICS), *(Heading("by speaker", metric) for metric in speaker_metrics(intervals))]


def of_group(label_source: str, of: str) -> str:
    """The name of a group of a label source's columns: `in_fold, differences to the baseline`."""
    return ", ".join(filter(None, (label_source, of)))


@dataclass(frozen=True)
class ListingRow:
    """One line: the cells of each group by its name, and the same for machines.

    A group that is missing has nothing to say of this row.
    """

    label: RowLabel
    cells: Mapping[str, Sequence[TableCell]]
    entries: tuple[Entry, ...]
    backbone: str = ""

    @property
    def texts(self) -> dict[str, list[str]]:
        """The cells as text."""
        return {name: [cell.text for cell in cells] for name, cells in self.cells.items()}


@dataclass(frozen=True)
class Listing:
    """A table; `title` is what comes before its caption, and `condition` what all of it is of. `setting` is what all of
    it is trained with, of a grid that has several settings."""

    title: str
    about: Caption
    row_heading: str
    groups: tuple[Group, ...]
    rows: tuple[ListingRow, ...]
    footnotes: tuple[Footnote, ...] = ()
    condition: Condition = OF_EVERYTHING
    of_paper: bool = False  # whether the paper has a table of this title
    setting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """The caption as one text."""
        return self.about.text
