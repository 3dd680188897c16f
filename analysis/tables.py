"""What the paper's Tables II-V show: scores of this project side by side with the published values.

`build_tables` fills the rows of `analysis.layouts` and adds captions and footnotes; `analysis.render` only formats.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import ascii_lowercase
from typing import NamedTuple

import pandas as pd

from analysis import columns
from analysis.layouts import (
    BACKBONE_NAMES,
    TABLE_2,
    TABLES_OF_ONE_BACKBONE,
    Layout,
    RowLabel,
    RowPlan,
    Treatment,
    backbone_name,
)
from analysis.published import PAPER_UTTERANCES, PublishedValue, index_published, load_published
from dsl.labels import LEAKY_LABEL_SOURCES

METRICS = ("WA", "UA")
CORPUS_NAMES = {"casia": "CASIA", "emodb": "Emo-DB", "savee": "SAVEE"}
PAPER_BACKBONE = "efficientnet_b0"  # of Tables III-V


class ScoreKey(NamedTuple):
    """What one score is of; `metric` is WA or UA."""

    treatment: Treatment
    corpus: str
    decision: str
    metric: str


@dataclass(frozen=True)
class Score:
    """A recognition rate in percent: mean and spread (standard deviation) over forest and training seeds."""

    value: float
    spread: float
    folds_done: int
    folds: int
    utterances: int

    @property
    def complete(self) -> bool:
        """Whether every fold of every training seed is in it."""
        return self.folds_done >= self.folds


@dataclass(frozen=True)
class Cell:
    """One row, corpus and metric: our score by either utterance decision, and the paper's."""

    forest: Score | None = None
    mean_pooling: Score | None = None
    published: PublishedValue | None = None

    @property
    def scores(self) -> tuple[Score, ...]:
        """Our scores that are there."""
        return tuple(score for score in (self.forest, self.mean_pooling) if score is not None)

    @property
    def difference(self) -> float | None:
        """Random forest minus published, in percentage points."""
        if self.forest is None or self.published is None:
            return None
        return self.forest.value - self.published.value


@dataclass(frozen=True)
class Row:
    """One line of a table: a cell for every (corpus, metric). `backbone` is empty for the literature."""

    label: RowLabel
    backbone: str
    cells: Mapping[tuple[str, str], Cell]

    def of_corpus(self, corpus: str) -> list[Cell]:
        return [self.cells[corpus, metric] for metric in METRICS]

    def shows(self, corpus: str) -> bool:
        """Whether there is a score or a published value of `corpus`."""
        return any(cell != Cell() for cell in self.of_corpus(corpus))


@dataclass(frozen=True)
class Footnote:
    """A note below a table; `mark` is the letter that refers to it, empty for a note to the whole table."""

    mark: str
    text: str


@dataclass(frozen=True)
class Table:
    """One of the paper's tables for one label source and split; `backbone` is None if rows differ in it."""

    number: str
    caption: str
    row_heading: str
    backbone: str | None
    label_source: str
    split: str
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[Footnote, ...]

    def has_published(self, corpus: str) -> bool:
        """Whether the paper prints any value of this table for `corpus`."""
        return any(cell.published for row in self.rows for cell in row.of_corpus(corpus))

    def mark(self, cell: Cell) -> str:
        """The letter of the footnote to the published value of `cell`, or an empty string."""
        if cell.published is None or not cell.published.note:
            return ""
        return next(footnote.mark for footnote in self.footnotes if footnote.text == cell.published.note)


def corpus_name(corpus: str) -> str:
    """A corpus as people write it."""
    return CORPUS_NAMES.get(corpus, corpus)


def build_tables(scores: pd.DataFrame, corpora: Iterable[str], published: pd.DataFrame | None = None) -> list[Table]:
    """The paper's Tables II-V for every label source and split in `scores`.

    `scores` has one line per cell and utterance decision, with the columns `columns.SCORE_COLUMNS`; rates and
    spreads are in percent. Several training seeds are averaged, and the spread then covers them too. `corpora` are
    the short names to show; the paper's come first, in its order. `published` replaces `load_published()`.

    Rows with neither a score nor a published value are left out. Tables III-V appear for each backbone that
    has a score there which Table II does not already show. Raises ValueError if a column is missing or two lines
    are for the same cell and decision.
    """
    ordered = tuple(sorted(dict.fromkeys(corpora), key=_paper_position))
    _check_columns(scores)
    shown = scores[scores[columns.CORPUS].isin(ordered)]
    _check_duplicates(shown)
    values = index_published(load_published() if published is None else published)
    tables = []
    for label_source, split, lines in _groups(shown):
        tables += _tables_of_group(_Evidence(label_source, split, ordered, _index_scores(lines), values))
    return tables


