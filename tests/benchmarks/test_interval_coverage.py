"""benchmarks/interval_coverage.py, small: one kind of interval holds the true rate where another does not."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CORPORA = 60


@pytest.fixture(scope="module")
def coverage() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "benchmarks"))
        import interval_coverage
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield interval_coverage
        torch.set_num_threads(threads)
        for name in ("interval_coverage", "simulated_speakers", "measured"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def strong(coverage: ModuleType) -> tuple[Any, Any]:
    """A condition whose speakers differ strongly, and corpora of it."""
    condition = coverage.Condition("speaker", 4, 160, coverage.STRONGLY)
    return condition, coverage.simulated(condition, 0, 0, CORPORA)


def test_what_is_recommended_holds_the_rate_with_other_speakers_and_the_default_does_not(
    coverage: ModuleType, strong: tuple[Any, Any]
) -> None:
    found = coverage.covered(*strong)
    held = {kind: np.array(one["rate"]["held"][coverage.OTHERS]) / CORPORA for kind, one in found.items()}
    assert (held["corrected_t"] > 0.85).all() and (held["utterance"] + 0.2 < held["corrected_t"]).all()
    of_difference = {kind: one["difference"]["held"][coverage.OTHERS] for kind, one in found.items()}
    assert of_difference["utterance"][0] < of_difference["speaker_t"][0] <= CORPORA


def test_a_simulation_is_the_same_again(coverage: ModuleType) -> None:
    condition = coverage.Condition("stratified", 4, 60, coverage.WEAKLY, balanced=True, seeds=2)
    first, again, other = (coverage.simulated(condition, seed, 0, 3) for seed in (0, 0, 1))
    assert np.array_equal(again.predicted, first.predicted) and np.array_equal(again.procedure, first.procedure)
    assert not np.array_equal(other.predicted, first.predicted)


def test_rates_of_counts_are_those_of_decisions(coverage: ModuleType, strong: tuple[Any, Any]) -> None:
    from analysis.scoring.metrics import macro_f1, unweighted_accuracy, weighted_accuracy

    _, of = strong
    label, predicted = of.label[:3], of.predicted[:3, 0]
    counts = coverage.counted(label, predicted, np.ones((3, 1, label.shape[1]), dtype=bool))
    expected = [
        [metric(*pair) for metric in (weighted_accuracy, unweighted_accuracy, macro_f1)]
        for pair in zip(label, predicted[:, 0], strict=True)
    ]
    np.testing.assert_allclose(coverage.rates(counts), expected)
