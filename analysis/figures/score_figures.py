"""Figures made from decisions and scores: recall by class, confusions, the alpha curve, label sources."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.figures.cells import ChainCell
from analysis.figures.evidence import (
    INTERVALS,
    Method,
    Setting,
    notes_on,
    settings_of,
    shown_methods,
    source_name,
)
from analysis.figures.networks import draw_confusion
from analysis.figures.rates import CONTROL, PUBLISHED, SERIES, draw_alpha_curve, draw_class_recall, draw_label_sources
from analysis.figures.save import Drawing
from analysis.figures.style import plain
from analysis.paper.layouts import TABLES_OF_ONE_BACKBONE, RowPlan, Treatment, backbone_name
from analysis.paper.published import index_published, load_published
from analysis.paper.setup import Setup, stands_beside_paper
from analysis.scoring.comparisons import one_decision
from analysis.tables.paper_tables import PAPER_BACKBONE

Classes = Mapping[str, Sequence[str]]  # name of a corpus in scores -> its classes, in the order of labels
(TABLE_4,) = (layout for layout in TABLES_OF_ONE_BACKBONE if layout.number == "IV")
CONTEXT = [columns.CORPUS, columns.BACKBONE, columns.SPLIT, columns.LABELS]
TREATMENT = [columns.LABEL_SOURCE, columns.RULE, columns.ALPHA, columns.ITERATION]


def class_recall(pooled: pd.DataFrame, classes: Classes) -> Iterator[Drawing]:
    """Figures 7-9, for each setting of `pooled` scores."""
    for setting, group in settings_of(pooled):
        decision, lines = one_decision(group)
        lines = by_method(lines)
        names = classes[setting.corpus]
        notes = notes_on(lines)
        told = [f"{method_of(line).name}: {listed(names, line[columns.RECALL])}" for line in records(lines)]
        decided_by = columns.DECISION_NAMES[decision]
        what = f"Recall of each class by method, decided by {decided_by}; update rules at iteration 1, as"
        yield Drawing(
            "class-recall",
            setting.parts,
            sentences(f"{what} in the paper's Figures 7 to 9.", setting.sentence, *notes),
            f"Bar chart of recall in percent. {'. '.join(told)}.",
            draw_class_recall(lines, names, titled(f"{setting.title}, {decided_by}", notes)),
        )


def confusions(pooled: pd.DataFrame, decisions: pd.DataFrame, classes: Classes) -> Iterator[Drawing]:
    """A confusion matrix for each line that figures of recall by class show; iteration 0 once."""
    seen = set()
    for setting, group in settings_of(pooled):
        for line in records(by_method(one_decision(group)[1])):
            own = setting._replace(label_source=line[columns.LABEL_SOURCE])
            if (own, method_of(line)) not in seen:
                seen.add((own, method_of(line)))
                yield _confusion(own, line, _same(decisions, line, [*CONTEXT, *TREATMENT, columns.DECISION]), classes)


def _confusion(setting: Setting, line: Mapping[Any, Any], decisions: pd.DataFrame, classes: Classes) -> Drawing:
    names, method = classes[setting.corpus], method_of(line)
    decided_by = columns.DECISION_NAMES[line[columns.DECISION]]
    counts = confusion_counts(decisions, len(names))
    totals = counts.sum(axis=1)
    right = 100 * np.divide(np.diag(counts), totals, out=np.zeros(len(names)), where=totals > 0)
    notes = notes_on(pd.DataFrame([line]))
    what = f"Utterances of each class (rows) and what they were decided to be (columns): {method.name}, iteration"
    return Drawing(
        "confusion",
        (*setting.parts, *method.parts),
        sentences(
            f"{what} {line[columns.ITERATION]}, by {decided_by}. Percent of the class, above how many utterances that "
            "are, means over seeds.",
            setting.sentence,
            *notes,
        ),
        f"Confusion matrix. Right, in percent of the class: {listed(names, right)}.",
        draw_confusion(counts, names, titled(f"{setting.title}, {method.name}, {decided_by}", notes)),
    )


def confusion_counts(decisions: pd.DataFrame, classes: int) -> np.ndarray:
    """Utterances of each class (rows) by the class they were decided to be of: [classes, classes], means over seeds."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (decisions[columns.LABEL].to_numpy(int), decisions[columns.PREDICTED].to_numpy(int)), 1)
    return counts / max(1, len(decisions[[columns.SEED, columns.FOREST_SEED]].drop_duplicates()))


def alpha_curves(pooled: pd.DataFrame) -> Iterator[Drawing]:
    """Table IV as a curve, for each setting with more than one alpha."""
    for setting, lines in settings_of(pooled):
        ours = _own_points(setting, lines)
        if (ours[columns.RULE] == "wdsl").any() and ours[columns.ALPHA].nunique() > 1:
            yield _alpha_curve(setting, ours)


def _alpha_curve(setting: Setting, ours: pd.DataFrame) -> Drawing:
    published = _published_points(setting)
    points = pd.concat([ours, published])
    setup: Setup = ours[columns.SETUP].iloc[0]
    notes = notes_on(ours)
    if len(published) and setup.departures:
        notes.append(f"Not the paper's set-up: {', '.join(setup.departures)}.")
    intervals = " with 95% bootstrap intervals" if ours[list(INTERVALS)].notna().to_numpy().any() else ""
    what = f"WA and UA{intervals} by the weight α of the inherited label in WDSL at iteration 1, as in the paper's"
    told = [f"α = {line[columns.ALPHA]:g} {line[SERIES]} {line[columns.WA]:.1f}" for line in records(points)]
    return Drawing(
        "alpha",
        setting.parts,
        sentences(
            f"{what} Table IV; α = 0 is BDSL, α = 1 is iteration 0.",
            setting.sentence,
            f"Set-up: {setup.text(ours[columns.SEEDS])}.",
            *notes,
        ),
        f"Line chart of WA in percent. {', '.join(told)}.",
        draw_alpha_curve(points, titled(setting.title, notes)),
    )


