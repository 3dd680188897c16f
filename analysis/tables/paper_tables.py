"""What the paper's Tables II-V show: scores of this project side by side with the published values.

`build_tables` fills the rows of `paper.layouts` and adds captions and footnotes; `render` only formats.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from string import ascii_lowercase
from typing import Any, NamedTuple

import pandas as pd

from analysis import columns
from analysis.paper.layouts import (
    BACKBONE_NAMES,
    TABLE_2,
    TABLES_OF_ONE_BACKBONE,
    Layout,
    RowLabel,
    RowPlan,
    Treatment,
    backbone_name,
)
from analysis.paper.published import PublishedValue, index_published, load_published
from analysis.paper.setup import Setup, stands_beside_paper
from data_prep.text import counted
from dsl.labels import LEAKY_LABEL_SOURCES
from dsl.splits import GROUPED_BY

METRICS = ("WA", "UA", "F1")
PAPER_METRICS = ("WA", "UA")  # that the paper has
CORPUS_NAMES = {"casia": "CASIA", "emodb": "Emo-DB", "savee": "SAVEE"}
PAPER_BACKBONE = "efficientnet_b0"  # of Tables III-V


class ScoreKey(NamedTuple):
    """What one score is of; `metric` is WA, UA or F1."""

    treatment: Treatment
    corpus: str
    decision: str
    metric: str


@dataclass(frozen=True)
class Score:
    """A recognition rate in percent: the mean over forest and training seeds, and its spreads over either.

    `forest_spread` is the standard deviation over the forest seeds of a training seed, `training_spread` that over
    training seeds; NaN where there is one. `interval` is its 95% bootstrap interval over utterances, `by_speaker` that
    over whole speakers: low and high, NaN where there is one of them only. `recall` is that of each class, in percent,
    without those that have no utterance.
    """

    value: float
    forest_spread: float
    training_spread: float
    interval: tuple[float, float]
    by_speaker: tuple[float, float]
    folds_done: int
    folds: int
    utterances: int
    partial: bool
    seeds: int
    setup: Setup
    recall: Mapping[str, float]

    @property
    def complete(self) -> bool:
        """Whether every fold of every training seed is in it."""
        return self.folds_done >= self.folds


@dataclass(frozen=True)
class Cell:
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


def comparable(score: Score, backbone: str, published: PublishedValue) -> bool:
    """Whether a difference of the two means something: all folds of the whole corpus, in the paper's set-up, and the
    same backbone."""
    whole = score.complete and not score.partial
    return whole and not score.setup.departures and published.backbone == backbone


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
        return any(cell.scores or cell.published for cell in self.of_corpus(corpus))


@dataclass(frozen=True)
class Footnote:
    """A note below a table; `mark` is the letter that refers to it, empty for a note to the whole table."""

    mark: str
    text: str


class About(NamedTuple):
    """What all of a table is of, as people read it; empty where its rows or columns differ in it."""

    corpus: str = ""
    backbone: str = ""
    label_source: str = ""
    split: str = ""
    labels: str = ""

    def unlike(self, others: Iterable["About"]) -> tuple[str, ...]:
        """What tells it from `others`."""
        seen = zip(*others, strict=True)
        return tuple(own for own, theirs in zip(self, seen, strict=True) if own and set(theirs) - {own})

    @classmethod
    def named(cls, *, corpus: str = "", backbone: str = "", label_source: str = "", split: str, labels: str) -> "About":
        """From the names that scores have."""
        return cls(
            corpus_name(corpus),
            backbone_name(backbone),
            label_source and f"label source {source_name(label_source)}",
            f"{split} split",
            f"labels {labels_name(labels)}",
        )


OF_EVERYTHING = About()


@dataclass(frozen=True)
class Table:
    """One of the paper's tables for one label source, split and kind of labels.

    `backbone` is None if rows differ in it.
    """

    number: str
    caption: str
    row_heading: str
    backbone: str | None
    label_source: str
    split: str
    labels: str
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[Footnote, ...]

    @property
    def about(self) -> About:
        return About.named(
            backbone=self.backbone or "", label_source=self.label_source, split=self.split, labels=self.labels
        )

    def has_published(self, corpus: str) -> bool:
        """Whether the paper prints any value of this table for `corpus`."""
        return any(cell.published for row in self.rows for cell in row.of_corpus(corpus))

    def has_difference(self, corpus: str) -> bool:
        """Whether any of our rates of `corpus` can be compared with the paper's."""
        return any(cell.difference is not None for row in self.rows for cell in row.of_corpus(corpus))

    def mark(self, cell: Cell) -> str:
        """The letter of the footnote to the published value of `cell`, or an empty string."""
        if cell.published is None or not cell.published.note:
            return ""
        return next(footnote.mark for footnote in self.footnotes if footnote.text == cell.published.note)


