"""What the paper's Tables II-V show: scores of this project side by side with the published values.

`build_tables` fills the rows of `paper.layouts` and adds captions and footnotes; `render` only formats.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from string import ascii_lowercase
from typing import Any

import pandas as pd

from analysis import columns
from analysis.columns import METRICS
from analysis.frames import checked
from analysis.identity import Condition, Treatment, backbone_name, conditions, corpus_order
from analysis.paper.layouts import PAPER_BACKBONE, Layout, RowLabel, RowPlan, layouts_of
from analysis.paper.published import PublishedValue, comparable, index_published, load_published
from analysis.scoring.intervals import DEFAULT
from analysis.scoring.scores import Score, ScoreKey, index_scores
from analysis.scoring.setup import stands_beside_paper
from analysis.tables.captions import (
    BACKBONE,
    BACKBONE_OF_OTHERS,
    BACKBONE_OF_PAPER,
    DIFFERENCE_TO_PAPER,
    OF_PAPER_TABLE,
    Caption,
    Footnote,
    conditions_text,
    score_footnotes,
    setup_notes,
)
from dsl.labels import LEAKY_LABEL_SOURCES


@dataclass(frozen=True)
class Scored:
    """One row, corpus and metric: our score by either utterance decision, and the paper's. `backbone` is ours."""

    forest: Score | None = None
    mean_pooling: Score | None = None
    published: PublishedValue | None = None
    backbone: str = ""

    @property
    def scores(self) -> tuple[Score, ...]:
        """Our scores that are there."""
        return tuple(score for score in (self.forest, self.mean_pooling) if score is not None)

    @property
    def difference(self) -> float | None:
        """Random forest minus published, in percentage points; None where the two are not `comparable`."""
        if self.forest is None or self.published is None or not comparable(self.forest, self.backbone, self.published):
            return None
        return self.forest.value - self.published.value


@dataclass(frozen=True)
class Row:
    """One line of a table: a cell for every (corpus, metric). `backbone` is empty for the literature."""

    label: RowLabel
    backbone: str
    cells: Mapping[tuple[str, str], Scored]

    def of_corpus(self, corpus: str) -> list[Scored]:
        """Its cells of one corpus, in the order of METRICS."""
        return [self.cells[corpus, metric] for metric in METRICS]

    def shows(self, corpus: str) -> bool:
        """Whether there is a score or a published value of `corpus`."""
        return any(cell.scores or cell.published for cell in self.of_corpus(corpus))


@dataclass(frozen=True)
class Table:
    """One of the paper's tables for one label source, split and kind of labels.

    `backbone` is None if rows differ in it. `setting` is what all of it is trained with, of a grid that has several
    settings.
    """

    number: str
    about: Caption
    row_heading: str
    backbone: str | None
    label_source: str
    split: str
    labels: str
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[Footnote, ...]
    setting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`Table II`, with the number that the paper gives it."""
        return f"Table {self.number}"

    @property
    def caption(self) -> str:
        """The caption as one text."""
        return self.about.text

    @property
    def condition(self) -> Condition:
        """What all of it is of."""
        return Condition("", self.split, self.labels, self.label_source, self.backbone or "")

    def has_published(self, corpus: str) -> bool:
        """Whether the paper prints any value of this table for `corpus`."""
        return any(cell.published for row in self.rows for cell in row.of_corpus(corpus))

    @property
    def has_forest(self) -> bool:
        """Whether any rate is by a forest; mean pooling has the intervals where none is."""
        return _has_forest(self.rows)

    def has_difference(self, corpus: str) -> bool:
        """Whether any of our rates of `corpus` can be compared with the paper's."""
        return any(cell.difference is not None for row in self.rows for cell in row.of_corpus(corpus))

    def mark(self, cell: Scored) -> str:
        """The letter of the footnote to the published value of `cell`, or an empty string."""
        if cell.published is None or not cell.published.note:
            return ""
        return next(footnote.mark for footnote in self.footnotes if footnote.text == cell.published.note)


def build_tables(scores: pd.DataFrame, corpora: Iterable[str], published: pd.DataFrame | None = None) -> list[Table]:
    """The paper's Tables II-V for every split, kind of labels and label source in `scores`.

    `scores` is what `score_networks` returns. `corpora` are the short names to show; the paper's come first, in its
    order. `published` replaces `load_published()`; beside permuted labels and other splits than the paper's there is
    nothing published.

    Rows with neither a score nor a published value are left out. Tables III-V appear for each backbone that
    has a score there which Table II does not already show. Raises ValueError if a column is missing or two lines
    are for the same network and decision.
    """
    ordered = corpus_order(corpora)
    checked(scores, "scores", columns.NETWORK_SCORE_COLUMNS)
    shown = scores[scores[columns.CORPUS].isin(ordered)]
    _check_duplicates(shown)
    values = index_published(load_published() if published is None else published)
    tables = []
    for condition, lines in conditions(shown, by=(columns.SPLIT, columns.LABELS)):
        beside = values if stands_beside_paper(condition.split, condition.labels) else {}
        ground = _Ground(condition, ordered, index_scores(lines), beside)
        tables += [_build(layout, backbone, plans, ground) for layout, backbone, plans in layouts_of(ground.treatments)]
    return tables


