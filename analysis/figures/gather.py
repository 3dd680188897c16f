"""From a store and the scores of a grid to every figure for which there is data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.figures.evidence import (
    DECISION_NAMES,
    INTERVALS,
    Method,
    Setting,
    notes_on,
    one_decision,
    pool_seeds,
    settings_of,
    shown_methods,
    source_name,
)
from analysis.figures.networks import draw_confusion, draw_contours, draw_learning_curves
from analysis.figures.rates import (
    CONTROL,
    PUBLISHED,
    SERIES,
    draw_alpha_curve,
    draw_class_recall,
    draw_label_correction,
    draw_label_sources,
)
from analysis.figures.save import Drawing
from analysis.figures.style import plain
from analysis.layouts import TABLES_OF_ONE_BACKBONE, RowPlan, Treatment, backbone_name
from analysis.published import PAPER_UTTERANCES, PublishedValue, index_published, load_published
from analysis.results import label_correction
from analysis.tables import PAPER_BACKBONE, corpus_name
from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from dsl.labels import BASELINE, labels_of
from sweep.stages import ChainSpec, StageSpec
from sweep.store import Store

(TABLE_4,) = (layout for layout in TABLES_OF_ONE_BACKBONE if layout.number == "IV")


def figures_of(
    store: Store,
    chains: Sequence[ChainSpec],
    decisions: pd.DataFrame,
    scores: pd.DataFrame,
    utterances: Sequence[str] = (),
) -> Iterator[Drawing]:
    """Every figure of a grid for which there is data, one after the other.

    `decisions` and `scores` are what `decide` and `score` make of `store` and `chains`. `utterances` are the ids to
    draw contours along; by default the longest one of each corpus that was tested. Raises UserError for ids that
    none of the corpora has, or that no finished fold has tested.
    """
    sources = _Sources(store, chains)
    sources.check_ids(utterances)
    pooled = pool_seeds(scores)
    if len(pooled):
        yield from _class_recall(sources, pooled)
        yield from _alpha_curves(pooled)
        yield from _label_sources(sources, pooled)
        yield from _confusions(sources, decisions, pooled)
    yield from _label_correction(label_correction(store, chains))
    for cell in sources.cells:
        yield from _learning_curves(store, cell)
        yield from _contours(sources, cell, utterances)


# What figures are made from


@dataclass(frozen=True)
class _ChainCell:
    """The chains that differ in nothing but fold and seed: one curve, or one row of panels."""

    corpus: str  # by its short name
    about: StageSpec
    chains: tuple[ChainSpec, ...]

    @property
    def method(self) -> Method:
        return Method(self.about.rule, self.about.alpha)

    @property
    def setting(self) -> Setting:
        about = self.about
        return Setting(self.corpus, about.backbone, about.split, about.labels, about.label_source or "")

    @property
    def slugs(self) -> tuple[str, ...]:
        return (*self.setting.slugs, self.method.rule, *filter(None, [self.method.alpha]))

    @property
    def words(self) -> str:
        return f"{self.setting.words}, {self.method.name}"

    @property
    def seeds(self) -> list[int]:
        return sorted({chain.last.seed for chain in self.chains})

    def at(self, iteration: int, seed: int | None = None) -> list[StageSpec]:
        """The stages of all folds at an iteration, of one seed or of all."""
        return [chain.last.at(iteration) for chain in self.chains if seed in (None, chain.last.seed)]


class _Sources:
    """A store and the chains of a grid, with what several figures ask of them."""

    def __init__(self, store: Store, chains: Sequence[ChainSpec]) -> None:
        self.store = store
        self._chains = chains
        self.corpus = cache(self._read_corpus)
        self.longest = cache(self._longest)

    @cached_property
    def names(self) -> dict[str, str]:
        """Full names of corpora -> the names in scores: short ones, unless two preparations share theirs."""
        full = {chain.last.corpus for chain in self._chains}
        short = [name.rpartition("-")[0] for name in full]
        return {name: one if short.count(one) == 1 else name for name, one in zip(full, short, strict=True)}

    @cached_property
    def cells(self) -> list[_ChainCell]:
        """The shown methods' cells of chains, in the paper's order of methods."""
        found: dict[StageSpec, list[ChainSpec]] = {}
        for chain in self._chains:
            found.setdefault(replace(chain.last, fold=0, seed=0), []).append(chain)
        cells = [_ChainCell(self.names[about.corpus], about, tuple(own)) for about, own in found.items()]
        shown = [cell for cell in cells if cell.method in self._shown(cell, cells)]
        return sorted(shown, key=lambda cell: (cell.setting, cell.method.position))

    def _shown(self, cell: _ChainCell, cells: Iterable[_ChainCell]) -> list[Method]:
        return shown_methods(other.method for other in cells if other.setting == cell.setting)

    def classes(self, corpus: str) -> list[str]:
        """The classes of a corpus by its name in scores, in the order of labels."""
        (full,) = (full for full, name in self.names.items() if name == corpus)
        return list(self.corpus(full)[0]["classes"])

    def _read_corpus(self, full: str) -> tuple[dict[str, Any], pd.DataFrame]:
        return self.store.read_corpus(full)

    def check_ids(self, utterances: Iterable[str]) -> None:
        """Raises UserError, naming near ones, for ids that no corpus of the grid has."""
        known = [str(one) for full in sorted(self.names) for one in self.corpus(full)[1]["id"]]
        for utterance in utterances:
            if utterance not in known:
                near = get_close_matches(utterance, known, n=5, cutoff=0.5) or sorted(known)[:5]
                raise UserError(
                    f"utterance {utterance!r} is in none of the grid's corpora; near to it: {', '.join(map(plain, near))}"
                )

    def _longest(self, cell: StageSpec) -> int | None:
        """The utterance (row) with the most segments, the first of equals, among those that iteration 0 has tested."""
        counts: dict[int, int] = {}
        for stage in cell.at(0).out_of_fold:
            predictions = self.store.read_predictions(stage.key)
            if predictions is not None:
                rows, segments = np.unique(predictions.utterance[predictions.test], return_counts=True)
                counts |= dict(zip(rows.tolist(), segments.tolist(), strict=True))
        return min(counts, key=lambda row: (-counts[row], row)) if counts else None


# Figures from scores


def _class_recall(sources: _Sources, pooled: pd.DataFrame) -> Iterator[Drawing]:
    for setting, group in settings_of(pooled):
        decision, lines = one_decision(group)
        lines = _by_method(lines)
        classes = sources.classes(setting.corpus)
        title = "\n".join([f"{setting.words}, {DECISION_NAMES[decision]}", *notes_on(lines)])
        told = [
            f"{Method(line[columns.RULE], line[columns.ALPHA]).name}: {_listed(classes, line[columns.RECALL])}"
            for line in lines.to_dict("records")
        ]
        yield Drawing(
            "class-recall",
            setting.slugs,
            _caption(
                f"Recall of each class by method, decided by {DECISION_NAMES[decision]}; update rules at iteration 1, as "
                "in the paper's Figures 7 to 9",
                setting,
                lines,
            ),
            f"Bar chart of recall in percent. {'. '.join(told)}.",
            draw_class_recall(lines, classes, title),
        )


def _by_method(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of iteration 0 and of the shown methods at iteration 1, in the paper's order."""
    early = lines[lines[columns.ITERATION] <= 1]
    methods = [Method(*key) for key in zip(early[columns.RULE], early[columns.ALPHA], strict=True)]
    shown = shown_methods(methods)
    kept = [position for position, method in enumerate(methods) if method in shown]
    return early.iloc[sorted(kept, key=lambda position: methods[position].position)]


