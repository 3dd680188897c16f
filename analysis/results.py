"""Stage store -> decisions on utterances -> scores: tidy data frames, from the store alone."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables as columns
from analysis.metrics import class_recall, unweighted_accuracy, weighted_accuracy
from dsl.utterances import forest_decisions, mean_pooled, utterance_features
from sweep.stages import ChainSpec, StageSpec
from sweep.store import Store

FOREST_FOLDS = 10  # "another 10-fold stratified cross-validation" (§VIII-A)
FOREST_SEEDS = 3
CELL = [
    *(columns.CORPUS, columns.BACKBONE, columns.RULE, columns.ALPHA, columns.ITERATION),
    *(columns.LABEL_SOURCE, columns.SPLIT, columns.SEED, columns.FOLDS_DONE, columns.FOLDS),
]


def decide(store: Store, chains: Sequence[ChainSpec], forest_seeds: int = FOREST_SEEDS) -> pd.DataFrame:
    """One row for each cell, decision, forest seed and utterance: what was said and what was decided.

    A cell is what folds together: everything that identifies a stage but its fold. Columns: CELL, then `decision`
    ("forest" or "mean"), `forest_seed` (0 for "mean"), `utterance`, `speaker`, `label`, `predicted`, `classes`.
    Folds whose stage is not in the store, or damaged there, are left out and show in `folds_done`.
    """
    short = _short_names({chain.last.corpus for chain in chains})
    parts = []
    for stages in _cells(chains):
        first = stages[0]
        found = [(stage, store.read_predictions(stage.key)) for stage in stages]
        done = [predictions for _, predictions in found if predictions is not None]
        if not done:
            continue
        utterance = np.concatenate([predictions.utterance[predictions.test] for predictions in done])
        q = np.concatenate([predictions.q[predictions.test] for predictions in done])
        about, utterances = store.read_corpus(first.corpus)
        decided = _decide_cell(q, utterance, utterances, forest_seeds)
        cell = {
            columns.CORPUS: short[first.corpus],
            columns.BACKBONE: first.backbone,
            columns.RULE: first.rule,
            columns.ALPHA: np.nan if first.alpha is None else first.alpha,
            columns.ITERATION: first.iteration,
            columns.LABEL_SOURCE: first.label_source or "",
            columns.SPLIT: first.split,
            columns.SEED: first.seed,
            columns.FOLDS_DONE: len(done),
            columns.FOLDS: first.folds,
        }
        parts.append(decided.assign(**cell, classes=len(about["classes"])))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*CELL, "decision"])


def score(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell and decision: WA, UA and per-class recall in percent, mean and spread over forest seeds.

    `decisions` is what `decide` returns; the columns are those that `analysis.tables.build_tables` reads.
    """
    rows = []
    for key, group in decisions.groupby([*CELL, columns.DECISION], dropna=False, sort=False):
        assert isinstance(key, tuple)
        rows.append(dict(zip([*CELL, columns.DECISION], key, strict=True)) | _scores_of(group))
    return pd.DataFrame(rows, columns=[*columns.SCORE_COLUMNS, "recall"])


def _cells(chains: Iterable[ChainSpec]) -> list[list[StageSpec]]:
    """The distinct stages of `chains`, those that differ in nothing but the fold together."""
    cells: dict[Any, dict[str, StageSpec]] = {}
    for chain in chains:
        for stage in chain.stages:
            cell = tuple(value for name, value in vars(stage).items() if name in _CELL_FIELDS)
            cells.setdefault(cell, {})[stage.key] = stage
    return [list(stages.values()) for stages in cells.values()]


_CELL_FIELDS = frozenset(StageSpec.__dataclass_fields__) - {"fold"}


def _short_names(corpora: Iterable[str]) -> dict[str, str]:
    """Full name -> corpus, or the full name itself where two preparations of one corpus are in the same grid."""
    full = sorted(corpora)
    short = [name.rpartition("-")[0] for name in full]
    return {name: one if short.count(one) == 1 else name for name, one in zip(full, short, strict=True)}


def _decide_cell(q: np.ndarray, utterance: np.ndarray, utterances: pd.DataFrame, forest_seeds: int) -> pd.DataFrame:
    """Decisions on the utterances that the segments `utterance` [N] are of, from their predictions `q` [N, K]."""
    tested, position = np.unique(utterance, return_inverse=True)
    known = utterances.iloc[tested]
    label = known["label"].to_numpy()
    features = utterance_features(q, position)
    decisions = [("mean", 0, mean_pooled(features, q.shape[1]))]
    folds = min(FOREST_FOLDS, int(np.unique(label, return_counts=True)[1].min()))
    if folds >= 2:  # with a few folds done, a class may not have enough utterances for a second cross-validation
        decided = forest_decisions(features, label, forest_seeds, folds)
        decisions += [("forest", seed, predicted) for seed, predicted in enumerate(decided)]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    columns.DECISION: decision,
                    "forest_seed": seed,
                    "utterance": known["id"].to_numpy(),
                    "speaker": known["speaker"].to_numpy(),
                    "label": label,
                    "predicted": predicted,
                }
            )
            for decision, seed, predicted in decisions
        ]
    )


def _scores_of(group: pd.DataFrame) -> dict[str, Any]:
    """Scores of one cell by one decision."""
    per_seed = [
        (
            weighted_accuracy(seed["label"].to_numpy(), seed["predicted"].to_numpy()),
            unweighted_accuracy(seed["label"].to_numpy(), seed["predicted"].to_numpy()),
            class_recall(seed["label"].to_numpy(), seed["predicted"].to_numpy(), int(seed["classes"].iloc[0])),
        )
        for _, seed in group.groupby("forest_seed")
    ]
    wa, ua, recall = (100 * np.array(values) for values in zip(*per_seed, strict=True))
    return {
        columns.UTTERANCES: group["utterance"].nunique(),
        columns.WA: wa.mean(),
        columns.UA: ua.mean(),
        columns.WA_SD: wa.std(),
        columns.UA_SD: ua.std(),
        "recall": recall.mean(axis=0).tolist(),
    }