# From the data frame to scores


_SCORED = [*(columns.CORPUS, columns.BACKBONE, columns.RULE, columns.ALPHA, columns.ITERATION), columns.DECISION]
_SCORED += [columns.LABEL_SOURCE, columns.SPLIT, columns.LABELS]


def _check_duplicates(scores: pd.DataFrame) -> None:
    repeated = scores[scores.duplicated(_SCORED)]
    if len(repeated):
        first = ", ".join(f"{column} {repeated.iloc[0][column]}" for column in _SCORED)
        raise ValueError(
            f"scores: {len(repeated)} lines repeat another, the first: {first}; expected one line each, as "
            "score_networks makes them"
        )


@dataclass(frozen=True)
class _Ground:
    """Everything the tables of one label source, split and kind of labels are made of."""

    condition: Condition
    corpora: tuple[str, ...]
    scores: Mapping[ScoreKey, Score]
    published: Mapping[tuple[str, str, str, str], PublishedValue]

    @cached_property
    def treatments(self) -> set[Treatment]:
        return {key.treatment for key in self.scores}


# From plans to tables


def _build(layout: Layout, backbone: str | None, plans: list[RowPlan], ground: _Ground) -> Table:
    rows = [_row(layout.number, plan, ground) for plan in [*_literature(layout.number, ground), *plans]]
    shown = tuple(row for row in rows if any(row.shows(corpus) for corpus in ground.corpora))
    return Table(
        number=layout.number,
        about=_caption(layout, backbone, shown, ground),
        row_heading=layout.row_heading,
        backbone=backbone,
        label_source=ground.condition.label_source,
        split=ground.condition.split,
        labels=ground.condition.labels,
        corpora=ground.corpora,
        rows=shown,
        footnotes=_footnotes(shown, ground.corpora),
    )


def _literature(number: str, ground: _Ground) -> list[RowPlan]:
    """The rows that the paper quotes from others."""
    quoted = [row for (table, row, _, _), value in ground.published.items() if table == number and not value.backbone]
    return [RowPlan(RowLabel(row), None, row) for row in dict.fromkeys(quoted)]


def _row(number: str, plan: RowPlan, ground: _Ground) -> Row:
    def score(decision: str, corpus: str, metric: str) -> Score | None:
        return ground.scores.get(ScoreKey(plan.treatment, corpus, decision, metric)) if plan.treatment else None

    def published(corpus: str, metric: str) -> PublishedValue | None:
        return ground.published.get((number, plan.published_row, corpus, metric)) if plan.published_row else None

    treatment = plan.treatment
    backbone = treatment.backbone if treatment else ""
    cells = {
        (corpus, metric): Scored(
            forest=score(columns.FOREST, corpus, metric),
            mean_pooling=score(columns.MEAN_POOLING, corpus, metric),
            published=published(corpus, metric),
            backbone=backbone,
        )
        for corpus in ground.corpora
        for metric in METRICS
    }
    leaky = treatment is not None and treatment.iteration > 0 and ground.condition.label_source in LEAKY_LABEL_SOURCES
    return Row(replace(plan.label, leaky=leaky), backbone, cells)


def _caption(layout: Layout, backbone: str | None, rows: Sequence[Row], ground: _Ground) -> Caption:
    cells = [cell for row in rows for cell in row.cells.values()]
    compared = any(cell.difference is not None for cell in cells)
    ours = any(cell.scores for cell in cells)
    return Caption.filled(
        layout.subject,
        OF_PAPER_TABLE,
        next((score.intervals for cell in cells for score in cell.scores), DEFAULT),
        _has_forest(rows) or not ours,
        rows=layout.explanation,
        backbone=_backbone_text(backbone, any(cell.published for cell in cells)),
        conditions=conditions_text(ground.condition),
        difference=DIFFERENCE_TO_PAPER if compared else "",
    )


def _has_forest(rows: Sequence[Row]) -> bool:
    return any(cell.forest for row in rows for cell in row.cells.values())


def _backbone_text(backbone: str | None, published: bool) -> str:
    if backbone is None:
        return ""
    others = BACKBONE_OF_PAPER if backbone == PAPER_BACKBONE else BACKBONE_OF_OTHERS
    template = others if published else BACKBONE
    return template.format(backbone=backbone_name(backbone), paper=backbone_name(PAPER_BACKBONE))


def _footnotes(rows: Sequence[Row], corpora: Sequence[str]) -> tuple[Footnote, ...]:
    cells = [cell for row in rows for cell in row.cells.values()]
    notes = dict.fromkeys(cell.published.note for cell in cells if cell.published and cell.published.note)
    footnotes = [Footnote(mark, note) for mark, note in zip(ascii_lowercase, notes, strict=False)]
    footnotes += score_footnotes(score for cell in cells for score in cell.scores)
    for corpus in corpora:
        scores = [score for row in rows for cell in row.of_corpus(corpus) for score in cell.scores]
        published = any(cell.published for row in rows for cell in row.of_corpus(corpus))
        footnotes += setup_notes(corpus, scores, published)
    return tuple(footnotes)