def _alpha_curves(pooled: pd.DataFrame) -> Iterator[Drawing]:
    published = index_published(load_published())
    for setting, lines in settings_of(pooled):
        trained = {
            Treatment(setting.backbone, line[columns.RULE], line[columns.ALPHA], line[columns.ITERATION])
            for line in lines.to_dict("records")
        }
        plans = TABLE_4.plan(setting.backbone, trained)
        ours = [_points_of(plan, lines) for plan in plans if plan.treatment in trained]
        shown = pd.concat(ours) if ours else pd.DataFrame()
        if shown.empty or not (shown[columns.RULE] == "wdsl").any() or shown[columns.ALPHA].nunique() < 2:
            continue
        points = pd.concat(
            [shown.sort_values(columns.DECISION, kind="stable"), _published_points(setting, plans, published)]
        )
        notes = notes_on(shown)
        if setting.corpus in PAPER_UTTERANCES and setting.backbone != PAPER_BACKBONE:
            notes.append(f"The published curve is of {backbone_name(PAPER_BACKBONE)}.")
        intervals = " with 95% bootstrap intervals" if shown[list(INTERVALS)].notna().to_numpy().any() else ""
        told = [
            f"α = {line[columns.ALPHA]:g} {line[SERIES]} {line[columns.WA]:.1f}" for line in points.to_dict("records")
        ]
        yield Drawing(
            "alpha",
            setting.slugs,
            _caption(
                f"WA and UA{intervals} by the weight α of the inherited label in WDSL at iteration 1, as in the paper's "
                "Table IV; α = 0 is BDSL, α = 1 is iteration 0",
                setting,
                shown,
            ),
            f"Line chart of WA in percent. {', '.join(told)}.",
            draw_alpha_curve(points, "\n".join([setting.words, *notes])),
        )


