"""Stage store -> decisions on utterances -> scores: tidy data frames, from the store alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.metrics import class_recall, unweighted_accuracy, weighted_accuracy
from dsl.labels import labels_of
from dsl.utterances import forest_decisions, mean_pooled, utterance_features
from sweep.stages import ChainSpec, StageSpec
from sweep.store import Store

FOREST_FOLDS = 10  # "another 10-fold stratified cross-validation" (§VIII-A)
FOREST_SEEDS = 3


def decide(store: Store, chains: Sequence[ChainSpec], forest_seeds: int = FOREST_SEEDS) -> pd.DataFrame:
    """One row for each cell, decision, forest seed and utterance: what was said and what was decided.

    A cell is what folds together: everything that identifies a stage but its fold. The columns are
    `columns.DECISION_COLUMNS`. Folds whose stage is not in the store, or damaged there, are left out and show in
    `folds_done`. Raises StoreError where the store has stages of a corpus but not the corpus.
    """
    short = _short_names({chain.last.corpus for chain in chains})
    cells = _cells(chains)
    seeds = Counter(replace(stages[0], seed=0) for stages in cells)
    frames = []
    for stages in cells:
        read = [(stage, store.read_predictions(stage.key)) for stage in stages]
        found = {stage.key: predictions for stage, predictions in read if predictions is not None}
        if not found:
            continue
        done = list(found.values())
        utterance = np.concatenate([predictions.utterance[predictions.test] for predictions in done])
        q = np.concatenate([predictions.q[predictions.test] for predictions in done])
        cell = stages[0]
        about_corpus, utterances = store.read_corpus(cell.corpus)
        utterances = utterances.assign(label=labels_of(utterances, cell.labels, cell.seed))
        about = {
            columns.CORPUS: short[cell.corpus],
            columns.BACKBONE: cell.backbone,
            columns.RULE: cell.rule,
            columns.PARTIAL: bool(about_corpus.get("partial", False)),
            columns.ALPHA: cell.alpha,
            columns.ITERATION: cell.iteration,
            columns.LABEL_SOURCE: cell.label_source or "",
            columns.SPLIT: cell.split,
            columns.LABELS: cell.labels,
            columns.VALIDATION_WA: _validation_wa(store, found),
            columns.SEED: cell.seed,
            columns.SEEDS: seeds[replace(cell, seed=0)],
            columns.FOLDS_DONE: len(done),
            columns.FOLDS: cell.folds,
            columns.CLASSES: q.shape[1],
        }
        frames += [decided.assign(**about) for decided in _decide_cell(q, utterance, utterances, forest_seeds)]
    decisions = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return decisions.reindex(columns=list(columns.DECISION_COLUMNS))


def score(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell and decision: WA, UA and per-class recall in percent, mean and spread over forest seeds.

    `decisions` is what `decide` returns; the columns are `columns.SCORE_COLUMNS`.
    """
    identity = [*columns.CELL_COLUMNS, columns.DECISION]
    rows = [
        dict(zip(identity, key, strict=True)) | _scores_of(group)
        for key, group in decisions.groupby(identity, dropna=False, sort=False)
    ]
    return pd.DataFrame(rows, columns=list(columns.SCORE_COLUMNS))


def label_correction(store: Store, chains: Sequence[ChainSpec]) -> pd.DataFrame:
    """How many training segments have a target whose most likely class is the true one, a row a treatment.

    Columns: corpus, backbone, rule, alpha, label_source, iteration and `targets_right`, in percent, mean over the
    folds and seeds that are there; NaN where the corpus does not know its segments' true classes.
    """
    short = _short_names({chain.last.corpus for chain in chains})
    rows = []
    for stage in (stage for stages in _cells(chains) for stage in stages):
        right = (store.read_stage(stage.key) or {}).get("metrics", {}).get("targets_right")
        rows.append(
            {
                columns.CORPUS: short[stage.corpus],
                columns.BACKBONE: stage.backbone,
                columns.RULE: stage.rule,
                columns.ALPHA: stage.alpha,
                columns.LABEL_SOURCE: stage.label_source or "",
                columns.ITERATION: stage.iteration,
                columns.TARGETS_RIGHT: np.nan if right is None else 100 * right,
            }
        )
    identity = list(rows[0])[:-1] if rows else []
    frame = pd.DataFrame(rows)
    return frame.groupby(identity, sort=False, as_index=False)[columns.TARGETS_RIGHT].mean() if rows else frame


