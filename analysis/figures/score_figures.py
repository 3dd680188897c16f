"""Figures made from decisions and scores: recall by class, confusions, the alpha curve, label sources."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.figures.cells import ChainCell
from analysis.figures.networks import draw_confusion
from analysis.figures.rates import (
    CONTROL,
    KIND,
    PUBLISHED,
    SERIES,
    TRAINED,
    draw_alpha_curve,
    draw_class_recall,
    draw_label_sources,
    series_name,
)
from analysis.figures.save import Drawing
from analysis.figures.subject import INTERVALS, Subject, notes_on, subjects_of
from analysis.identity import GIVEN, Network, Treatment, backbone_name, iterations_of, source_name
from analysis.paper.layouts import PAPER_BACKBONE, TABLE_4
from analysis.paper.methods import Method, by_method
from analysis.paper.published import index_published, load_published
from analysis.scoring.comparisons import by_network, of_networks, one_decision
from analysis.scoring.intervals import KINDS
from analysis.scoring.setup import Setup, stands_beside_paper
from data_prep.arrays import Floats
from data_prep.text import plain

Classes = Mapping[str, Sequence[str]]  # name of a corpus in scores -> its classes, in the order of labels


def class_recall(pooled: pd.DataFrame, classes: Classes) -> Iterator[Drawing]:
    """Figures 7-9, for each subject of `pooled` scores."""
    for subject, group in subjects_of(pooled):
        decision, lines = one_decision(group)
        lines = by_method(lines)
        names = classes[subject.condition.corpus]
        notes = notes_on(lines)
        told = [f"{Method.of(line).name}: {listed(names, line[columns.RECALL])}" for line in rows_of(lines)]
        decided_by = columns.DECISION_NAMES[decision]
        yield Drawing(
            "class-recall",
            subject.parts,
            f"Recall of each class by method, decided by {decided_by}; update rules at iteration 1, as in the paper's "
            f"Figures 7 to 9. {subject.sentences(notes)}",
            f"Bar chart of recall in percent. {'. '.join(told)}.",
            draw_class_recall(lines, names, titled(f"{subject.title}, {decided_by}", notes)),
        )


def confusions(pooled: pd.DataFrame, decisions: pd.DataFrame, classes: Classes) -> Iterator[Drawing]:
    """A confusion matrix for each line that figures of recall by class show; iteration 0 once."""
    known, seen = by_network(decisions), set()
    for subject, group in subjects_of(pooled):
        for line in rows_of(by_method(one_decision(group)[1])):
            own, of_line = subject.of_source(line[columns.LABEL_SOURCE]), (Network.of(line), line[columns.DECISION])
            if of_line not in seen:
                seen.add(of_line)
                yield _confusion(own, line, known[of_line], classes)


def _confusion(subject: Subject, line: Mapping[Any, Any], decisions: pd.DataFrame, classes: Classes) -> Drawing:
    names, method = classes[subject.condition.corpus], Method.of(line)
    decided_by = columns.DECISION_NAMES[line[columns.DECISION]]
    counts = confusion_counts(decisions, len(names))
    totals = counts.sum(axis=1)
    right = 100 * np.divide(np.diag(counts), totals, out=np.zeros(len(names)), where=totals > 0)
    notes = notes_on(pd.DataFrame([line]))
    return Drawing(
        "confusion",
        (*subject.parts, *method.parts),
        f"Confusion matrix of utterances, classes in rows and decisions in columns: {method.name}, iteration "
        f"{line[columns.ITERATION]}, by {decided_by}. Percent of the class, above the number of utterances, means "
        f"over seeds. {subject.sentences(notes)}",
        f"Confusion matrix. Right, in percent of the class: {listed(names, right)}.",
        draw_confusion(counts, names, titled(f"{subject.title}, {method.name}, {decided_by}", notes)),
    )


def confusion_counts(decisions: pd.DataFrame, classes: int) -> Floats:
    """Utterances of each class (rows) by the class they were decided to be of: [classes, classes], means over seeds."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (decisions[columns.LABEL].to_numpy(int), decisions[columns.PREDICTED].to_numpy(int)), 1)
    return counts / max(1, len(decisions[[columns.SEED, columns.FOREST_SEED]].drop_duplicates()))


def alpha_curves(pooled: pd.DataFrame) -> Iterator[Drawing]:
    """Table IV as a curve, for each subject with more than one alpha."""
    for subject, lines in subjects_of(pooled):
        ours = _own_points(subject, lines)
        if (ours[columns.RULE] == "wdsl").any() and ours[columns.ALPHA].nunique() > 1:
            yield _alpha_curve(subject, ours)


def _alpha_curve(subject: Subject, ours: pd.DataFrame) -> Drawing:
    published = _published_points(subject)
    points = pd.concat([ours, published])
    setup: Setup = ours[columns.SETUP].iloc[0]
    notes = notes_on(ours)
    if len(published) and setup.departures:
        notes.append(f"Not the paper's set-up: {', '.join(setup.departures)}.")
    told = [
        f"α = {line[columns.ALPHA]:g} {series_name(line[SERIES], line[KIND])} {line[columns.WA]:.1f}"
        for line in rows_of(points)
    ]
    return Drawing(
        "alpha",
        subject.parts,
        f"WA and UA{intervals_of(ours)} by the weight α of the inherited label in WDSL at iteration 1, as in the "
        "paper's Table IV; α = 0 is BDSL, α = 1 is iteration 0. "
        f"{subject.sentences([f'Set-up: {setup.text(ours[columns.SEEDS])}.', *notes])}",
        f"Line chart of WA in percent. {', '.join(told)}.",
        draw_alpha_curve(points, titled(subject.title, notes)),
    )


