"""Calibration of mean pooling: as numbers, against scikit-learn and a computation by hand, and as a table."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from analysis import calibration, columns, score_networks, to_latex, to_markdown
from analysis.columns import FOREST, MEAN_POOLING
from analysis.scoring.calibration import (
    BINS,
    EQUAL_NUMBER,
    EQUAL_WIDTH,
    calibration_error,
    error_if_calibrated,
    reliability,
)
from analysis.tables.calibration_table import calibration_listings
from analysis.tables.render import to_csv
from tests.analysis.made_by_hand import decisions_of

SURE = np.array([0.3, 0.3, 0.62, 0.64, 0.95, 0.99])
RIGHT = np.array([True, False, True, False, True, True])


def by_hand(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error as Guo et al. write it: bins (m - 1) / M < confidence <= m / M."""
    total = 0.0
    for m in range(1, BINS + 1):
        own = [i for i, sure in enumerate(confidence) if np.ceil(sure * BINS) == m]
        if own:
            accuracy = sum(bool(right[i]) for i in own) / len(own)
            total += len(own) / len(confidence) * abs(accuracy - sum(confidence[i] for i in own) / len(own))
    return total


def test_the_error_of_a_few_decisions_is_that_by_hand() -> None:
    # |1 - 0.6| / 6 in the bin up to 0.333, (0.63 - 0.5) * 2 / 6 up to 0.667, (1 - 0.97) * 2 / 6 in the last.
    assert calibration_error(SURE, RIGHT) == pytest.approx((2 * 0.2 + 2 * 0.13 + 2 * 0.03) / 6)
    assert calibration_error(SURE, RIGHT) == pytest.approx(by_hand(SURE, RIGHT), abs=1e-12)


@given(st.lists(st.tuples(st.floats(0.01, 0.999), st.booleans()), min_size=1, max_size=60))
def test_it_is_guos_for_any_decisions(decisions: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(values) for values in zip(*decisions, strict=True))
    if np.abs(confidence * BINS - np.round(confidence * BINS)).min() > 1e-9:  # rounding tells bounds apart otherwise
        assert calibration_error(confidence, right) == pytest.approx(by_hand(confidence, right), abs=1e-12)


@pytest.mark.parametrize("strategy", [EQUAL_WIDTH, EQUAL_NUMBER])
def test_bins_are_scikit_learns(strategy: str) -> None:
    generator = np.random.default_rng(0)
    confidence = generator.beta(4, 2, 500).round(3)  # with ties
    right = generator.random(500) < confidence**2
    share, mean = calibration_curve(right, confidence, n_bins=BINS, strategy=strategy)
    found = reliability(confidence, right, strategy=strategy).dropna()
    np.testing.assert_allclose(found[columns.RIGHT], share, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[columns.CONFIDENCE], mean, rtol=0, atol=1e-12)
    assert found[columns.DECISIONS].sum() == 500
    weighted = (found[columns.DECISIONS] * np.abs(share - mean)).sum() / 500
    assert calibration_error(confidence, right, strategy=strategy) == pytest.approx(weighted, abs=1e-12)


def test_adaptive_bins_hold_as_many_decisions_each() -> None:
    numbers = reliability(np.linspace(0.2, 1, 300), np.ones(300), strategy=EQUAL_NUMBER)[columns.DECISIONS]
    assert numbers.max() - numbers.min() <= 1


def test_calibrated_decisions_have_the_error_that_chance_gives_them() -> None:
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.3, 1, 400)
    drawn = [calibration_error(confidence, generator.random(400) < confidence) for _ in range(300)]
    assert error_if_calibrated(confidence) == pytest.approx(np.mean(drawn), rel=0.03)
    assert error_if_calibrated(np.ones(10)) == 0


def test_nothing_decided_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"confidence: shape \(0,\)"):
        calibration_error([], [])


# Of networks


def decided(confidence: np.ndarray, right: np.ndarray, **about: Any) -> pd.DataFrame:
    """Decisions by mean pooling that are `right`, with their confidence; and by forest, without."""
    label = np.arange(len(right)) % 2
    made = decisions_of(np.where(right, label, 1 - label), label, ["a"] * len(right), decision=MEAN_POOLING, **about)
    made = made.assign(confidence=confidence)
    return pd.concat([made, made.assign(decision=FOREST, confidence=np.nan)], ignore_index=True)


def test_a_networks_error_is_the_mean_over_its_training_seeds() -> None:
    sure = np.full(6, 0.9)
    frame = pd.concat([decided(SURE, RIGHT, seeds=2), decided(sure, np.ones(6, bool), seed=1, seeds=2)])
    line = calibration(frame).iloc[0]
    errors = 100 * np.array([by_hand(SURE, RIGHT), 0.1])
    assert line[columns.ECE] == pytest.approx(errors.mean()) and line[columns.ECE_SD] == pytest.approx(
        errors.std(ddof=1)
    )
    assert line[columns.CONFIDENCE] == pytest.approx(100 * (SURE.mean() + 0.9) / 2)
    assert (line[columns.WA], line[columns.UTTERANCES]) == (pytest.approx(100 * (4 / 6 + 1) / 2), 6)


def test_every_network_is_a_row_in_every_format() -> None:
    frame = pd.concat([decided(SURE, RIGHT), decided(SURE, RIGHT, rule="bdsl", label_source="global_oof")])
    (one,) = calibration_listings(frame, score_networks(frame))
    assert [group.heading for group in one.groups] == ["global_oof (leaky)"]
    row = one.rows[0].texts["global_oof"]
    assert row[:5] == ["6", "66.67", "63.33", "−3.33", "12.00"]
    assert [entry["metric"] for entry in one.rows[1].entries] == [
        "confidence",
        "ECE",
        "ECE adaptive",
        "ECE if calibrated",
    ]
    assert one.rows[1].entries[1]["mean_pooling"] == 12 and one.rows[1].entries[1]["leaky"]
    assert "| DenseNet22 bdsl, t = 1 |" in to_markdown([one]) and "adaptive ECE" in to_latex([one])
    assert "ECE if calibrated" in to_csv([one])


def test_networks_whose_confidence_was_not_kept_are_told() -> None:
    unknown = decided(SURE, RIGHT, rule="bdsl").assign(confidence=np.nan)
    both = pd.concat([decided(SURE, RIGHT), unknown])
    (one,) = calibration_listings(both, score_networks(both))
    assert [str(row.label) for row in one.rows] == ["DenseNet22, t = 0"]
    assert one.footnotes[0].text.startswith("A network is without calibration: the store holds decisions that were")
    (none,) = calibration_listings(unknown, score_networks(unknown))
    assert none.rows == () and "store export --decisions" in to_markdown([none])
    assert to_latex([none]) == ""