def _validation_wa(store: Store, keys: Iterable[str]) -> float:
    """The mean over stages of what they recognise of their validation utterances, in percent; NaN if unknown."""
    metrics = [(store.read_stage(key) or {}).get("metrics", {}) for key in keys]
    return float(np.mean([100 * each.get("validation_wa", np.nan) for each in metrics]))


def _cells(chains: Iterable[ChainSpec]) -> list[list[StageSpec]]:
    """The distinct stages of `chains` that are tested, those that differ in nothing but the fold together."""
    cells: dict[StageSpec, dict[int, StageSpec]] = {}
    for chain in chains:
        for stage in chain.stages:
            if stage.inner_fold is not None:
                continue
            cells.setdefault(replace(stage, fold=0), {})[stage.fold] = stage
    return [[folds[fold] for fold in sorted(folds)] for folds in cells.values()]


def _short_names(full: Iterable[str]) -> dict[str, str]:
    """Full name -> corpus, or the full name itself where two preparations of one corpus are in the same grid."""
    short = {name: name.rpartition("-")[0] for name in full}
    shared = list(short.values())
    return {name: one if shared.count(one) == 1 else name for name, one in short.items()}


def _decide_cell(
    q: np.ndarray, utterance: np.ndarray, utterances: pd.DataFrame, forest_seeds: int
) -> Iterable[pd.DataFrame]:
    """A frame of decisions on utterances for mean pooling and for each forest seed.

    `q` [N, K] are predictions on segments, `utterance` [N] says which row of `utterances` each segment is of.
    """
    tested, position = np.unique(utterance, return_inverse=True)
    known = utterances.iloc[tested]
    label = known["label"].to_numpy()
    features = utterance_features(q, position)
    decided = [(columns.MEAN_POOLING, 0, mean_pooled(features, q.shape[1]))]
    folds = min(FOREST_FOLDS, int(np.unique(label, return_counts=True)[1].min()))
    if folds >= 2:  # with a few folds done, a class may not have enough utterances for a second cross-validation
        by_forest = forest_decisions(features, label, forest_seeds, folds)
        decided += [(columns.FOREST, seed, predicted) for seed, predicted in enumerate(by_forest)]
    for decision, seed, predicted in decided:
        yield pd.DataFrame(
            {
                columns.DECISION: decision,
                columns.FOREST_SEED: seed,
                columns.UTTERANCE: known["id"].to_numpy(),
                columns.SPEAKER: known["speaker"].to_numpy(),
                columns.LABEL: label,
                columns.PREDICTED: predicted,
            }
        )


def _scores_of(group: pd.DataFrame) -> dict[str, Any]:
    """Scores of one cell by one decision."""
    per_seed = []
    for _, seed in group.groupby(columns.FOREST_SEED):
        label, predicted = seed[columns.LABEL].to_numpy(), seed[columns.PREDICTED].to_numpy()
        recall = class_recall(label, predicted, int(seed[columns.CLASSES].iloc[0]))
        per_seed.append((weighted_accuracy(label, predicted), unweighted_accuracy(label, predicted), recall))
    wa, ua, recall = (100 * np.array(values) for values in zip(*per_seed, strict=True))
    return {
        columns.UTTERANCES: group[columns.UTTERANCE].nunique(),
        columns.WA: wa.mean(),
        columns.UA: ua.mean(),
        columns.WA_SD: wa.std(),
        columns.UA_SD: ua.std(),
        columns.RECALL: recall.mean(axis=0).tolist(),
    }