def _own_points(subject: Subject, lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of Table IV's rows, with alpha as a number and the name of their series."""
    trained = {network.treatment: own for network, own in of_networks(lines).items()}
    found = [
        trained[plan.treatment].assign(**{columns.ALPHA: plan.alpha, KIND: CONTROL if plan.is_control else TRAINED})
        for plan in TABLE_4.plan(subject.condition.backbone, set(trained))
        if plan.treatment in trained
    ]
    points = pd.concat(found or [lines.iloc[:0].assign(**{KIND: ""})])
    points[SERIES] = points[columns.DECISION].map(columns.DECISION_NAMES)
    return points.sort_values(columns.DECISION, kind="stable")


def _published_points(subject: Subject) -> pd.DataFrame:
    """The published values of Table IV for a corpus of the paper, in its split; no rows for another."""
    corpus, split, labels, *_ = subject.condition
    known = index_published(load_published()) if stands_beside_paper(split, labels) else {}
    points: dict[str, dict[str, float]] = {}
    for (table, row, of_corpus, metric), value in known.items():
        if (table, of_corpus) == (TABLE_4.number, corpus):
            points.setdefault(row, {columns.ALPHA: float(row)})[metric.lower()] = value.value
    series = f"published ({backbone_name(PAPER_BACKBONE)})"
    return pd.DataFrame(points.values()).assign(**{SERIES: series, KIND: PUBLISHED})


def label_sources(pooled: pd.DataFrame, cells: Iterable[ChainCell], classes: Classes) -> Iterator[Drawing]:
    """Rates by iteration, for each method that more than one label source has been used with."""
    alike: dict[tuple[Subject, Method], list[ChainCell]] = {}
    for cell in cells:
        if cell.about.updates:
            alike.setdefault((cell.subject.of_source(""), cell.method), []).append(cell)
    context = [columns.CORPUS, columns.SPLIT, columns.LABELS, columns.BACKBONE]
    for (subject, method), of_sources in alike.items():
        corpus, split, labels, _, backbone = subject.condition
        decision, own = one_decision(pooled[(pooled[context] == [corpus, split, labels, backbone]).all(axis=1)])
        lines = pd.concat([_lines_of_chain(own, cell) for cell in of_sources])
        if lines.loc[lines[columns.ITERATION] > 0, columns.LABEL_SOURCE].nunique() > 1:
            chance = 100 / len(classes[subject.condition.corpus])
            yield _label_sources(subject, method, columns.DECISION_NAMES[decision], lines, chance)


def _label_sources(subject: Subject, method: Method, decided_by: str, lines: pd.DataFrame, chance: float) -> Drawing:
    notes = notes_on(lines)
    told = [
        f"{source_name(line[columns.LABEL_SOURCE])} t = {line[columns.ITERATION]}: {line[columns.UA]:.1f}"
        for line in rows_of(lines)
    ]
    title = titled(f"{subject.title}, {method.name}, {decided_by}", notes)
    return Drawing(
        "label-sources",
        (*subject.parts, *method.parts),
        f"WA and UA of {method.name} by iteration for each label source, decided by {decided_by}. Leaky sources have "
        f"learnt labels of test utterances. {subject.sentences(notes)}",
        f"Line chart of UA in percent. {', '.join(told)}.",
        draw_label_sources(lines, title, chance if subject.condition.labels != GIVEN else None),
    )


def _lines_of_chain(lines: pd.DataFrame, cell: ChainCell) -> pd.DataFrame:
    """The lines of a chain's iterations; that of iteration 0 gets the chain's label source."""
    known, updates = of_networks(lines), cell.about.updates
    chain = iterations_of(Treatment.after(cell.about.backbone, updates), updates)
    wanted = map(cell.subject.condition.network, chain)
    found = pd.concat([known.get(network, lines.iloc[:0]) for network in wanted])
    return found.assign(**{columns.LABEL_SOURCE: cell.about.label_source})


def rows_of(lines: pd.DataFrame) -> list[dict[Any, Any]]:
    """The lines of a frame, a dictionary by column each."""
    return lines.to_dict("records")


def listed(names: Sequence[str], values: Iterable[float]) -> str:
    """`anger 85, boredom 72`; a class without a value is left out."""
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{plain(name)} {value:.0f}" for name, value in pairs if not np.isnan(value))


def intervals_of(lines: pd.DataFrame) -> str:
    """` with 95% bootstrap intervals over utterances`: of the kind that the lines have, or nothing without any."""
    known = lines[list(INTERVALS)].notna().to_numpy().any()
    return f" with {KINDS[lines[columns.INTERVALS].iloc[0]].words(several=True)}" if known else ""


def titled(title: str, notes: Sequence[str]) -> str:
    """A title with a line for each note."""
    return "\n".join([title, *notes])
