"""Figures made from single trainings: label correction, learning curves, and contours along an utterance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.figures.cells import ChainCell
from analysis.figures.networks import EPOCH, LOSS, RUN, VALIDATION_LOSS, draw_contours, draw_learning_curves
from analysis.figures.rates import draw_label_correction
from analysis.figures.save import Drawing
from analysis.figures.score_figures import listed, rows_of, titled
from analysis.figures.subject import Subject, subjects_of
from analysis.identity import GIVEN, labels_name
from analysis.paper.methods import Method, shown_methods
from data_prep.arrays import Floats, Ints
from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from data_prep.segments import segment_centres
from data_prep.text import plain
from dsl.labels import labels_of
from sweep.planning.stages import StageSpec
from sweep.storage.store import Store, StoreError

Corpora = Mapping[str, tuple[dict[str, Any], pd.DataFrame]]  # full name -> manifest and utterances


def label_corrections(correction: pd.DataFrame) -> Iterator[Drawing]:
    """A figure for each subject of `correction` whose segments' true classes are known."""
    known = correction[correction[columns.TARGETS_RIGHT].notna()]
    for subject, lines in subjects_of(known):
        if subject.condition.label_source:
            yield _label_correction(subject, lines)


def _label_correction(subject: Subject, lines: pd.DataFrame) -> Drawing:
    later = rows_of(lines[lines[columns.ITERATION] > 0])
    methods = shown_methods({Method.of(line): line[columns.UPDATES][-1].alpha for line in later})
    told = [
        f"{Method.of(line).name} iteration {line[columns.ITERATION]}: {line[columns.TARGETS_RIGHT]:.1f}"
        for line in rows_of(lines)
    ]
    return Drawing(
        "label-correction",
        subject.parts,
        "Training segments whose most likely target is their true class, by iteration and update rule, beside the "
        f"labels they inherit; mean over folds. {subject.sentences()}",
        f"Line chart of shares in percent. {', '.join(told)}.",
        draw_label_correction(lines, methods, subject.title),
    )


def learning_curves(store: Store, cells: Iterable[ChainCell]) -> Iterator[Drawing]:
    """Loss by epoch, for each cell of which a training is done."""
    for cell in cells:
        history = history_of(store, cell)
        if len(history):
            yield _learning_curves(cell, history)


def history_of(store: Store, cell: ChainCell) -> pd.DataFrame:
    """One row for each epoch of each training of a cell, as `draw_learning_curves` takes them."""
    rows = []
    for iteration in cell.shown:
        for stage in cell.at(iteration):
            for epoch in (store.read_stage(stage.key) or {}).get("history", ()):
                losses = {name: epoch[name] for name in (LOSS, VALIDATION_LOSS)}
                run = f"seed {stage.seed} fold {stage.fold}"
                rows.append({columns.ITERATION: iteration, RUN: run, EPOCH: epoch["number"] + 1, **losses})
    return pd.DataFrame(rows).astype({VALIDATION_LOSS: float} if rows else {})


def _learning_curves(cell: ChainCell, history: pd.DataFrame) -> Drawing:
    runs = history.groupby(columns.ITERATION)[RUN].nunique()
    missing = [f"{runs.get(t, 0)} at t = {t}" for t in cell.shown if runs.get(t, 0) < len(cell.chains)]
    notes = _labels_note(cell)
    notes += [f"Folds missing: of {len(cell.chains)} there are {', '.join(missing)}."] if missing else []
    by_epoch = history.groupby([columns.ITERATION, EPOCH])[[LOSS, VALIDATION_LOSS]].mean()
    told = []
    for iteration, own in by_epoch.groupby(level=0):
        (first, _), (last, validation) = own.iloc[0], own.iloc[-1]
        at_last = f", validation at last {validation:.2f}" if validation == validation else ""
        told.append(f"iteration {iteration}: training {first:.2f} to {last:.2f}{at_last}")
    losses = "Training and validation loss" if by_epoch[VALIDATION_LOSS].notna().any() else "Training loss"
    return Drawing(
        "learning-curves",
        cell.parts,
        f"{losses} by epoch, one panel per iteration. Thin lines are folds, thick lines their mean up to the last "
        "epoch of all folds. The minimum of the loss is higher for soft targets than for hard ones. "
        f"{_about_cell(cell, notes)}",
        f"Line chart of cross-entropies in nats. {'; '.join(told)}.",
        draw_learning_curves(history, titled(cell.title, notes)),
    )


def contours(store: Store, cells: Iterable[ChainCell], corpora: Corpora, ids: Sequence[str]) -> Iterator[Drawing]:
    """The contours of each cell along the utterances `ids`, or along the longest one of each corpus."""
    longest: dict[str, int | None] = {}
    for cell in cells:
        name = cell.about.corpus
        if not ids and longest.get(name) is None:
            longest[name] = _longest_tested(store, cell)
        chosen = longest.get(name)
        for row in _rows(cell, corpora, ids) if chosen is None else [chosen]:
            predicted = predictions_along(store, cell, row)
            if predicted:
                yield _contours(cell, row, predicted, *corpora[name])


