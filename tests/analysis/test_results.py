"""From a small store with hand-made predictions to decisions, scores and tables. Nothing but the store is there."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis.scoring.results
from analysis import (
    build_tables,
    columns,
    decide,
    label_correction,
    score,
    score_networks,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from analysis.columns import CORRECTION_COLUMNS, DECISION_COLUMNS, NETWORK_SCORE_COLUMNS, SCORE_COLUMNS
from analysis.scoring.statistics import rate_intervals
from data_prep.features import FeatureSettings
from data_prep.shards import PreparedCorpus
from dsl.labels import LabelUpdate
from dsl.settings import TrainingSettings
from dsl.utterances import ForestFold, forest_decisions
from sweep.planning.stages import ChainSpec, StageSpec, canonical_updates
from sweep.storage.predictions import Predictions
from sweep.storage.store import Store, StoreError
from tests.analysis import made_by_hand

FOLDS = 3
LABEL = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])  # six of anger, three of sadness
FOLD_OF = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2])
DECIDED = np.array([0, 0, 0, 0, 0, 1, 1, 0, 0])  # five of six right, and one of three
SEGMENTS = 3


def chain(
    rule: str, fold: int, *, alpha: float | None = None, iterations: int = 1, corpus: str = "a", seed: int = 0
) -> ChainSpec:
    """The chain of one fold on TESS, in the preparation `corpus`."""
    updates = canonical_updates(rule, alpha, iterations)
    source = "in_fold" if updates else None
    training = TrainingSettings()
    stage = StageSpec(f"tess-{corpus}", "densenet22", "stratified", FOLDS, fold, seed, source, updates, training)
    return ChainSpec(stage)


def chains(rule: str, **options: Any) -> list[ChainSpec]:
    """The chains of all folds."""
    return [chain(rule, fold, **options) for fold in range(FOLDS)]


def predictions(fold: int, decided: np.ndarray = DECIDED) -> Predictions:
    """Of a network that is sure of `decided` in test segments, but not of the first two; and wrong in all others."""
    utterance = np.repeat(np.arange(len(LABEL)), SEGMENTS)
    test = FOLD_OF[utterance] == fold
    said = np.where(test, decided[utterance], 1 - LABEL[utterance])
    probability = np.where(test, np.tile([0.45, 0.45, 0.95], len(LABEL)), 0.9)
    q = np.empty((len(utterance), 2), dtype=np.float32)
    rows = np.arange(len(utterance))
    q[rows, said], q[rows, 1 - said] = probability, 1 - probability
    return Predictions(utterance, np.tile(np.arange(SEGMENTS), len(LABEL)), test, q)


def fill(store: Store, of: Sequence[ChainSpec], decided: np.ndarray = DECIDED, right: float | None = None) -> None:
    """Commit every stage of the chains `of`, then take the folder of prepared data away.

    The share of targets that are right is `right` in fold 0, and a tenth more in each fold and iteration after.
    """
    folder = Path(store.uri).with_name("data")
    ids = [f"{row:02}" for row in range(len(LABEL))]
    for name in {one.last.corpus for one in of}:
        folder.mkdir()
        emotion = np.array(["anger", "sadness"])[LABEL]
        utterances = pd.DataFrame({"id": ids, "speaker": ["s1", "s2", "s3"] * 3, "text": "", "emotion": emotion})
        utterances = utterances.assign(label=LABEL, frames=SEGMENTS + 31)
        utterances.to_parquet(folder / "utterances.parquet")
        corpus, _, fingerprint = name.rpartition("-")
        manifest: dict[str, Any] = {
            "corpus": corpus,
            "fingerprint": fingerprint,
            "classes": {"anger": 6, "sadness": 3},
            "shards": [],
        }
        counts = {"utterances": len(LABEL), "segments": len(LABEL) * SEGMENTS}
        manifest |= {"settings": FeatureSettings().as_dict(), **counts}
        store.add_corpus(PreparedCorpus(folder, manifest))
        shutil.rmtree(folder)
    for stage in {stage.key: stage for one in of for stage in one.stages}.values():
        share = None if right is None else right + 0.1 * (stage.fold + stage.iteration)
        metrics = {"validation_wa": 0.75, "targets_right": share}
        store.commit(stage, predictions(stage.fold, decided), {"metrics": metrics})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create()
    return made


def predictions_file(store: Store, stage: StageSpec) -> Path:
    (path,) = (Path(store.uri) / "stages" / stage.key).glob("predictions-*.parquet")
    return path


def by_mean(store: Store, of: Sequence[ChainSpec]) -> pd.DataFrame:
    """Scores by mean pooling alone, which takes no time."""
    return score(decide(store, of, forest_seeds=0))


def decisions_of(*seeds: list[int], **about: Any) -> pd.DataFrame:
    """A cell's decisions by forests on four utterances, two of each class; `about` replaces what else is known."""
    cell: dict[str, Any] = {"utterance": list("abcd"), "folds_done": 2, "folds": 2, "fold": 0}
    return made_by_hand.decisions_of(seeds, [0, 0, 1, 1], ["s1", "s2", "s1", "s2"], **cell | about)