# From the data frame to scores

_SEEDS_OF = [columns.CORPUS, columns.BACKBONE, columns.RULE, columns.ALPHA, columns.ITERATION, columns.DECISION]


def _check_columns(scores: pd.DataFrame) -> None:
    missing = [column for column in columns.SCORE_COLUMNS if column not in scores.columns]
    if missing:
        raise ValueError(f"scores: no column {', '.join(missing)}; has {', '.join(map(str, scores.columns))}")


def _check_duplicates(scores: pd.DataFrame) -> None:
    identity = [*_SEEDS_OF, columns.LABEL_SOURCE, columns.SPLIT, columns.SEED]
    repeated = scores[scores.duplicated(identity)]
    if len(repeated):
        first = ", ".join(f"{column} {repeated.iloc[0][column]}" for column in identity)
        raise ValueError(f"scores: {len(repeated)} lines repeat another, the first: {first}; expected one line each")


def _paper_position(corpus: str) -> int:
    names = list(CORPUS_NAMES)
    return names.index(corpus) if corpus in names else len(names)


def _groups(scores: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Label source, split and their lines; those of iteration 0 are in every label source of their split."""
    for split in sorted(scores[columns.SPLIT].unique()):
        lines = scores[scores[columns.SPLIT] == split]
        sources = set(lines[columns.LABEL_SOURCE]) - {""} or {""}
        for source in sorted(sources, key=lambda name: (name in LEAKY_LABEL_SOURCES, name)):
            yield source, split, lines[lines[columns.LABEL_SOURCE].isin([source, ""])]


def _index_scores(lines: pd.DataFrame) -> dict[ScoreKey, Score]:
    index = {}
    for key, seeds in lines.groupby(_SEEDS_OF, sort=False):
        corpus, backbone, rule, alpha, iteration, decision = key
        treatment = Treatment(backbone, rule, alpha, int(iteration))
        index[ScoreKey(treatment, corpus, decision, "WA")] = _pool_seeds(seeds, columns.WA, columns.WA_SD)
        index[ScoreKey(treatment, corpus, decision, "UA")] = _pool_seeds(seeds, columns.UA, columns.UA_SD)
    return index


def _pool_seeds(seeds: pd.DataFrame, value: str, spread: str) -> Score:
    """One score from a line per training seed; variance = mean within a seed + variance between seeds."""
    variance = (seeds[spread] ** 2).mean() + seeds[value].var(ddof=0)
    return Score(
        value=float(seeds[value].mean()),
        spread=math.sqrt(variance),
        folds_done=int(seeds[columns.FOLDS_DONE].sum()),
        folds=int(seeds[columns.FOLDS].max() * seeds[columns.SEEDS].max()),
        utterances=int(seeds[columns.UTTERANCES].max()),
    )


@dataclass(frozen=True)
class _Evidence:
    """Everything the tables of one label source and split are made of."""

    label_source: str
    split: str
    corpora: tuple[str, ...]
    scores: Mapping[ScoreKey, Score]
    published: Mapping[tuple[str, str, str, str], PublishedValue]

    @cached_property
    def treatments(self) -> set[Treatment]:
        return {key.treatment for key in self.scores}

    @property
    def backbones(self) -> list[str]:
        """The paper's backbones in its order, then any other that has a score."""
        others = {treatment.backbone for treatment in self.treatments} - set(BACKBONE_NAMES)
        return [*BACKBONE_NAMES, *sorted(others)]


# From plans to tables


def _tables_of_group(evidence: _Evidence) -> list[Table]:
    plans = [plan for backbone in evidence.backbones for plan in TABLE_2.plan(backbone, evidence.treatments)]
    tables = [_build(TABLE_2, None, plans, evidence)]
    for layout in TABLES_OF_ONE_BACKBONE:
        for backbone in evidence.backbones:
            plans = layout.plan(backbone, evidence.treatments)
            scored = evidence.treatments & {plan.treatment for plan in plans}
            if any(treatment.rule not in ("none", "bdsl") for treatment in scored):
                tables.append(_build(layout, backbone, plans, evidence))
    return tables


def _build(layout: Layout, backbone: str | None, plans: list[RowPlan], evidence: _Evidence) -> Table:
    rows = [_row(layout.number, plan, evidence) for plan in [*_literature(layout.number, evidence), *plans]]
    shown = tuple(row for row in rows if any(row.shows(corpus) for corpus in evidence.corpora))
    return Table(
        number=layout.number,
        caption=_caption(layout.caption, backbone, shown, evidence),
        row_heading=layout.row_heading,
        backbone=backbone,
        label_source=evidence.label_source,
        split=evidence.split,
        corpora=evidence.corpora,
        rows=shown,
        footnotes=_footnotes(shown, evidence.corpora),
    )


def _literature(number: str, evidence: _Evidence) -> list[RowPlan]:
    """The rows that the paper quotes from others."""
    quoted = [row for (table, row, _, _), value in evidence.published.items() if table == number and not value.backbone]
    return [RowPlan(RowLabel(row), None, row) for row in dict.fromkeys(quoted)]


def _row(number: str, plan: RowPlan, evidence: _Evidence) -> Row:
    def score(decision: str, corpus: str, metric: str) -> Score | None:
        return evidence.scores.get(ScoreKey(plan.treatment, corpus, decision, metric)) if plan.treatment else None

    def published(corpus: str, metric: str) -> PublishedValue | None:
        return evidence.published.get((number, plan.published_row, corpus, metric)) if plan.published_row else None

    cells = {
        (corpus, metric): Cell(
            forest=score(columns.FOREST, corpus, metric),
            mean_pooling=score(columns.MEAN_POOLING, corpus, metric),
            published=published(corpus, metric),
        )
        for corpus in evidence.corpora
        for metric in METRICS
    }
    return Row(plan.label, plan.treatment.backbone if plan.treatment else "", cells)


def _caption(caption: str, backbone: str | None, rows: Sequence[Row], evidence: _Evidence) -> str:
    sentences = [caption]
    if backbone is not None:
        published = any(cell.published for row in rows for cell in row.cells.values())
        of_paper = f"; the published column is {backbone_name(PAPER_BACKBONE)}" if published else ""
        sentences.append(f"Backbone: {backbone_name(backbone)}{of_paper}.")
    leaky = " (leaky: saw test labels)" if evidence.label_source in LEAKY_LABEL_SOURCES else ""
    source = f"Label source: {evidence.label_source}{leaky}; split" if evidence.label_source else "Split"
    sentences.append(f"{source}: {evidence.split}.")
    sentences.append("Recognition rate in percent, ± standard deviation over forest and training seeds.")
    return " ".join(sentences)


def _footnotes(rows: Sequence[Row], corpora: Sequence[str]) -> tuple[Footnote, ...]:
    cells = [cell for row in rows for cell in row.cells.values()]
    notes = dict.fromkeys(cell.published.note for cell in cells if cell.published and cell.published.note)
    footnotes = [Footnote(mark, note) for mark, note in zip(ascii_lowercase, notes, strict=False)]
    if any(not score.complete for cell in cells for score in cell.scores):
        text = "Cells marked (done/all folds) are from incomplete folds, summed over training seeds."
        footnotes.append(Footnote("", text))
    return (*footnotes, *(note for corpus in corpora for note in _size_footnotes(rows, corpus)))


def _size_footnotes(rows: Sequence[Row], corpus: str) -> Iterator[Footnote]:
    """A warning where complete cells rest on another number of utterances than the paper's (Table I)."""
    expected = PAPER_UTTERANCES.get(corpus)
    if expected is None:
        return
    scores = [score for row in rows for cell in row.of_corpus(corpus) for score in cell.scores]
    for utterances in sorted({score.utterances for score in scores if score.complete} - {expected}):
        text = f"{utterances:,} utterances scored, {expected:,} in the paper: not comparable."
        yield Footnote("", f"{corpus_name(corpus)}: {text}")
