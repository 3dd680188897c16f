"""The kinds of interval: t intervals over speakers against scipy and by hand, and where a grid's kind is shown."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import collect_tables, comparisons, decide, score_networks, to_csv, to_latex, to_markdown
from analysis.audit import audit
from analysis.report import write_report
from analysis.scoring.intervals import DEFAULT, KINDS
from analysis.scoring.metrics import macro_f1, unweighted_accuracy, weighted_accuracy
from analysis.scoring.results import training_ratio
from analysis.scoring.scores import index_scores
from analysis.scoring.statistics import (
    Rates,
    difference_intervals,
    difference_t_intervals,
    rate_intervals,
    rate_t_intervals,
)
from analysis.tables.blocks import as_texts
from analysis.tables.cells import RateCell
from data_prep.fold_lists import FoldList, with_lists
from dsl.settings import ChainSettings, Listed, TrainingSettings
from sweep.planning.intervals import INTERVALS
from tests.analysis.made_by_hand import decisions_of
from tests.analysis.recorded_sweep import copy_store, source_of

CLASSES, SPEAKERS, EACH = 3, 8, 15
SPEAKER = np.arange(SPEAKERS * EACH) % SPEAKERS
METRICS: tuple[Callable[..., float], ...] = (weighted_accuracy, unweighted_accuracy, macro_f1)


def decisions(rows: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels [U] and decisions [R, U]; some speakers are understood better than others."""
    rng = np.random.default_rng(seed)
    label = rng.choice(CLASSES, len(SPEAKER), p=[0.5, 0.3, 0.2])
    right = rng.random((rows, len(label))) < np.linspace(0.4, 0.9, SPEAKERS)[SPEAKER]
    return label, np.where(right, label, rng.integers(CLASSES, size=right.shape))


def bounds(rates: Rates) -> np.ndarray:
    return np.array([[rate.low, rate.high] for rate in rates])


def widths(rates: Rates) -> np.ndarray:
    width: np.ndarray = np.diff(bounds(rates), axis=1)[:, 0]
    return width