# Decisions


def test_there_is_a_row_for_each_cell_decision_forest_seed_and_utterance(store: Store) -> None:
    fill(store, chains("none"))
    decisions = decide(store, chains("none"))
    assert tuple(decisions.columns) == DECISION_COLUMNS
    assert not decisions.duplicated(["decision", "forest_seed", "utterance"]).any()
    rows = decisions.groupby(["decision", "forest_seed"]).size().to_dict()
    seeds = [("mean", 0), *(("forest", seed) for seed in range(analysis.scoring.results.FOREST_SEEDS))]
    assert rows == dict.fromkeys(seeds, len(LABEL))


def test_a_decision_says_what_is_known_of_its_utterance(store: Store) -> None:
    fill(store, chains("wdsl", alpha=0.2))
    decisions = decide(store, chains("wdsl", alpha=0.2), forest_seeds=0)
    line = decisions[decisions["iteration"] == 1].iloc[7].to_dict()
    setup = line.pop("setup")
    assert setup.text([1]) == "every segment, at most 12 epochs, 3 folds, stratified split, 1 training seed"
    assert line.pop("confidence") == pytest.approx((0.45 + 0.45 + 0.95) / 3)
    assert (setup.departures, setup.classes) == (("3 folds (paper: 10)",), ("anger", "sadness"))
    assert line == {
        "corpus": "tess",
        "backbone": "densenet22",
        "rule": "wdsl",
        "alpha": "0.2",
        "labels": "given",
        "partial": False,
        "fold": 1,
        "validation_wa": 75.0,
        "iteration": 1,
        "label_source": "in_fold",
        "split": "stratified",
        "seed": 0,
        "seeds": 1,
        "folds_done": 3,
        "folds": 3,
        "decision": "mean",
        "forest_seed": 0,
        "utterance": "07",
        "speaker": "s2",
        "label": 1,
        "predicted": 0,
        "classes": 2,
        "updates": (LabelUpdate("wdsl", 0.2),),
        "intervals": "utterance",
        "training_ratio": pytest.approx(2 / 3),
    }


def test_decisions_that_were_kept_without_confidence_get_it_and_are_not_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, chains("none"))
    decisions = decide(store, chains("none"), forest_seeds=1)
    (key,) = (path.name for path in (Path(store.uri) / "decisions").iterdir())
    kept = decisions[list(columns.DECIDED_COLUMNS)]
    store.write_decisions(key, kept.to_parquet(index=False))
    monkeypatch.setattr(analysis.scoring.results, "forest_decisions", None)
    for _ in range(2):  # the second time from what the first has kept
        pd.testing.assert_frame_equal(decide(store, chains("none"), forest_seeds=1), decisions)


def test_mean_pooling_decides_by_the_mean_over_test_segments_only(store: Store) -> None:
    fill(store, chains("none"))
    decisions = decide(store, chains("none"), forest_seeds=0)
    np.testing.assert_array_equal(decisions["predicted"], DECIDED)


def test_iteration_0_that_several_chains_share_appears_once(store: Store) -> None:
    asked = [*chains("none"), *chains("bdsl"), *chains("wdsl", alpha=0.2), *chains("gsl")]
    fill(store, asked)
    assert by_mean(store, asked)["rule"].tolist() == ["none", "bdsl", "wdsl", "gsl"]


def test_a_cell_knows_how_many_training_seeds_the_grid_asks_for(store: Store) -> None:
    fill(store, chains("none"))
    decided = decide(store, [*chains("none"), *chains("none", seed=1)])
    assert set(decided["seed"]) == {0}
    assert set(decided["seeds"]) == {2}


def test_iterations_of_a_chain_are_cells_of_their_own(store: Store) -> None:
    asked = chains("bdsl", iterations=2)
    fill(store, asked)
    assert by_mean(store, asked)["iteration"].tolist() == [0, 1, 2]


