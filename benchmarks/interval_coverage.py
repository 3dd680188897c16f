"""How often each kind of 95% interval holds the true rate, on simulated corpora.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py --json benchmarks/results/coverage.json
    python docs/figures.py

Each condition has `--corpora` synthetic corpora (`simulated_speakers.py`), in each of which two linear heads are
cross-validated, that see partly the same. Intervals of their rates and of the difference come from the decisions alone,
by the functions that tables use. What they are to hold is the rate of the same procedure on fresh utterances, with
fresh training data and seeds: by other speakers, which is one number for a condition; or by the corpus's own speakers,
one for each corpus. Beside these stands the rate of the networks that were trained on this very corpus, on fresh
utterances by its speakers. A network is asked about the speakers that it may be tested on: under the stratified split
those that it has heard, under the other those that it has not.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import report
from simulated_speakers import (
    HEADS,
    Condition,
    Panel,
    Utterances,
    counted,
    decided,
    networks,
    rates,
    recorded,
    redrawn,
)

from analysis.columns import METRICS
from analysis.scoring.intervals import KINDS
from data_prep.arrays import Bools, Floats, Ints

CHUNK = 40  # corpora that are simulated at once
ASKED = 1_000  # fresh utterances of each panel
RESAMPLES = 2_000  # fewer than in tables: a bound of one interval is less sure, and coverage is not
STRATIFIED, SPEAKER = SPLITS = ("stratified", "speaker")
FRESH = {STRATIFIED: 8, SPEAKER: 4}  # training sets of each panel whose networks tell its true rate
SMALL, MIDDLE = 120, 480  # utterances
NOT, WEAKLY, STRONGLY = 0.0, 0.5, 1.0  # how much speakers differ
CONDITIONS = (
    *(
        Condition(split, speakers, size, WEAKLY)
        for split in SPLITS
        for speakers in (4, 10, 24)
        for size in (SMALL, MIDDLE)
    ),
    *(Condition(split, speakers, MIDDLE, STRONGLY) for split in SPLITS for speakers in (4, 10, 24)),
    *(Condition(split, 10, MIDDLE, NOT) for split in SPLITS),
    *(Condition(split, 10, MIDDLE, WEAKLY, balanced=True) for split in SPLITS),
    *(Condition(split, 10, MIDDLE, WEAKLY, seeds=3) for split in SPLITS),
)
OTHERS, SAME, NETWORKS = QUESTIONS = ("other speakers", "the same speakers", "these networks")
RATE, DIFFERENCE = "rate", "difference"


@dataclass(frozen=True)
class Simulated:
    """N corpora: labels and speakers [N, U], decisions of both heads by seed [N, 2, R, U]; and the counts of labels and
    decisions on fresh utterances, of the procedure and of the corpus's own networks [N, 2, K, K]."""

    label: Ints
    speaker: Ints
    predicted: Ints
    procedure: Floats
    networks: Floats


def simulated(condition: Condition, seed: int, chunk: int, corpora: int) -> Simulated:
    number = CONDITIONS.index(condition) if condition in CONDITIONS else len(CONDITIONS)
    rng = np.random.default_rng([seed, number, chunk])
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    panel = Panel.drawn(rng, corpora, condition)
    corpus, asked = (recorded(rng, panel, condition, count) for count in (condition.utterances, ASKED))
    by_seed = [corpus, *(redrawn(rng, corpus, condition) for _ in range(condition.seeds - 1))]
    fresh = [recorded(rng, panel, condition, condition.utterances) for _ in range(FRESH[condition.split])]
    learnt_for = range(1 if condition.split == STRATIFIED else condition.folds)  # stratified folds are alike
    predicted, own, procedure = [], [], []
    for sees in HEADS:
        tested = [_cross_validated(generator, one, condition, sees, asked) for one in by_seed]
        predicted.append(np.stack([decisions for decisions, _ in tested], axis=1))
        own.append(sum(counts for _, counts in tested))
        anew = (networks(generator, one, learnt_for, sees) for one in fresh)
        procedure.append(sum(_counts(weights, condition, asked) for weights in anew))
    return Simulated(corpus.label, corpus.speaker, *(np.stack(one, axis=1) for one in (predicted, procedure, own)))