def _points_of(plan: RowPlan, lines: pd.DataFrame) -> pd.DataFrame:
    """Our points of a row of Table IV, for every decision."""
    assert plan.treatment is not None
    _, rule, alpha, iteration = plan.treatment
    own = lines[
        (lines[columns.RULE] == rule) & (lines[columns.ALPHA] == alpha) & (lines[columns.ITERATION] == iteration)
    ]
    value, _, note = plan.label.name.partition(" ")
    name = f", {CONTROL}" if note else ""
    return own.assign(**{columns.ALPHA: float(value), SERIES: own[columns.DECISION].map(DECISION_NAMES) + name})


def _published_points(
    setting: Setting, plans: Iterable[RowPlan], published: Mapping[tuple[str, str, str, str], PublishedValue]
) -> pd.DataFrame:
    rows = []
    for plan in plans:
        found = [published.get(("IV", plan.published_row or "", setting.corpus, metric)) for metric in ("WA", "UA")]
        if all(found):
            wa, ua = (value.value for value in found if value)
            name = f"{PUBLISHED} ({backbone_name(PAPER_BACKBONE)})"
            rows.append({SERIES: name, columns.ALPHA: float(plan.label.name), columns.WA: wa, columns.UA: ua})
    return pd.DataFrame(rows)


def _label_sources(sources: _Sources, pooled: pd.DataFrame) -> Iterator[Drawing]:
    """A figure for every method that more than one label source has been used with."""
    cells: dict[tuple[Setting, Method], list[_ChainCell]] = {}
    for cell in sources.cells:
        if cell.about.updates:
            cells.setdefault((cell.setting._replace(label_source=""), cell.method), []).append(cell)
    for (setting, method), of_sources in cells.items():
        decision, own = one_decision(_of_setting(pooled, setting))
        per_source = {cell.about.label_source: _lines_of_chain(own, cell) for cell in of_sources}
        trained = {source: lines for source, lines in per_source.items() if (lines[columns.ITERATION] > 0).any()}
        if len(trained) < 2:
            continue
        lines = pd.concat([line.assign(**{columns.LABEL_SOURCE: source}) for source, line in trained.items()])
        permuted = setting.labels == "permuted"
        title = f"{setting.words}, {method.name}, {DECISION_NAMES[decision]}"
        told = [
            f"{source_name(line[columns.LABEL_SOURCE])} iteration {line[columns.ITERATION]}: {line[columns.UA]:.1f}"
            for line in lines.to_dict("records")
        ]
        yield Drawing(
            "label-sources",
            (*setting.slugs, method.rule, *filter(None, [method.alpha])),
            _caption(
                f"WA and UA by iteration of {method.name} for each label source, decided by {DECISION_NAMES[decision]}; "
                "the leaky one has seen labels of test utterances",
                setting,
                lines,
            ),
            f"Line chart of UA in percent. {', '.join(told)}.",
            draw_label_sources(
                lines,
                "\n".join([title, *notes_on(lines)]),
                100 / len(sources.classes(setting.corpus)) if permuted else None,
            ),
        )