def test_only_utterances_of_folds_that_are_there_are_scored(store: Store) -> None:
    fill(store, chains("none")[:2])
    (line,) = by_mean(store, chains("none")).to_dict("records")
    assert (line["folds_done"], line["folds"], line["utterances"]) == (2, 3, 6)
    assert line["wa"] == pytest.approx(100 * 5 / 6)


@pytest.mark.parametrize("content", [b"", b"not what was committed"])
def test_a_stage_with_damaged_predictions_is_missing(store: Store, content: bytes) -> None:
    asked = chains("none")
    fill(store, asked)
    predictions_file(store, asked[2].last).write_bytes(content)
    assert by_mean(store, asked)["folds_done"].tolist() == [2]


def test_a_class_with_one_utterance_leaves_only_mean_pooling(store: Store) -> None:
    fill(store, chains("none")[:1])
    assert score(decide(store, chains("none")))["decision"].tolist() == ["mean"]


def test_a_corpus_goes_by_its_short_name(store: Store) -> None:
    fill(store, chains("none"))
    assert by_mean(store, chains("none"))["corpus"].tolist() == ["tess"]


def test_two_preparations_of_a_corpus_go_by_their_full_names(store: Store) -> None:
    asked = [*chains("none"), *chains("none", corpus="b")]
    fill(store, asked)
    assert by_mean(store, asked)["corpus"].tolist() == ["tess-a", "tess-b"]


def test_a_corpus_that_only_has_the_name_of_the_papers_is_not_compared_with_it(store: Store) -> None:
    """Nine recordings of a user's own that were prepared as `emodb`."""
    stages = [replace(one.last, corpus="emodb-a") for one in chains("none")]
    asked = [ChainSpec(stage) for stage in stages]
    fill(store, asked)
    scores = score_networks(decide(store, asked, forest_seeds=0))
    assert scores["corpus"].tolist() == ["emodb-a"]
    (table,) = build_tables(scores, scores["corpus"])
    assert not table.has_published("emodb-a")


def test_stages_of_a_corpus_that_the_store_lacks_are_an_error(store: Store) -> None:
    fill(store, chains("none"))
    shutil.rmtree(Path(store.uri) / "corpora")
    with pytest.raises(StoreError, match="does not hold corpus tess-a"):
        decide(store, chains("none"))


# Scores


def test_rates_are_those_computed_by_hand(store: Store) -> None:
    fill(store, chains("none"))
    scores = by_mean(store, chains("none"))
    assert tuple(scores.columns) == SCORE_COLUMNS
    (line,) = scores.to_dict("records")
    assert line["wa"] == pytest.approx(100 * 6 / 9)
    assert line["ua"] == pytest.approx(100 * (5 / 6 + 1 / 3) / 2)
    assert line["recall"] == pytest.approx([100 * 5 / 6, 100 / 3])
    assert line["utterances"] == 9


def test_one_seed_has_no_spread(store: Store) -> None:
    fill(store, chains("none"))
    (line,) = score_networks(decide(store, chains("none"), forest_seeds=0)).to_dict("records")
    assert all(
        np.isnan(line[f"{metric}_sd_{kind}_seeds"]) for metric in ("wa", "ua") for kind in ("forest", "training")
    )


def test_forest_seeds_are_averaged_and_their_spread_is_reported() -> None:
    (line,) = score(decisions_of([0, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 1])).to_dict("records")
    assert line["wa"] == line["ua"] == 75
    assert line["wa_sd_forest_seeds"] == line["ua_sd_forest_seeds"] == pytest.approx(25)  # n - 1 degrees of freedom
    assert np.isnan(line["wa_sd_training_seeds"])
    assert line["recall"] == pytest.approx([100 * (1 + 1 + 0.5) / 3, 100 * (1 + 0.5 + 0.5) / 3])


def test_scores_have_intervals_over_utterances_and_over_speakers() -> None:
    (line,) = score(decisions_of([0, 0, 1, 0])).to_dict("records")
    rates = rate_intervals([0, 0, 1, 1], [0, 0, 1, 0])
    assert [line["wa_low"], line["wa_high"]] == pytest.approx([100 * rates.wa.low, 100 * rates.wa.high])
    assert [line["ua_low"], line["ua_high"]] == pytest.approx([100 * rates.ua.low, 100 * rates.ua.high])
    # One speaker has both right, the other one of two: resamples of the two speakers have 100, 75 or 50.
    assert [line["wa_speaker_low"], line["wa_speaker_high"]] == [50, 100]
    assert [line["ua_speaker_low"], line["ua_speaker_high"]] == [50, 100]


