"""How many training targets are right, where the true class of each segment is known."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pandas as pd

from analysis import columns
from analysis.scoring.setup import setup_of
from analysis.scoring.stored import about_network, cells_of, corpus_names, record_of
from sweep.planning.stages import ChainSpec, StageSpec
from sweep.storage.store import Store


def label_correction(store: Store, chains: Sequence[ChainSpec]) -> pd.DataFrame:
    """One row for each network of whose training segments the true class is known: how many targets are right.

    The columns are `columns.CORRECTION_COLUMNS`; shares are in percent, mean and standard deviation over folds and
    training seeds. The targets of iteration 0 are the inherited labels. Empty where the store knows no true class.
    """
    short = corpus_names(store, chains)
    networks: dict[StageSpec, list[StageSpec]] = {}
    for stages in cells_of(chains):
        networks.setdefault(replace(stages[0], fold=0, seed=0), []).extend(stages)
    corpora = cache(store.read_corpus)
    rows = []
    for stages in networks.values():
        metrics = [(record_of(store, stage) or {}).get("metrics", {}) for stage in stages]
        right = 100 * pd.Series([one.get(columns.TARGETS_RIGHT) for one in metrics], dtype=float).dropna()
        if right.empty:
            continue
        rows.append(
            {
                **about_network(corpora(stages[0].corpus)[0], stages[0], short),
                columns.SETUP: setup_of(stages[0], *corpora(stages[0].corpus)),
                columns.SEEDS: len({stage.seed for stage in stages}),
                columns.FOLDS_DONE: len(right),
                columns.FOLDS: len(stages),
                columns.TARGETS_RIGHT: right.mean(),
                columns.TARGETS_RIGHT_SD: right.std(),
            }
        )
    return pd.DataFrame(rows, columns=list(columns.CORRECTION_COLUMNS))
