"""Random forests of ten seeds beside scikit-learn's of three, and forest for forest, in turn.

    python benchmarks/forests.py --json benchmarks/results/forests.json
    python docs/figures.py

The utterances are as many as RAVDESS has, with what a network might say of their segments. Both use all cores: ours
threads, scikit-learn's processes. Another run of both comes first, so that kernels are compiled and processes started.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from measured import report
from sklearn.ensemble import RandomForestClassifier

from data_prep.arrays import Floats, Ints
from dsl.utterances import ForestFold, forest_decisions, second_cross_validation, utterance_features

UTTERANCES, CLASSES, SEGMENTS = 1440, 8, 60
OURS, THEIRS = 10, 3  # seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=4, help="networks to decide on (default: 4)")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args()
    decide_as_scikit_learn(folds_of(0)[:1])
    forest_decisions(folds_of(0)[:1])
    ours, theirs, right, same = 0.0, 0.0, [], True
    for network in range(options.networks):
        folds = folds_of(network)
        begun = time.perf_counter()
        said = forest_decisions(folds)
        between = time.perf_counter()
        expected = decide_as_scikit_learn(folds[:THEIRS])
        ours, theirs = ours + between - begun, theirs + time.perf_counter() - between
        same &= bool((said[:THEIRS] == expected).all())
        right.append((said == network_says(network)[1]).mean())
    found = {
        "utterances": UTTERANCES,
        "classes": CLASSES,
        "networks": options.networks,
        "wa": 100 * float(np.mean(right)),
        "same_decisions": same,
        "seconds": {f"ours, {OURS} seeds": ours, f"scikit-learn, {THEIRS} seeds": theirs},
        "ratio": theirs / ours,
        "ratio_forest_for_forest": theirs / ours * OURS / THEIRS,
    }
    report(found, options.json)


def network_says(number: int) -> tuple[Floats, Ints]:
    """Features [U, F] of a network's predictions, some of which are sure and some not, and the labels [U]."""
    rng = np.random.default_rng(number)
    label = rng.integers(0, CLASSES, UTTERANCES)
    sure = 0.3 * rng.random((UTTERANCES, 1)) * rng.random((UTTERANCES, SEGMENTS))
    q = rng.dirichlet(np.full(CLASSES, 0.5), (UTTERANCES, SEGMENTS))
    heard = np.where(rng.random(UTTERANCES) < 0.75, label, rng.integers(0, CLASSES, UTTERANCES))
    q[np.arange(UTTERANCES), :, heard] += sure
    q /= q.sum(axis=2, keepdims=True)
    return utterance_features(q.reshape(-1, CLASSES), np.repeat(np.arange(UTTERANCES), SEGMENTS)), label


def folds_of(number: int) -> list[list[ForestFold]]:
    features, label = network_says(number)
    return [second_cross_validation(features, label, seed) for seed in range(OURS)]


def decide_as_scikit_learn(folds_of_seeds: Sequence[Sequence[ForestFold]]) -> Ints:
    def decide(seed: int, fold: ForestFold) -> Ints:
        decided: Ints = RandomForestClassifier(random_state=seed).fit(fold.features, fold.label).predict(fold.asked)
        return decided

    asked = [(seed, fold) for seed, folds in enumerate(folds_of_seeds) for fold in folds]
    decisions = np.empty((len(folds_of_seeds), UTTERANCES), dtype=np.int64)
    for (seed, fold), said in zip(asked, Parallel(n_jobs=-1)(delayed(decide)(*one) for one in asked), strict=True):
        decisions[seed, fold.tested] = said
    return decisions


if __name__ == "__main__":
    main()