def test_the_training_seeds_of_a_network_are_averaged() -> None:
    seeds = {"seeds": 3, "validation_wa": 60.0, "seed": 1}
    decisions = pd.concat([decisions_of([0, 0, 1, 1], seeds=3), decisions_of([0, 0, 0, 0], folds_done=1, **seeds)])
    scores = score_networks(decisions)
    assert tuple(scores.columns) == NETWORK_SCORE_COLUMNS
    (line,) = scores.to_dict("records")
    assert (line["wa"], line["utterances"]) == (75, 4)
    assert np.isnan(line["wa_sd_forest_seeds"])
    assert line["wa_sd_training_seeds"] == pytest.approx(np.std([100, 50], ddof=1))
    assert (line["seeds"], line["folds_done"], line["folds"]) == (3, 3, 6)
    assert line["validation_wa"] == 55
    assert line["wa_low"] < 75 < line["wa_high"]


def test_the_spreads_over_forest_and_over_training_seeds_stand_apart() -> None:
    """One training seed has forests of 100 and 75, the other of 50 and 50: their means differ by 37.5."""
    first = decisions_of([0, 0, 1, 1], [0, 0, 1, 0], seeds=2)
    second = decisions_of([0, 0, 0, 0], [1, 0, 1, 0], seeds=2, seed=1)
    (line,) = score_networks(pd.concat([first, second])).to_dict("records")
    assert line["wa_sd_forest_seeds"] == pytest.approx(np.mean([np.std([100, 75], ddof=1), 0]))
    assert line["wa_sd_training_seeds"] == pytest.approx(np.std([87.5, 50], ddof=1))


def test_a_network_of_one_training_seed_scores_as_its_cell(store: Store) -> None:
    fill(store, chains("hdl"))
    decisions = decide(store, chains("hdl"))
    shared = list(NETWORK_SCORE_COLUMNS)
    pd.testing.assert_frame_equal(score_networks(decisions)[shared], score(decisions)[shared])


def test_training_seeds_with_labels_of_their_own_are_scored_by_those() -> None:
    other = decisions_of([1, 1, 0, 0], seed=1, seeds=2, labels="permuted").assign(label=[1, 1, 0, 1])
    decisions = pd.concat([decisions_of([0, 0, 1, 1], seeds=2, labels="permuted"), other])
    (line,) = score_networks(decisions).to_dict("records")
    assert line["wa"] == (100 + 75) / 2
    assert line["wa_low"] < line["wa"] < line["wa_high"]


def test_order_of_chains_does_not_matter_for_scores(store: Store) -> None:
    asked = [*chains("none"), *chains("hdl")[:2]]
    fill(store, asked, decided=np.array([0, 1, 0, 0, 1, 1, 1, 0, 1]))
    in_order, reversed_ = (
        score(decide(store, given, forest_seeds=1)).sort_values(["rule", "decision"], ignore_index=True)
        for given in (asked, asked[::-1])
    )
    pd.testing.assert_frame_equal(in_order, reversed_, check_exact=True)


# Decisions that are kept