def check_ids(store: Store, cells: Sequence[ChainCell], corpora: Corpora, ids: Sequence[str]) -> None:
    """Raises UserError for an id that no corpus has, naming near ones, or that no network has been tested on."""
    if ids:
        store.require_predictions()
    known = sorted(str(one) for _, utterances in corpora.values() for one in utterances["id"])
    for one in ids:
        if one not in known:
            near = ", ".join(get_close_matches(one, known, n=5, cutoff=0.5) or known[:5])
            raise UserError(f"utterance {one!r} is in none of the grid's corpora; similar ids: {near}")
        if not any(predictions_along(store, cell, row) for cell in cells for row in _rows(cell, corpora, [one])):
            raise UserError(f"utterance {one!r}: the fold that tests it is not trained; train it with: ser-sweep run")


def _rows(cell: ChainCell, corpora: Corpora, ids: Sequence[str]) -> list[int]:
    _, utterances = corpora[cell.about.corpus]
    return np.flatnonzero(utterances["id"].astype(str).isin(ids)).tolist()


def _longest_tested(store: Store, cell: ChainCell) -> int | None:
    """The utterance (its row) with the most segments among those that iteration 0 has tested, the first of equals."""
    counts: dict[int, int] = {}
    for stage in cell.at(0):
        predictions = store.read_predictions(stage.key)
        if predictions is not None:
            rows, segments = np.unique(predictions.utterance[predictions.test], return_counts=True)
            counts |= dict(zip(rows.tolist(), segments.tolist(), strict=True))
    return min(counts, key=lambda row: (-counts[row], row)) if counts else None


def predictions_along(store: Store, cell: ChainCell, row: int) -> dict[int, tuple[Ints, Floats]]:
    """Iteration -> segment numbers [S] and predictions [S, K] of an utterance by the first seed's fold that tested it.

    Iterations that are not trained are left out. Raises StoreError where they are not of the same segments.
    """
    found = {}
    for iteration in cell.shown:
        stages = [stage for stage in cell.at(iteration) if stage.seed == cell.first_seed]
        tested = _tested_predictions(store, stages, row)
        if tested is not None:
            found[iteration] = tested
    if len({segment.tobytes() for segment, _ in found.values()}) > 1:
        raise StoreError(
            f"store {store.uri}: a stage of {cell.title} has predictions that are not of its corpus's segments; "
            "repair the store with: ser-sweep store verify --repair"
        )
    return found


def _tested_predictions(store: Store, folds: Iterable[StageSpec], row: int) -> tuple[Ints, Floats] | None:
    for stage in folds:
        predictions = store.read_predictions(stage.key)
        if predictions is not None:
            own = predictions.test & (predictions.utterance == row)
            if own.any():
                return predictions.segment[own], predictions.q[own]
    return None


def _contours(
    cell: ChainCell,
    row: int,
    predicted: Mapping[int, tuple[Ints, Floats]],
    about: Mapping[str, Any],
    utterances: pd.DataFrame,
) -> Drawing:
    classes = list(about["classes"])
    one = str(utterances["id"].iloc[row])
    label = int(labels_of(utterances, cell.about.labels, cell.first_seed)[row])
    segment, _ = next(iter(predicted.values()))
    q = {iteration: probabilities for iteration, (_, probabilities) in predicted.items()}
    missing = [str(iteration) for iteration in cell.shown if iteration not in q]
    notes = _labels_note(cell) + ([f"Iterations missing: {', '.join(missing)}."] if missing else [])
    which = f"{plain(one)}, label {plain(classes[label])}"
    told = [f"iteration {t}: {listed(classes, 100 * each.mean(axis=0))}" for t, each in q.items()]
    seconds = segment_centres(segment, FeatureSettings(**about["settings"]))
    return Drawing(
        "contours",
        (*cell.parts, one),
        f"Predicted probability of each class along utterance {which}, one panel per iteration, by the networks that "
        f"were tested on it (seed {cell.first_seed}), as in the paper's Figures 1 and 3 to 6. "
        f"{_about_cell(cell, notes)}",
        f"Line charts along utterance {which}. Means over segments in percent, {'; '.join(told)}.",
        draw_contours(seconds, q, classes, label, titled(cell.title, [f"Utterance {which}", *notes])),
    )


def _labels_note(cell: ChainCell) -> list[str]:
    labels = cell.about.labels
    return [] if labels == GIVEN else [f"Labels {labels_name(labels)}."]


def _about_cell(cell: ChainCell, notes: Sequence[str]) -> str:
    """Which network a figure is of, where its iteration 0 is shown if not here, and the notes."""
    elsewhere = ["Iteration 0, which other rules share, has a figure of its own."] if cell.first else []
    return f"{cell.method.name}, {cell.subject.sentences([*elsewhere, *notes])}"