def corpus_name(corpus: str) -> str:
    """A corpus as people write it."""
    return CORPUS_NAMES.get(corpus, corpus)


def build_tables(scores: pd.DataFrame, corpora: Iterable[str], published: pd.DataFrame | None = None) -> list[Table]:
    """The paper's Tables II-V for every split, kind of labels and label source in `scores`.

    `scores` is what `score_networks` returns. `corpora` are the short names to show; the paper's come first, in its
    order. `published` replaces `load_published()`; beside permuted labels and other splits than the paper's there is
    nothing published.

    Rows with neither a score nor a published value are left out. Tables III-V appear for each backbone that
    has a score there which Table II does not already show. Raises ValueError if a column is missing or two lines
    are for the same network and decision.
    """
    ordered = paper_order(corpora)
    _check_columns(scores)
    shown = scores[scores[columns.CORPUS].isin(ordered)]
    _check_duplicates(shown)
    values = index_published(load_published() if published is None else published)
    tables = []
    for split, labels, label_source, lines in _groups(shown):
        beside = values if stands_beside_paper(split, labels) else {}
        tables += _tables_of_group(_Evidence(label_source, split, labels, ordered, index_scores(lines), beside))
    return tables


def paper_order(corpora: Iterable[str]) -> tuple[str, ...]:
    """Each corpus once, the paper's first, in its order."""
    names = list(CORPUS_NAMES)
    return tuple(sorted(dict.fromkeys(corpora), key=lambda name: names.index(name) if name in names else len(names)))


def source_order(label_sources: Iterable[str]) -> list[str]:
    """Label sources of networks after iteration 0; just the empty one where there is none. Leaky ones come last."""
    named = set(label_sources) - {""} or {""}
    return sorted(named, key=lambda name: (name in LEAKY_LABEL_SOURCES, name))


# From the data frame to scores

_SCORED = [columns.CORPUS, columns.BACKBONE, columns.RULE, columns.ALPHA, columns.ITERATION, columns.DECISION]


def _check_columns(scores: pd.DataFrame) -> None:
    missing = [column for column in columns.NETWORK_SCORE_COLUMNS if column not in scores.columns]
    if missing:
        raise ValueError(f"scores: no column {', '.join(missing)}; has {', '.join(map(str, scores.columns))}")


def _check_duplicates(scores: pd.DataFrame) -> None:
    identity = [*_SCORED, columns.LABEL_SOURCE, columns.SPLIT, columns.LABELS]
    repeated = scores[scores.duplicated(identity)]
    if len(repeated):
        first = ", ".join(f"{column} {repeated.iloc[0][column]}" for column in identity)
        raise ValueError(
            f"scores: {len(repeated)} lines repeat another, the first: {first}; expected one line each, as "
            "score_networks makes them"
        )