@pytest.fixture
def count_forests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many forest seeds each call for forests asked for."""
    calls: list[int] = []
    grow = forest_decisions

    def counted(folds_of_seeds: list[list[ForestFold]]) -> np.ndarray:
        calls.append(len(folds_of_seeds))
        return grow(folds_of_seeds)

    monkeypatch.setattr(analysis.scoring.results, "forest_decisions", counted)
    return calls


def test_decisions_are_made_once(store: Store, count_forests: list[int]) -> None:
    fill(store, chains("bdsl"))
    made = decide(store, chains("bdsl"), forest_seeds=1)
    assert len(count_forests) == 2
    pd.testing.assert_frame_equal(decide(Store(store.uri), chains("bdsl"), forest_seeds=1), made)
    assert len(count_forests) == 2


def test_other_predictions_and_other_forest_seeds_are_decided_anew(store: Store, count_forests: list[int]) -> None:
    fill(store, chains("none")[:2])
    assert set(decide(store, chains("none"), forest_seeds=1)["folds_done"]) == {2}
    fill(store, chains("none"))
    assert set(decide(store, chains("none"), forest_seeds=1)["folds_done"]) == {3}
    decide(store, chains("none"), forest_seeds=2)
    for key in store.done_keys():
        store.delete_stage(key)
    fill(store, chains("none"), decided=LABEL)
    by_mean = decide(store, chains("none"), forest_seeds=2).query("decision == 'mean'")
    assert (by_mean["predicted"] == by_mean["label"]).all()
    assert count_forests == [1, 1, 2, 2]


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: b"x" + content])
def test_damaged_decisions_are_made_again(store: Store, count_forests: list[int], damage: Any) -> None:
    fill(store, chains("none"))
    made = decide(store, chains("none"), forest_seeds=1)
    (file,) = (Path(store.uri) / "decisions").iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    pd.testing.assert_frame_equal(decide(store, chains("none"), forest_seeds=1), made)
    assert len(count_forests) == 2
    assert file.read_bytes() == whole


def test_a_store_that_cannot_be_written_is_decided_all_the_same(store: Store) -> None:
    fill(store, chains("none"))
    (Path(store.uri) / "decisions").write_bytes(b"a file where the folder would be")
    assert len(decide(store, chains("none"), forest_seeds=1)) == 2 * len(LABEL)


def test_decisions_without_a_damaged_fold_are_not_kept(store: Store) -> None:
    fill(store, chains("none"))
    predictions_file(store, chains("none")[0].last).write_bytes(b"")
    assert set(decide(store, chains("none"), forest_seeds=1)["folds_done"]) == {2}
    assert not (Path(store.uri) / "decisions").exists()


# Label correction


def test_label_correction_is_the_mean_over_folds_and_seeds(store: Store) -> None:
    asked = [*chains("bdsl"), *chains("bdsl", seed=1)]
    fill(store, asked, right=0.4)
    found = label_correction(store, asked)
    assert tuple(found.columns) == CORRECTION_COLUMNS
    inherited, corrected = found.to_dict("records")
    assert (inherited["rule"], inherited["label_source"], inherited["iteration"]) == ("none", "", 0)
    assert (corrected["rule"], corrected["label_source"], corrected["iteration"]) == ("bdsl", "in_fold", 1)
    assert (corrected["seeds"], corrected["folds_done"], corrected["folds"]) == (2, 6, 6)
    assert [inherited["targets_right"], corrected["targets_right"]] == pytest.approx([50, 60])
    assert corrected["targets_right_sd"] == pytest.approx(np.std([50, 60, 70] * 2, ddof=1))


def test_label_correction_says_which_folds_are_there(store: Store) -> None:
    fill(store, chains("none")[1:], right=0.4)
    (line,) = label_correction(store, chains("none")).to_dict("records")
    assert (line["folds_done"], line["folds"], line["targets_right"]) == (2, 3, pytest.approx(55))


def test_the_label_correction_of_one_fold_has_no_spread(store: Store) -> None:
    fill(store, chains("none")[:1], right=0.4)
    (line,) = label_correction(store, chains("none")).to_dict("records")
    assert line["targets_right"] == pytest.approx(40) and np.isnan(line["targets_right_sd"])


def test_a_corpus_of_which_no_truth_is_known_has_no_label_correction(store: Store) -> None:
    fill(store, chains("bdsl"))
    found = label_correction(store, chains("bdsl"))
    assert found.empty and tuple(found.columns) == CORRECTION_COLUMNS


# Tables


def test_a_store_that_lacks_everything_makes_no_tables(tmp_path: Path) -> None:
    decisions = decide(Store(tmp_path / "nothing"), chains("bdsl"))
    scores = score(decisions)
    assert (len(decisions), len(scores)) == (0, 0)
    assert (tuple(decisions.columns), tuple(scores.columns)) == (DECISION_COLUMNS, SCORE_COLUMNS)
    tables = build_tables(scores, scores["corpus"].unique())
    assert to_markdown(tables) == to_latex(tables) == ""
    assert to_csv(tables).startswith("table,labels,") and to_csv(tables).count("\n") == 1
    assert to_json(tables) == '{\n  "tables": []\n}\n'


def test_tables_are_the_same_to_the_byte_when_made_again(store: Store) -> None:
    asked = [*chains("none"), *chains("wdsl", alpha=0.2)[:2]]
    fill(store, asked)
    texts = []
    for _ in range(2):
        scores = score_networks(decide(Store(store.uri), asked, forest_seeds=1))
        tables = build_tables(scores, scores["corpus"].unique())
        texts.append([render(tables) for render in (to_markdown, to_latex, to_csv, to_json)])
    assert texts[0] == texts[1]
    assert "66.67" in texts[0][0] and "(2/3 folds)" in texts[0][0]


def test_importing_the_package_loads_neither_torch_nor_ray() -> None:
    code = "import sys, analysis; print(*sorted({'torch', 'ray'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
