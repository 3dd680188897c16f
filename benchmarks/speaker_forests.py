"""What a forest knows of a speaker that the split leaves out: three ways of training it, on Emo-DB split by speaker.

    python benchmarks/speaker_forests.py --emodb EMODB --work DIR --json benchmarks/results/speaker_forests.json
    python docs/figures.py

Beside the labels as they are, the names of the classes are exchanged for each speaker in another way. Then nothing can
be known of a speaker that is left out, and whatever is above chance has come from labels of the speaker. Minutes on
two cores; repeated with the same DIR it goes on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from grids import ser_sweep
from measured import report

from analysis.scoring.metrics import weighted_accuracy
from analysis.scoring.results import FOREST_SEEDS, decide
from data_prep.arrays import Floats
from dsl.labels import labels_of
from dsl.splits import assign_folds
from dsl.utterances import ForestFold, forest_decisions, second_cross_validation, utterance_features
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store

GRID: dict[str, Any] = {
    "corpora": ["emodb"],
    "backbones": ["tiny"],
    "rules": ["none"],
    "splits": ["speaker"],
    "folds": 10,
    "training": {"every": 8, "epochs": 8},
}
LABELS: dict[str, dict[str, Any]] = {"given": {"seeds": [0]}, "permuted_by_speaker": {"seeds": [0, 1, 2]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emodb", type=Path, required=True, help="the folder of Emo-DB's wav files")
    parser.add_argument("--work", type=Path, required=True, help="a folder for data and store")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    data, store = work / "data", work / "store"
    ser_sweep("prepare", "emodb", "--source", str(options.emodb.absolute()), "--out", str(data))
    found = {}
    for labels, seeds in LABELS.items():
        grid = work / f"{labels}.yaml"
        grid.write_text(yaml.safe_dump({"name": labels, "labels": labels, **GRID, **seeds}), encoding="utf-8")
        ser_sweep("run", str(grid), "--data", str(data), "--store", str(store))
        spec = load_grid(grid)
        found[labels] = rates(Store(store), spec.expand(resolve_corpora(spec, data)))
    classes = len(resolve_corpora(spec, data)["emodb"].classes)
    report({"grid": GRID, "chance": 100 / classes, "forest_seeds": FOREST_SEEDS, "wa": found}, options.json)


def rates(store: Store, chains: Sequence[ChainSpec]) -> dict[str, float]:
    """WA in percent by each kind of decision, mean over training and forest seeds."""
    decisions = decide(store, chains)
    right = (decisions["label"] == decisions["predicted"]).groupby(decisions["decision"]).mean()
    seeds = sorted({chain.last.seed for chain in chains})
    others = [other_forests(store, [chain for chain in chains if chain.last.seed == seed]) for seed in seeds]
    return {
        "mean pooling": 100 * right["mean"],
        **{name: 100 * float(np.mean([each[name] for each in others])) for name in others[0]},
        "each fold's own network": 100 * right["forest"],
    }


def other_forests(store: Store, chains: Sequence[ChainSpec]) -> dict[str, float]:
    """WA of forests that learn from what the networks of all folds say of their test utterances."""
    last = chains[0].last
    utterances = store.read_corpus(last.corpus)[1]
    utterances = utterances.assign(label=labels_of(utterances, last.labels, last.seed))
    said = [found for chain in chains if (found := store.read_predictions(chain.last.key)) is not None]
    q = np.concatenate([one.q[one.test] for one in said])
    features = utterance_features(q, np.concatenate([one.utterance[one.test] for one in said]))
    label = utterances["label"].to_numpy()
    stratified = [second_cross_validation(features, label, seed) for seed in range(FOREST_SEEDS)]
    left_out = [speakers_left_out(features, utterances, seed) for seed in range(FOREST_SEEDS)]
    return {
        name: float(np.mean([weighted_accuracy(label, one) for one in forest_decisions(folds)]))
        for name, folds in (("stratified folds", stratified), ("folds that leave speakers out", left_out))
    }


def speakers_left_out(features: Floats, utterances: pd.DataFrame, seed: int) -> list[ForestFold]:
    fold_of = assign_folds("speaker", utterances, GRID["folds"], seed)
    label = utterances["label"].to_numpy()
    return [
        ForestFold(features[~tested], label[~tested], features[tested], np.flatnonzero(tested))
        for tested in (fold_of == fold for fold in range(GRID["folds"]))
    ]


if __name__ == "__main__":
    main()