def of_speakers(label: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """WA of each speaker."""
    return np.array([(label == predicted)[one == SPEAKER].mean() for one in range(SPEAKERS)])


def test_the_t_interval_of_wa_is_students_of_the_speakers_rates() -> None:
    """Where all have as many utterances, the jackknife is the variance of a mean."""
    label, (predicted,) = decisions()
    rates = of_speakers(label, predicted)
    expected = stats.t.interval(0.95, SPEAKERS - 1, rates.mean(), stats.sem(rates))
    assert rate_t_intervals(label, predicted, SPEAKER).wa[1:] == pytest.approx(expected)


def test_the_t_interval_of_a_difference_is_that_of_the_paired_t_test() -> None:
    label, (first,) = decisions()
    _, (second,) = decisions(seed=1)
    second = np.where(SPEAKER < 2, label, second)
    expected = stats.ttest_rel(of_speakers(label, first), of_speakers(label, second)).confidence_interval(0.95)
    assert difference_t_intervals(label, first, second, SPEAKER).wa[1:] == pytest.approx(tuple(expected))


def test_ua_and_f1_are_counted_without_each_speaker_in_turn() -> None:
    """Speakers of different sizes, and a class that only one of them says."""
    label, predicted = decisions(rows=2)
    speaker = np.minimum(SPEAKER, 5)
    label[label == 2] = 0
    label[np.flatnonzero(speaker == 1)[:4]] = 2
    ours = rate_t_intervals(label, predicted, speaker)
    for estimate, metric in zip(ours, METRICS, strict=True):
        value = np.mean([metric(label, row) for row in predicted])
        left_out = [
            np.mean([metric(label[speaker != one], row[speaker != one]) for row in predicted]) for one in range(6)
        ]
        reach = stats.t.ppf(0.975, 5) * np.sqrt(5 / 6 * np.square(np.array(left_out) - value).sum())
        assert estimate == pytest.approx((value, max(0, value - reach), min(1, value + reach)))


def test_the_correction_is_nadeau_and_bengios() -> None:
    """With a speaker a fold: their variance of the mean of n folds is (1 / n + n_test / n_train) times the folds'."""
    label, (predicted,) = decisions()
    rates, share = of_speakers(label, predicted), 1 - 1 / SPEAKERS
    ratio = EACH / (EACH * (SPEAKERS - 1))
    reach = stats.t.ppf(0.975, SPEAKERS - 1) * np.sqrt((1 / SPEAKERS + ratio) * rates.var(ddof=1))
    found = rate_t_intervals(label, predicted, SPEAKER, share).wa
    assert found == pytest.approx((rates.mean(), rates.mean() - reach, rates.mean() + reach))
    _, (other,) = decisions(seed=1)
    plain, corrected = (
        widths(difference_t_intervals(label, predicted, other, SPEAKER, each)) for each in (None, share)
    )
    np.testing.assert_allclose(corrected, plain * np.sqrt(1 + 1 / share))


def test_speakers_of_one_utterance_are_as_the_utterances() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(CLASSES, size=600)
    first, second = (np.where(rng.random(600) < right, label, 0) for right in (0.7, 0.6))
    single = np.arange(600)
    by_t, by_bootstrap = rate_t_intervals(label, first, single), rate_intervals(label, first)
    np.testing.assert_allclose(bounds(by_t), bounds(by_bootstrap), atol=0.005)
    by_t, by_bootstrap = (
        difference_t_intervals(label, first, second, single),
        difference_intervals(label, first, second),
    )
    np.testing.assert_allclose(bounds(by_t), bounds(by_bootstrap), atol=0.005)


@pytest.mark.parametrize("said", [(0, 1, 0), (0, 1, 2)])
def test_speakers_who_are_all_alike_have_no_t_interval(said: tuple[int, ...]) -> None:
    """Nobody knows from them how much speakers differ, whether all are right or all have the same errors."""
    label, predicted = np.tile([0, 1, 2], SPEAKERS), np.tile(said, SPEAKERS)
    speaker = np.repeat(np.arange(SPEAKERS), 3)
    for found in (
        rate_t_intervals(label, predicted, speaker, 0.9),
        difference_t_intervals(label, predicted, label + 1, speaker),
    ):
        assert np.isnan(bounds(found)).all() and not np.isnan([rate.value for rate in found]).any()


def test_an_interval_that_is_not_known_is_a_dash() -> None:
    label = np.tile([0, 1], 8)
    made = decisions_of(label, label, [f"s{one}" for one in np.arange(16) // 4]).assign(intervals="speaker_t")
    (score, *_) = index_scores(score_networks(made)).values()
    assert RateCell.of(score).text == "100.00 [—] {100.0, 100.0}"
    assert RateCell.of(score, interval=False).text == "100.00"


def test_t_intervals_end_where_rates_do() -> None:
    label, predicted = np.zeros(8, int), np.array([0] * 7 + [1])
    wa = rate_t_intervals(label, predicted, np.arange(8) % 4).wa
    assert wa.low < wa.value < wa.high == 1
    against = difference_t_intervals(label, np.zeros(8, int), np.array([1] * 7 + [0]), np.arange(8) % 4).wa
    assert against.high == 1


def test_one_speaker_has_no_t_interval_and_a_ratio_is_above_zero() -> None:
    label, predicted = decisions()
    assert np.isnan(bounds(rate_t_intervals(label, predicted, np.zeros(len(label))))).all()
    for ratio in (0, -1, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"training_ratio: .* expected a number above 0"):
            rate_t_intervals(label, predicted, SPEAKER, ratio)


def test_a_class_that_only_one_of_two_decides_for_is_counted() -> None:
    """No utterance is of class 2, and only the first decides for it."""
    label, first, second = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), np.array([0, 0, 1, 0])
    expected = macro_f1(label, first) - macro_f1(label, second)
    assert difference_intervals(label, first, second).f1.value == pytest.approx(expected)
    assert difference_t_intervals(label, first, second, [0, 1, 0, 1]).f1.value == pytest.approx(expected)


# Kinds


def test_a_grid_knows_the_kinds_that_there_are() -> None:
    assert tuple(KINDS) == INTERVALS and INTERVALS[0] == DEFAULT


def test_each_kind_has_words_of_its_own() -> None:
    words = [
        one.words(paired, several) for one in KINDS.values() for paired in (False, True) for several in (False, True)
    ]
    assert len(set(words)) == len(words)
    assert KINDS["speaker_t"].words(paired=True) == "95% paired t interval over speakers"


def test_each_kind_is_the_function_that_it_says() -> None:
    label, predicted = decisions()
    other = decisions(seed=1)[1]
    expected = {
        "utterance": (rate_intervals(label, predicted), difference_intervals(label, predicted, other)),
        "speaker": (
            rate_intervals(label, predicted, SPEAKER),
            difference_intervals(label, predicted, other, SPEAKER),
        ),
        "speaker_t": (
            rate_t_intervals(label, predicted, SPEAKER),
            difference_t_intervals(label, predicted, other, SPEAKER),
        ),
        "corrected_t": (
            rate_t_intervals(label, predicted, SPEAKER, 0.9),
            difference_t_intervals(label, predicted, other, SPEAKER, 0.9),
        ),
    }
    for name, kind in KINDS.items():
        found = (
            kind.of_rates(label, predicted, SPEAKER, 0.9),
            kind.of_differences(label, (predicted, other), SPEAKER, 0.9),
        )
        assert found == expected[name]


def test_scores_and_comparisons_have_the_kind_that_decisions_ask_for() -> None:
    label, predicted = np.arange(40) % 2, np.where(np.arange(40) % 7, np.arange(40) % 2, 0)
    speakers = [f"s{one}" for one in np.arange(40) // 8]
    made = pd.concat(
        [
            decisions_of(predicted, label, speakers),
            decisions_of(label, label, speakers, rule="bdsl", iteration=1),
        ]
    ).assign(intervals="corrected_t", training_ratio=0.75)
    expected = rate_t_intervals(label, predicted, speakers, 0.75)
    score = score_networks(made).iloc[0]
    assert score["intervals"] == "corrected_t"
    assert score[["ua_low", "ua_high"]].tolist() == pytest.approx([100 * expected.ua.low, 100 * expected.ua.high])
    line = comparisons(made).iloc[0]
    difference = difference_t_intervals(label, label, predicted, speakers, 0.75).wa
    assert line["intervals"] == "corrected_t"
    assert line["wa_difference_low"] == pytest.approx(100 * difference.low)


def four_by_four() -> pd.DataFrame:
    """Four speakers say four texts."""
    where = pd.MultiIndex.from_product([range(4), range(4)], names=["speaker", "text"]).to_frame(index=False)
    return where.assign(id=[f"{one:02}" for one in range(16)])


@pytest.mark.parametrize(("split", "ratio"), [("stratified", 3 / 4), ("speaker", 3 / 4), ("speaker_text", 1 / 4)])
def test_how_many_train_follows_the_split(split: str, ratio: float) -> None:
    """The folds are two parts of the speakers by two of the texts, or four."""
    utterances = four_by_four()
    crossed = utterances["speaker"] // 2 * 2 + utterances["text"] // 2
    fold = {"stratified": np.arange(16) % 4, "speaker": utterances["speaker"], "speaker_text": crossed}[split]
    chain = ChainSettings("c", "tiny", split, 4, 0, 0, None, (), TrainingSettings())
    folds = [replace(chain, fold=one) for one in range(4)]
    fold_of = pd.Series(np.asarray(fold), utterances["id"])
    assert training_ratio(folds, utterances, fold_of) == ratio
    done = fold_of[fold_of < 2]
    assert training_ratio(folds[:2], utterances, done) == 2 * ratio


@pytest.mark.parametrize(
    ("letters", "ratio"),
    [
        (["t"] * 4 + ["v"] + ["l"] * 11, 3),  # one fold: Nadeau and Bengio's 1 + 4 / 12
        (["tl"] * 4 + ["lt"] * 4 + ["-l"] * 2 + ["--"] * 6, 5 / 8),  # 4 or 6 train, 8 are tested
    ],
)
def test_of_listed_folds_those_that_they_test_count(letters: list[str], ratio: float) -> None:
    utterances = four_by_four()
    listed = FoldList("folds.csv", tuple(zip(utterances["id"], letters, strict=True)))
    utterances = with_lists(utterances, [listed])
    by_list = Listed(listed.digest, "folds.csv")
    chain = ChainSettings("c", "tiny", "listed", listed.folds, 0, 0, None, (), TrainingSettings(), listed=by_list)
    fold_of = pd.Series({one: own.index("t") for one, own in listed.parts if "t" in own})
    assert training_ratio([replace(chain, fold=one) for one in range(listed.folds)], utterances, fold_of) == ratio


def test_the_audit_keeps_the_intervals_that_its_test_agrees_with() -> None:
    label = np.arange(40) % 2
    speakers = [f"s{one}" for one in np.arange(40) // 8]
    made = decisions_of(np.roll(label, 1) * (np.arange(40) > 9), label, speakers, labels="permuted")
    assert audit(made) == audit(made.assign(intervals="corrected_t"))


# What people see


def test_where_there_is_no_forest_mean_pooling_has_the_intervals(tmp_path: Path) -> None:
    source = source_of(copy_store(tmp_path / "store"))
    tables = collect_tables(source.store, source.chains, decide(source.store, source.chains, 0))
    told = [one for one in as_texts(tables) if "Mean is by mean pooling" in one.caption]
    assert {one.title for one in told} >= {"Table II", "All networks", "Iteration chosen by validation"}
    for table in told:
        assert "those by mean pooling with [95% bootstrap intervals over utterances]" in table.caption
        assert "the forest's with" not in table.caption
        rates = [cell for block in table.blocks for line in block.lines for cell in line.cells]
        assert any(isinstance(cell, RateCell) and cell.interval for cell in rates)


def test_tables_name_the_kind_and_no_rate_changes_with_it(tmp_path: Path) -> None:
    source = source_of(copy_store(tmp_path / "store"))
    rates = []
    for name in (DEFAULT, "corrected_t"):
        tables = collect_tables(source.store, source.chains, decide(source.store, source.chains, 1, intervals=name))
        words = [KINDS[name].words(several=True), KINDS[name].words(paired=True)]
        for text in (to_markdown(tables), to_latex(tables).replace("\\%", "%")):
            assert all(one in text for one in words)
        rows = list(csv.DictReader(io.StringIO(to_csv(tables))))
        known = [row for row in rows if row["forest_low"] or row["source_difference_low"]]
        assert {(row["intervals"], bool(row["speaker"])) for row in known} == {(name, False), ("wilson", True)}
        rates.append([row["forest"] for row in rows])
    assert rates[0] == rates[1]


def test_a_report_names_the_kind_and_its_recipes_ask_for_it(tmp_path: Path) -> None:
    source = source_of(copy_store(tmp_path / "store"), label_sources=["in_fold"], iterations=1, intervals="speaker_t")
    report = write_report(source, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "With them are 95% t intervals over speakers." in page
    assert "95% paired t interval over speakers" in page and "interval over utterances" not in page
    assert report.recipes and all("intervals: speaker_t" in recipe.grid for recipe in report.recipes)