def _groups(scores: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Split, labels, label source and their lines; those of iteration 0 are in every label source."""
    for (split, labels), lines in scores.groupby([columns.SPLIT, columns.LABELS]):
        for source in source_order(lines[columns.LABEL_SOURCE]):
            yield split, labels, source, lines[lines[columns.LABEL_SOURCE].isin([source, ""])]


def index_scores(lines: pd.DataFrame) -> dict[ScoreKey, Score]:
    """The rates of `lines`, which are of one split, kind of labels and label source."""
    index = {}
    for line in lines.to_dict("records"):
        for metric in METRICS:
            key = ScoreKey(Treatment.of(line), line[columns.CORPUS], line[columns.DECISION], metric)
            index[key] = _score(line, metric)
    return index


_RATES = {
    "WA": (
        *(columns.WA, columns.WA_SD_FOREST_SEEDS, columns.WA_SD_TRAINING_SEEDS, columns.WA_LOW, columns.WA_HIGH),
        *(columns.WA_SPEAKER_LOW, columns.WA_SPEAKER_HIGH),
    ),
    "UA": (
        *(columns.UA, columns.UA_SD_FOREST_SEEDS, columns.UA_SD_TRAINING_SEEDS, columns.UA_LOW, columns.UA_HIGH),
        *(columns.UA_SPEAKER_LOW, columns.UA_SPEAKER_HIGH),
    ),
    "F1": (
        *(columns.F1, columns.F1_SD_FOREST_SEEDS, columns.F1_SD_TRAINING_SEEDS, columns.F1_LOW, columns.F1_HIGH),
        *(columns.F1_SPEAKER_LOW, columns.F1_SPEAKER_HIGH),
    ),
}


def score_record(forest: Score | None, mean_pooling: Score | None) -> dict[str, Any]:
    """What machines are told of a rate by either decision: percent to four decimals, without what is not known."""
    record: dict[str, Any] = {}
    for name, score in (("mean_pooling", mean_pooling), ("forest", forest)):
        if score is None:
            continue
        values = {
            name: score.value,
            f"{name}_sd_forest_seeds": score.forest_spread,
            f"{name}_sd_training_seeds": score.training_spread,
            f"{name}_low": score.interval[0],
            f"{name}_high": score.interval[1],
            f"{name}_speaker_low": score.by_speaker[0],
            f"{name}_speaker_high": score.by_speaker[1],
        }
        record |= {key: round(value, 4) for key, value in values.items() if value == value}
        record |= _about_score(score)
    return record


def recall_records(forest: Score | None, mean_pooling: Score | None) -> Iterator[dict[str, Any]]:
    """The same of the recall of each class, whose metric is `recall anger`."""
    by_either = {"mean_pooling": mean_pooling, "forest": forest}
    known = {name: score for name, score in by_either.items() if score is not None}
    for label in dict.fromkeys(label for score in known.values() for label in score.setup.classes):
        record: dict[str, Any] = {"metric": f"{columns.RECALL} {label}", "class": label}
        for name, score in known.items():
            record |= {name: round(score.recall[label], 4)} if label in score.recall else {}
            record |= _about_score(score)
        yield record


def _about_score(score: Score) -> dict[str, Any]:
    return {
        "folds_done": score.folds_done,
        "folds": score.folds,
        "utterances": score.utterances,
        "partial": score.partial,
        **setup_record(score.setup, score.seeds),
    }


def _score(line: dict[Hashable, Any], metric: str) -> Score:
    value, forests, trainings, low, high, speaker_low, speaker_high = (float(line[name]) for name in _RATES[metric])
    setup: Setup = line[columns.SETUP]
    recall = zip(setup.classes, line[columns.RECALL], strict=True)
    return Score(
        value=value,
        forest_spread=forests,
        training_spread=trainings,
        interval=(low, high),
        by_speaker=(speaker_low, speaker_high),
        folds_done=int(line[columns.FOLDS_DONE]),
        folds=int(line[columns.FOLDS]),
        utterances=int(line[columns.UTTERANCES]),
        partial=bool(line[columns.PARTIAL]),
        seeds=int(line[columns.SEEDS]),
        setup=setup,
        recall={label: value for label, value in recall if value == value},
    )


@dataclass(frozen=True)
class _Evidence:
    """Everything the tables of one label source, split and kind of labels are made of."""

    label_source: str
    split: str
    labels: str
    corpora: tuple[str, ...]
    scores: Mapping[ScoreKey, Score]
    published: Mapping[tuple[str, str, str, str], PublishedValue]

    @cached_property
    def treatments(self) -> set[Treatment]:
        return {key.treatment for key in self.scores}


# From plans to tables


def _tables_of_group(evidence: _Evidence) -> list[Table]:
    return [_build(layout, backbone, plans, evidence) for layout, backbone, plans in layouts_of(evidence.treatments)]


def layouts_of(treatments: Collection[Treatment]) -> Iterator[tuple[Layout, str | None, list[RowPlan]]]:
    """The paper's tables that networks of one label source, split and kind of labels come to: the backbone where a
    table is of one, and its rows. The paper's backbones come first, in its order."""
    backbones = [*BACKBONE_NAMES, *sorted({one.backbone for one in treatments} - set(BACKBONE_NAMES))]
    yield TABLE_2, None, [plan for backbone in backbones for plan in TABLE_2.plan(backbone, treatments)]
    for layout, backbone in product(TABLES_OF_ONE_BACKBONE, backbones):
        plans = layout.plan(backbone, treatments)
        shown = {plan.treatment for plan in plans if plan.treatment in treatments}
        if any(treatment is not None and treatment.rule not in ("none", "bdsl") for treatment in shown):
            yield layout, backbone, plans


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
        labels=evidence.labels,
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

    treatment = plan.treatment
    backbone = treatment.backbone if treatment else ""
    cells = {
        (corpus, metric): Cell(
            forest=score(columns.FOREST, corpus, metric),
            mean_pooling=score(columns.MEAN_POOLING, corpus, metric),
            published=published(corpus, metric),
            backbone=backbone,
        )
        for corpus in evidence.corpora
        for metric in METRICS
    }
    leaky = treatment is not None and treatment.iteration > 0 and evidence.label_source in LEAKY_LABEL_SOURCES
    return Row(replace(plan.label, leaky=leaky), backbone, cells)


def _caption(caption: str, backbone: str | None, rows: Sequence[Row], evidence: _Evidence) -> str:
    sentences = [caption]
    cells = [cell for row in rows for cell in row.cells.values()]
    if backbone is not None:
        papers = f"; the paper's columns are {backbone_name(PAPER_BACKBONE)}" if any(c.published for c in cells) else ""
        unlike = ", so there is no difference to them" if papers and backbone != PAPER_BACKBONE else ""
        sentences.append(f"Backbone: {backbone_name(backbone)}{papers}{unlike}.")
    sentences.append(conditions(evidence.label_source, evidence.split, evidence.labels))
    sentences.append(_RATES_AND_SPREAD)
    if any(cell.difference is not None for cell in cells):
        sentences.append("− paper: the forest's rate minus the published one, where all folds are done.")
    return " ".join(sentences)


_RATES_AND_SPREAD = (
    "Recognition rate in percent by random forest, ± standard deviation over forest seeds, a second ± over training "
    "seeds where there are several, [95% bootstrap interval over utterances]; mean: by mean pooling; F1: "
    "macro-averaged."
)


def conditions(label_source: str, split: str, labels: str) -> str:
    """What a caption says of where labels come from and how utterances are split; no source where there is none."""
    sentences = []
    if labels != "given":
        sentences.append(
            f"Labels are {labels_name(labels)}: nothing is comparable with the paper, and more than chance is a leak."
        )
    source = f"Label source: {source_name(label_source, ': saw test labels')}; split" if label_source else "Split"
    sentences.append(f"{source}: {split}{forest_folds_note(split)}.")
    return " ".join(sentences)


def forest_folds_note(split: str) -> str:
    """After the name of a split, what it keeps from the forests; nothing of the paper's, which keeps nothing."""
    left_out = " or ".join(f"no {column}" for column in GROUPED_BY[split])
    return (
        f" (each fold has a random forest of its own, which learns from {left_out} that it decides on)"
        if left_out
        else ""
    )


def labels_name(labels: str) -> str:
    """A kind of labels in words."""
    return labels.replace("_", " ")


def source_name(label_source: str, why: str = "") -> str:
    """A label source as tables name it, marked where it is leaky."""
    return f"{label_source} (leaky{why})" if label_source in LEAKY_LABEL_SOURCES else label_source


def _footnotes(rows: Sequence[Row], corpora: Sequence[str]) -> tuple[Footnote, ...]:
    cells = [cell for row in rows for cell in row.cells.values()]
    notes = dict.fromkeys(cell.published.note for cell in cells if cell.published and cell.published.note)
    footnotes = [Footnote(mark, note) for mark, note in zip(ascii_lowercase, notes, strict=False)]
    footnotes += score_footnotes(score for cell in cells for score in cell.scores)
    for corpus in corpora:
        scores = [score for row in rows for cell in row.of_corpus(corpus) for score in cell.scores]
        published = any(cell.published for row in rows for cell in row.of_corpus(corpus))
        footnotes += [Footnote("", text) for text in setup_notes(corpus, scores, published)]
    return tuple(footnotes)


def score_footnotes(scores: Iterable[Score]) -> list[Footnote]:
    """What is to be said of scores that rest on a part of the folds."""
    if all(score.complete for score in scores):
        return []
    return [Footnote("", "Cells marked (done/all folds) are from incomplete folds, summed over training seeds.")]


def setup_notes(corpus: str, scores: Sequence[Score], published: bool) -> list[str]:
    """How the networks of `scores` on a corpus were trained and tested, and a warning where that is a part of it.

    Beside `published` values each setting that is not the paper's is told with the paper's.
    """
    notes = setup_texts(corpus, ((score.setup, score.seeds) for score in scores), published)
    if any(score.partial for score in scores):
        utterances = max(score.utterances for score in scores)
        notes.append(
            f"{corpus_name(corpus)}: only part of the corpus, {counted(utterances, 'utterance')}: not comparable."
        )
    return notes


def setup_texts(corpus: str, trained: Iterable[tuple[Setup, int]], published: bool = False) -> list[str]:
    """A sentence for each set-up of networks on a corpus, with the numbers of training seeds it was used with."""
    seeds: dict[Setup, list[int]] = {}
    for setup, number in trained:
        seeds.setdefault(setup, []).append(number)
    return [
        f"{corpus_name(corpus)}: {setup.text(own, published)}{_not_the_papers(setup, published)}."
        for setup, own in seeds.items()
    ]


def setup_record(setup: Setup, seeds: int) -> dict[str, Any]:
    """A set-up for machines."""
    return {"setup": setup.text([seeds]), "departures": list(setup.departures)}


def _not_the_papers(setup: Setup, published: bool) -> str:
    return ". Not the paper's set-up: no difference to it is shown" if published and setup.departures else ""