def _cross_validated(
    generator: torch.Generator, corpus: Utterances, condition: Condition, sees: Bools, asked: Utterances
) -> tuple[Ints, Floats]:
    """The decisions [n, U] of a cross-validation in each of n corpora, and the counts [n, K, K] of its networks on the
    utterances `asked`."""
    weights = networks(generator, corpus, range(condition.folds), sees)
    predicted = np.take_along_axis(decided(weights, corpus.segments), corpus.fold[:, None], axis=1)[:, 0]
    return predicted, _counts(weights, condition, asked)


def _counts(weights: torch.Tensor, condition: Condition, asked: Utterances) -> Floats:
    """Of networks [n, folds, ...]: of all that is asked or, where speakers are left out, of the fold's speakers."""
    tested = np.arange(weights.shape[1])[:, None] == asked.fold[:, None]
    return counted(asked.label, decided(weights, asked.segments), tested | (condition.split == STRATIFIED))


def joined(parts: list[Simulated]) -> Simulated:
    return Simulated(*(np.concatenate([getattr(one, name) for one in parts]) for name in Simulated.__annotations__))


def true_rates(of: Simulated) -> dict[str, dict[str, Floats]]:
    """WA, UA and F1 [N, 3] of the first head, and the difference to the second's, by question."""
    counts = {
        OTHERS: np.broadcast_to(of.procedure.sum(axis=0), of.procedure.shape),
        SAME: of.procedure,
        NETWORKS: of.networks,
    }
    found = {question: rates(one) for question, one in counts.items()}
    return {question: {RATE: one[:, 0], DIFFERENCE: one[:, 0] - one[:, 1]} for question, one in found.items()}


def bounds(kind: str, of: Simulated, condition: Condition) -> dict[str, Floats]:
    """Low and high of the intervals [N, 3, 2] of the first head's rates and of the difference to the second's."""
    found: dict[str, list[Any]] = {RATE: [], DIFFERENCE: []}
    share = 1 - 1 / condition.folds
    for label, speaker, both in zip(of.label, of.speaker, of.predicted, strict=True):
        found[RATE].append(KINDS[kind].of_rates(label, both[0], speaker, share, RESAMPLES))
        found[DIFFERENCE].append(KINDS[kind].of_differences(label, tuple(both), speaker, share, RESAMPLES))
    return {what: np.array(estimates)[..., 1:] for what, estimates in found.items()}


def covered(condition: Condition, of: Simulated) -> dict[str, Any]:
    """By kind and what it is of: for each question how many of the intervals of WA, UA and F1 hold the true value; and
    the mean width in points of those that are known."""
    truth = true_rates(of)
    found: dict[str, Any] = {}
    for kind in KINDS:
        found[kind] = {}
        for what, limits in bounds(kind, of, condition).items():
            low, high = np.moveaxis(limits, -1, 0)
            held = {
                question: ((low <= true[what]) & (true[what] <= high)).sum(axis=0).tolist()
                for question, true in truth.items()
            }
            width = (100 * np.nanmean(high - low, axis=0)).round(2).tolist()
            found[kind][what] = {"held": held, "width": width}
    return found


def measured(condition: Condition, corpora: int, seed: int) -> dict[str, Any]:
    of = joined([simulated(condition, seed, chunk, CHUNK) for chunk in range(-(-corpora // CHUNK))])
    true = {what: (100 * one[0]).round(2).tolist() for what, one in true_rates(of)[OTHERS].items()}
    about = asdict(condition) | {"folds": condition.folds, "corpora": len(of.label)}
    return {**about, "true": true, "found": covered(condition, of)}


def _told(found: dict[str, Any]) -> Iterator[str]:
    for kind, of_kind in found["found"].items():
        for what, one in of_kind.items():
            shares = (f"{question} {100 * one['held'][question][0] / found['corpora']:5.1f}%" for question in QUESTIONS)
            yield f"  {kind:12} {what:10} WA: {', '.join(shares)}, width {one['width'][0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=int, default=320, help="of each condition (default: 320)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, found = time.monotonic(), []
    for condition in CONDITIONS:
        found.append(measured(condition, options.corpora, options.seed))
        print(f"{time.monotonic() - started:5.0f} s  {condition}", *_told(found[-1]), sep="\n", flush=True)
    about = {
        "metrics": METRICS,
        "seed": options.seed,
        "seconds": round(time.monotonic() - started),
        "versions": {name: version(name) for name in ("numpy", "torch", "scipy")},
    }
    report({**about, "conditions": found}, options.json)


if __name__ == "__main__":
    main()
