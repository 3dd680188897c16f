"""Rates by speaker and by class and speaker: as numbers, against scikit-learn's, and as tables."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from analysis import columns, decide, score_networks, score_speakers, to_csv, to_json, to_latex, to_markdown
from analysis.columns import FOREST, MEAN_POOLING
from analysis.scoring.comparisons import of_networks
from analysis.scoring.speakers import share_interval, speaker_rates
from analysis.scoring.statistics import UNDECIDED
from analysis.tables.listings import Listing
from analysis.tables.speaker_tables import BY_SPEAKER, CLASSES_BY_SPEAKER, MOST_SPEAKERS, speaker_listings
from tests.analysis.made_by_hand import decisions_of
from tests.analysis.recorded_sweep import copy_store, source_of

EXACT: dict[str, Any] = {"rel": 0, "abs": 1e-10}  # of percent: 1e-12 of a rate


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The decisions on a part of the recorded store, of which some folds are missing."""
    store = copy_store(tmp_path_factory.mktemp("recorded") / "store")
    return decide(store, source_of(store).chains, forest_seeds=2)


# Numbers


def rows_of(decisions: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and decisions of each training and forest seed."""
    seeds = decisions.groupby([columns.SEED, columns.FOREST_SEED])
    return [(own[columns.LABEL].to_numpy(), own[columns.PREDICTED].to_numpy()) for _, own in seeds]


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_rates_by_speaker_are_scikit_learns(recorded: pd.DataFrame) -> None:
    known = of_networks(recorded)
    lines = score_speakers(recorded).to_dict("records")
    assert {line[columns.SPEAKER] for line in lines} == {"s01", "s02", "s03", "s04"}
    assert len(lines) == 4 * 2 * len(known)
    for line in lines:
        own = known[next(one for one in known if all(line[name] == value for name, value in identity(one).items()))]
        own = own[(own[columns.DECISION] == line[columns.DECISION]) & (own[columns.SPEAKER] == line[columns.SPEAKER])]
        rows = rows_of(own)
        metrics = {columns.WA: accuracy_score, columns.UA: balanced_accuracy_score, columns.F1: macro_f1}
        for name, metric in metrics.items():
            assert line[name] == pytest.approx(100 * np.mean([metric(*row) for row in rows]), **EXACT)
        classes = range(len(line[columns.RECALL]))
        recall = [recall_score(*row, labels=classes, average=None, zero_division=np.nan) for row in rows]
        assert line[columns.RECALL] == pytest.approx(list(100 * np.mean(recall, axis=0)), nan_ok=True, **EXACT)
        assert line[columns.CLASS_UTTERANCES] == np.bincount(rows[0][0], minlength=len(classes)).tolist()
        assert line[columns.UTTERANCES] == len(rows[0][0])


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_rates_over_all_speakers_are_scikit_learns(recorded: pd.DataFrame) -> None:
    known = of_networks(recorded)
    for line in score_networks(recorded).to_dict("records"):
        own = known[next(one for one in known if all(line[name] == value for name, value in identity(one).items()))]
        rows = rows_of(own[own[columns.DECISION] == line[columns.DECISION]])
        for name, metric in {"wa": accuracy_score, "ua": balanced_accuracy_score, "f1": macro_f1}.items():
            assert line[name] == pytest.approx(100 * np.mean([metric(*row) for row in rows]), **EXACT)
        recall = [recall_score(*row, average=None) for row in rows]
        assert line[columns.RECALL] == pytest.approx(list(100 * np.mean(recall, axis=0)), **EXACT)


def macro_f1(label: np.ndarray, predicted: np.ndarray) -> float:
    return float(f1_score(label, predicted, average="macro"))


def identity(network: Any) -> dict[str, Any]:
    return {**network.treatment._asdict(), columns.LABEL_SOURCE: network.label_source}


def test_seeds_that_say_nothing_of_a_speaker_do_not_count() -> None:
    label = np.array([[0, 1, 0, 1], [UNDECIDED, UNDECIDED, 0, 1]])
    predicted = np.array([[0, 0, 0, 1], [UNDECIDED, UNDECIDED, 1, 1]])
    found = speaker_rates(label, predicted, ["a", "a", "b", "b"], classes=3)
    assert found.speakers.tolist() == ["a", "b"] and found.utterances.tolist() == [2, 2]
    assert found.wa.tolist() == [0.5, (1 + 0.5) / 2]
    np.testing.assert_array_equal(found.recall, [[1, 0, np.nan], [0.5, 1, np.nan]])
    assert found.class_utterances.tolist() == [[1, 1, 0], [1, 1, 0]]


def test_speakers_must_be_as_many_as_utterances() -> None:
    with pytest.raises(ValueError, match=r"speaker: shape \(1,\), expected \(2,\)"):
        speaker_rates([0, 1], [0, 1], ["a"], classes=2)


def test_an_interval_of_few_utterances_has_a_width() -> None:
    """Wilson's interval of 3 of 3, of 0 of 3 and of 5 of 10; nothing of nothing."""
    low, high = share_interval([1.0, 0.0, 0.5, np.nan], [3, 3, 10, 0])
    z = 1.959963984540054
    assert low[0] == pytest.approx(3 / (3 + z * z)) and high[0] == pytest.approx(1)
    assert low[1] == pytest.approx(0) and high[1] == pytest.approx(z * z / (3 + z * z))
    reach = z / (1 + z * z / 10) * np.sqrt(0.25 / 10 + z * z / 400)
    assert (low[2], high[2]) == (pytest.approx(0.5 - reach), pytest.approx(0.5 + reach))
    assert np.isnan([low[3], high[3]]).all()


# Tables


def many(speakers: int, **about: Any) -> pd.DataFrame:
    """Two utterances of each speaker: the first is right of all, the second of every third."""
    label = np.tile([0, 1], speakers)
    right = (np.arange(2 * speakers) % 2 == 0) | (np.arange(2 * speakers) // 2 % 3 == 0)
    names = [f"s{row // 2:03}" for row in range(2 * speakers)]
    own: dict[str, Any] = {"utterance": [f"{row:04}" for row in range(2 * speakers)]}
    return decisions_of(np.where(right, label, 1 - label), label, names, **own, **about)


def listings(*frames: pd.DataFrame) -> tuple[Listing, Listing]:
    decisions = pd.concat(frames, ignore_index=True)
    rates, classes = speaker_listings(decisions, score_networks(decisions))
    return rates, classes


def test_rates_stand_by_speaker_with_numbers_and_the_mean_over_speakers() -> None:
    rates, _ = listings(many(4), many(4, rule="gsl", folds_done=9))
    assert [group.heading for group in rates.groups] == [f"{name}, DenseNet22, in_fold" for name in ("WA", "UA", "F1")]
    assert [heading.text for heading in rates.groups[0].headings] == ["utterances", "No DSL", "GSL"]
    wa = {str(row.label): row.texts["WA, DenseNet22, in_fold"] for row in rates.rows}
    assert wa["s000"] == ["2", "100.00 [34.2, 100.0]", "100.00 [34.2, 100.0] (9/10 folds)"]
    assert wa["s001"][1] == "50.00 [9.5, 90.5]"
    assert wa["mean of 4 speakers"] == ["—", "75.00 ± 28.87", "75.00 ± 28.87 (9/10 folds)"]
    assert any("incomplete folds" in note.text for note in rates.footnotes)


def test_recalls_of_incomplete_folds_are_marked() -> None:
    _, classes = listings(many(2), many(2, rule="gsl", folds_done=9))
    for row in classes.rows:
        assert not any("folds" in text for text in row.texts["DenseNet22, t = 0"])
        assert all(text.endswith("(9/10 folds)") for text in row.texts["DenseNet22 gsl, t = 1, in_fold"])


def test_recall_of_each_class_stands_by_speaker_beside_that_of_all() -> None:
    _, classes = listings(many(4), many(4, rule="gsl", label_source="global_oof"))
    assert [group.heading for group in classes.groups] == [
        "DenseNet22, t = 0",
        "DenseNet22 gsl, t = 1, global_oof (leaky)",
    ]
    assert [group.leaky for group in classes.groups] == [False, True]
    own = {str(row.label): row.texts["DenseNet22, t = 0"] for row in classes.rows}
    assert own == {
        **{f"s00{number}": ["100.0 (1)", f"{recall} (1)"] for number, recall in enumerate((100.0, 0.0, 0.0, 100.0))},
        "all 4 speakers": ["100.0 (4)", "50.0 (4)"],
    }


def test_of_many_speakers_the_lowest_and_the_highest_are_shown_and_csv_has_all() -> None:
    both = listings(many(91))
    for one in both:
        shown = [row for row in one.rows if row.cells]
        assert len(shown) == MOST_SPEAKERS + 1
        assert "Of 91 speakers the 12 with the lowest and the 12 with the highest WA are shown" in one.caption
    rates = [row.texts["WA, DenseNet22"][1][:5] for row in both[0].rows if row.cells]
    assert rates[:-1] == ["50.00"] * 12 + ["100.0"] * 12
    lines = list(csv.DictReader(io.StringIO(to_csv(both))))
    wa = [line for line in lines if line["metric"] == "WA"]
    assert len({line["speaker"] for line in wa}) == len(wa) == 91
    assert {line["table"] for line in lines} == {BY_SPEAKER, CLASSES_BY_SPEAKER}
    of_one = next(line for line in wa if line["speaker"] == "s001")
    assert (of_one["forest"], of_one["forest_low"], of_one["utterances"]) == ("50.0", "9.4531", "2")


def test_every_format_has_the_same_speakers() -> None:
    both = listings(many(4), many(4, decision=MEAN_POOLING))
    records = json.loads(to_json(both))["tables"][1]["records"]
    assert {(one["speaker"], one["class"]) for one in records} == {
        (f"s00{number}", label) for number in range(4) for label in ("anger", "fear")
    }
    assert all(one["forest"] == one["mean_pooling"] and one["utterances"] == 1 for one in records)
    assert "| s001 " in to_markdown(both) and "s001 & " in to_latex(both)


def test_without_forests_they_are_of_mean_pooling() -> None:
    rates, classes = listings(many(4, decision=MEAN_POOLING))
    assert "by mean pooling" in rates.caption and "by mean pooling" in classes.caption
    assert {row.entries[0].get("forest") for row in rates.rows if row.entries} == {None}


def test_a_speaker_without_a_class_has_no_recall_of_it() -> None:
    frame = many(2)
    _, classes = listings(frame[frame["utterance"] != "0003"])
    own = {str(row.label): row.texts["DenseNet22, t = 0"] for row in classes.rows}
    assert own["s001"] == ["100.0 (1)", "—"]
    assert [entry["class"] for entry in classes.rows[1].entries] == ["anger"]
    assert len(frame[frame["decision"] == FOREST]) == 4


def test_the_sweep_has_them_as_frames(tmp_path: Path) -> None:
    from ser_sweep import open_sweep

    store = copy_store(tmp_path / "store")
    here = Path(__file__).parent / "recorded"
    sweep = open_sweep(here / "grid.yaml", data=here / "data", store=store.uri)
    found = sweep.scores_by_speaker(forests=False)
    assert tuple(found.columns) == columns.SPEAKER_COLUMNS and found[columns.DECISION].unique() == [MEAN_POOLING]
    assert tuple(sweep.calibration().columns) == columns.CALIBRATION_COLUMNS