def _own_points(setting: Setting, lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of Table IV's rows, with alpha as a number and the name of their series."""
    trained = {
        Treatment(setting.backbone, line[columns.RULE], line[columns.ALPHA], line[columns.ITERATION])
        for line in records(lines)
    }
    plans = [plan for plan in TABLE_4.plan(setting.backbone, trained) if plan.treatment in trained]
    found = [_points_of(plan, lines) for plan in plans]
    points = pd.concat(found or [lines.iloc[:0].assign(series="")])
    return points.sort_values(columns.DECISION, kind="stable")


def _points_of(plan: RowPlan, lines: pd.DataFrame) -> pd.DataFrame:
    assert plan.treatment is not None
    own = _same(lines, plan.treatment._asdict(), [columns.RULE, columns.ALPHA, columns.ITERATION])
    alpha, _, control = plan.label.name.partition(" ")
    series = own[columns.DECISION].map(columns.DECISION_NAMES) + (CONTROL if control else "")
    return own.assign(**{columns.ALPHA: float(alpha), SERIES: series})


def _published_points(setting: Setting) -> pd.DataFrame:
    """The published values of Table IV for a corpus of the paper, in its split; no rows for another."""
    known = index_published(load_published()) if stands_beside_paper(setting.split, setting.labels) else {}
    points: dict[str, dict[str, float]] = {}
    for (table, row, of_corpus, metric), value in known.items():
        if (table, of_corpus) == ("IV", setting.corpus):
            points.setdefault(row, {columns.ALPHA: float(row)})[metric.lower()] = value.value
    return pd.DataFrame(points.values()).assign(**{SERIES: f"{PUBLISHED} ({backbone_name(PAPER_BACKBONE)})"})


def label_sources(pooled: pd.DataFrame, cells: Iterable[ChainCell], classes: Classes) -> Iterator[Drawing]:
    """Rates by iteration, for each method that more than one label source has been used with."""
    alike: dict[tuple[Setting, Method], list[ChainCell]] = {}
    for cell in cells:
        if cell.about.updates:
            alike.setdefault((cell.setting._replace(label_source=""), cell.method), []).append(cell)
    for (setting, method), of_sources in alike.items():
        decision, own = one_decision(_same(pooled, setting._asdict(), CONTEXT))
        lines = pd.concat([_lines_of_chain(own, cell) for cell in of_sources])
        if lines.loc[lines[columns.ITERATION] > 0, columns.LABEL_SOURCE].nunique() > 1:
            yield _label_sources(setting, method, columns.DECISION_NAMES[decision], lines, len(classes[setting.corpus]))


def _label_sources(setting: Setting, method: Method, decided_by: str, lines: pd.DataFrame, classes: int) -> Drawing:
    notes = notes_on(lines)
    told = [
        f"{source_name(line[columns.LABEL_SOURCE])} t = {line[columns.ITERATION]}: {line[columns.UA]:.1f}"
        for line in records(lines)
    ]
    title = titled(f"{setting.title}, {method.name}, {decided_by}", notes)
    chance = 100 / classes if setting.labels != "given" else None
    return Drawing(
        "label-sources",
        (*setting.parts, *method.parts),
        sentences(
            f"WA and UA of {method.name} by iteration for each label source, decided by {decided_by}. What is leaky "
            "has learnt labels of test utterances.",
            setting.sentence,
            *notes,
        ),
        f"Line chart of UA in percent. {', '.join(told)}.",
        draw_label_sources(lines, title, chance),
    )


def _lines_of_chain(lines: pd.DataFrame, cell: ChainCell) -> pd.DataFrame:
    """The lines of a chain's iterations; that of iteration 0 gets the chain's label source."""
    found = []
    for iteration in cell.iterations:
        stage = cell.about.at(iteration)
        wanted = (stage.label_source or "", stage.rule, stage.alpha, iteration)
        found.append(_same(lines, dict(zip(TREATMENT, wanted, strict=True)), TREATMENT))
    return pd.concat(found).assign(**{columns.LABEL_SOURCE: cell.about.label_source})


def by_method(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of iteration 0 and those of the shown methods at iteration 1, in the paper's order."""
    early = lines[lines[columns.ITERATION] <= 1]
    methods = [Method(*key) for key in zip(early[columns.RULE], early[columns.ALPHA], strict=True)]
    return early.iloc[[methods.index(method) for method in shown_methods(methods)]]


def _same(lines: pd.DataFrame, wanted: Mapping[Any, Any], names: Iterable[str]) -> pd.DataFrame:
    """The lines whose columns `names` have the values that `wanted` has there."""
    kept = np.ones(len(lines), dtype=bool)
    for name in names:
        kept &= (lines[name] == wanted[name]).to_numpy()
    return lines[kept]


def records(lines: pd.DataFrame) -> list[dict[Any, Any]]:
    return lines.to_dict("records")


def method_of(line: Mapping[Any, Any]) -> Method:
    return Method(line[columns.RULE], line[columns.ALPHA])


def listed(names: Sequence[str], values: Iterable[float]) -> str:
    """`anger 85, boredom 72`; a class without a value is left out."""
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{plain(name)} {value:.0f}" for name, value in pairs if not np.isnan(value))


def sentences(*parts: str) -> str:
    return " ".join(parts)


def titled(title: str, notes: Sequence[str]) -> str:
    """A title with a line for each note."""
    return "\n".join([title, *notes])