def _of_setting(lines: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """The lines of a setting, of whatever label source."""
    wanted = zip((columns.CORPUS, columns.BACKBONE, columns.SPLIT, columns.LABELS), setting, strict=False)
    for column, value in wanted:
        lines = lines[lines[column] == value]
    return lines


def _lines_of_chain(lines: pd.DataFrame, cell: _ChainCell) -> pd.DataFrame:
    """The lines of a chain's iterations 0, 1, ..."""
    found = []
    for iteration in range(cell.about.iteration + 1):
        stage = cell.about.at(iteration)
        same = (lines[columns.RULE] == stage.rule) & (lines[columns.ALPHA] == stage.alpha)
        same &= (lines[columns.ITERATION] == iteration) & (lines[columns.LABEL_SOURCE] == (stage.label_source or ""))
        found.append(lines[same])
    return pd.concat(found)


def _confusions(sources: _Sources, decisions: pd.DataFrame, pooled: pd.DataFrame) -> Iterator[Drawing]:
    for setting, group in settings_of(pooled):
        decision, lines = one_decision(group)
        classes = sources.classes(setting.corpus)
        for line in _by_method(lines).to_dict("records"):
            own = _decisions_on(decisions, line)
            if setting.label_source and not line[columns.LABEL_SOURCE] and _is_repeated(pooled, setting):
                continue
            counts = confusion_counts(own, len(classes))
            method = Method(line[columns.RULE], line[columns.ALPHA])
            told = [f"{name} {100 * share:.0f}" for name, share in zip(classes, _diagonal(counts), strict=True)]
            about = setting._replace(label_source=line[columns.LABEL_SOURCE])
            where = f"{about.words}, {method.name}, {DECISION_NAMES[decision]}"
            yield Drawing(
                "confusion",
                (*about.slugs, method.rule, *filter(None, [method.alpha])),
                _caption(
                    f"Utterances of each class (rows) decided to be of each (columns), {method.name} at iteration "
                    f"{line[columns.ITERATION]}, by {DECISION_NAMES[decision]}; numbers are means over seeds",
                    about,
                    pd.DataFrame([line]),
                ),
                f"Confusion matrix. Right, in percent of the class: {', '.join(told)}.",
                draw_confusion(counts, classes, "\n".join([where, *notes_on(pd.DataFrame([line]))])),
            )


def _is_repeated(pooled: pd.DataFrame, setting: Setting) -> bool:
    """Whether another label source's figures show iteration 0 already."""
    settings = [each for each, _ in settings_of(pooled) if each._replace(label_source=setting.label_source) == setting]
    return settings[0] != setting


def _decisions_on(decisions: pd.DataFrame, line: Mapping[Any, Any]) -> pd.DataFrame:
    """The decisions that a pooled line of scores is made from."""
    identity = [columns.CORPUS, columns.BACKBONE, columns.SPLIT, columns.LABELS, columns.LABEL_SOURCE]
    same = np.ones(len(decisions), dtype=bool)
    for column in [*identity, columns.RULE, columns.ALPHA, columns.ITERATION, columns.DECISION]:
        same &= (decisions[column] == line[column]).to_numpy()
    return decisions[same]


def confusion_counts(decisions: pd.DataFrame, classes: int) -> np.ndarray:
    """Utterances of each class (rows) by the class they were decided to be of: [classes, classes], means over seeds."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (decisions[columns.LABEL].to_numpy(int), decisions[columns.PREDICTED].to_numpy(int)), 1)
    return counts / max(1, len(decisions[[columns.SEED, columns.FOREST_SEED]].drop_duplicates()))


def _diagonal(counts: np.ndarray) -> np.ndarray:
    totals = counts.sum(axis=1)
    return np.divide(np.diag(counts), totals, out=np.zeros(len(counts)), where=totals > 0)


# Figures from stages


def _label_correction(correction: pd.DataFrame) -> Iterator[Drawing]:
    known = correction[correction[columns.TARGETS_RIGHT].notna()]
    for (corpus, backbone), group in known.groupby([columns.CORPUS, columns.BACKBONE]):
        for source in sorted(set(group[columns.LABEL_SOURCE]) - {""}):
            lines = group[group[columns.LABEL_SOURCE].isin([source, ""])]
            later = lines[lines[columns.ITERATION] > 0]
            methods = shown_methods(Method(*key) for key in zip(later[columns.RULE], later[columns.ALPHA], strict=True))
            where = f"{corpus_name(corpus)}, {backbone_name(backbone)}, label source {source_name(source)}"
            told = [
                f"{Method(line[columns.RULE], line[columns.ALPHA]).name} iteration {line[columns.ITERATION]}: "
                f"{line[columns.TARGETS_RIGHT]:.1f}"
                for line in lines.to_dict("records")
            ]
            yield Drawing(
                "label-correction",
                (corpus, backbone, source),
                "Training segments whose most likely target is their true class, by iteration and update rule, beside "
                f"the labels they inherit; mean over folds. {where}.",
                f"Line chart of shares in percent. {', '.join(told)}.",
                draw_label_correction(lines, methods, where),
            )


def _learning_curves(store: Store, cell: _ChainCell) -> Iterator[Drawing]:
    rows = []
    missing = 0
    for iteration in range(cell.about.iteration + 1):
        for stage in cell.at(iteration):
            history = (store.read_stage(stage.key) or {}).get("history")
            missing += not history
            rows += [
                {columns.ITERATION: iteration, "run": f"{stage.seed}/{stage.fold}", "epoch": epoch["number"], **epoch}
                for epoch in history or ()
            ]
    if not rows:
        return
    history = pd.DataFrame(rows)
    notes = [f"{missing} of {len(cell.chains) * (cell.about.iteration + 1)} trainings missing."] if missing else []
    notes += ["Labels permuted."] if cell.about.labels == "permuted" else []
    last = history.groupby(columns.ITERATION)[["loss", "validation_loss"]].agg(["first", "last"])
    told = [
        f"iteration {iteration}: training {line['loss', 'first']:.2f} to {line['loss', 'last']:.2f}"
        for iteration, line in last.iterrows()
    ]
    yield Drawing(
        "learning-curves",
        cell.slugs,
        f"Training and validation loss by epoch, a panel an iteration; thin lines are folds, the thick one is their mean "
        f"as far as all of them go. Losses of different targets have different lowest values. {cell.words}."
        + "".join(f" {note}" for note in notes),
        f"Line chart of cross-entropies in nats. {', '.join(told)}.",
        draw_learning_curves(history, "\n".join([cell.words, *notes])),
    )


def _contours(sources: _Sources, cell: _ChainCell, ids: Sequence[str]) -> Iterator[Drawing]:
    """Contours along each utterance, by the networks of the first seed."""
    about, table = sources.corpus(cell.about.corpus)
    seed = cell.seeds[0]
    rows = np.flatnonzero(table["id"].astype(str).isin(ids)).tolist()
    if not ids:
        longest = sources.longest(replace(cell.about, seed=seed))
        rows = [] if longest is None else [longest]
    for row in rows:
        yield from _contours_along(sources.store, cell, seed, row, about, table)


def _contours_along(
    store: Store, cell: _ChainCell, seed: int, row: int, about: Mapping[str, Any], table: pd.DataFrame
) -> Iterator[Drawing]:
    classes = list(about["classes"])
    utterance = plain(table["id"].iloc[row])
    label = int(labels_of(table, cell.about.labels, seed)[row])
    iterations = range(cell.about.iteration + 1)
    found = {t: tested for t in iterations if (tested := _tested(store, cell.at(t, seed), row)) is not None}
    if not found:
        return
    seconds = segment_centres(next(iter(found.values()))[0], FeatureSettings(**about["settings"]))
    notes = [f"Iterations not trained: {', '.join(str(t) for t in iterations if t not in found)}."]
    notes = notes if len(found) < len(iterations) else []
    notes += ["Labels permuted."] if cell.about.labels == "permuted" else []
    where = f"utterance {utterance}, label {plain(classes[label])}"
    told = [f"iteration {t}: {_listed(classes, 100 * q.mean(axis=0))}" for t, (_, q) in found.items()]
    yield Drawing(
        "contours",
        (*cell.slugs, str(table["id"].iloc[row])),
        f"Predicted probability of each class along {where}, a panel an iteration, by the networks of the fold that "
        f"tested it (seed {seed}), as in the paper's Figures 1 and 3 to 6. {cell.words}."
        + "".join(f" {note}" for note in notes),
        f"Line charts of probabilities along {where}. Means over segments in percent, {'; '.join(told)}.",
        draw_contours(
            seconds,
            {t: q for t, (_, q) in found.items()},
            classes,
            label,
            "\n".join([cell.words, where[0].upper() + where[1:], *notes]),
        ),
    )


def _tested(store: Store, folds: Iterable[StageSpec], row: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Segment numbers [S] and predictions [S, K] of an utterance by the fold that tested it; None where it is missing."""
    for stage in folds:
        predictions = store.read_predictions(stage.key)
        if predictions is not None:
            own = predictions.test & (predictions.utterance == row)
            if own.any():
                return predictions.segment[own], predictions.q[own]
    return None


def segment_centres(segment: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """Where segments `segment` [S] of an utterance have their centre, in seconds from its start."""
    first = segment * settings.segment_hop * settings.shift
    length = (settings.segment_frames - 1) * settings.shift + settings.window
    return (first + length / 2) / settings.sample_rate


# Words


def _caption(what: str, setting: Setting, lines: pd.DataFrame) -> str:
    return " ".join([f"{what}. {setting.words}.", *notes_on(lines)])


def _listed(names: Sequence[str], values: Iterable[float]) -> str:
    return ", ".join(f"{plain(name)} {value:.0f}" for name, value in zip(names, values, strict=True))
