"""Table I from what a store holds, and how many labels are right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import to_csv, to_json, to_latex, to_markdown
from analysis.tables.corpora_table import corpora_listing
from analysis.tables.correction_table import correction_listings
from data_prep.features import FeatureSettings
from data_prep.shards import PreparedCorpus
from dsl.labels import LabelUpdate
from dsl.settings import TrainingSettings
from sweep.planning.stages import ChainSpec, StageSpec
from sweep.storage.store import Store
from tests.analysis.made_by_hand import network, setup_with


def hold(store: Store, corpus: str, folder: Path, partial: bool = False) -> ChainSpec:
    """Put a corpus of two utterances into the store; returns a chain on it."""
    folder.mkdir()
    utterances = pd.DataFrame({"id": ["a", "b"], "source_rate": [16_000, 44_100], "emotion": ["anger", "fear"]})
    utterances = utterances.assign(speaker="s", text="", label=[0, 1], frames=617 + 31)
    utterances.to_parquet(folder / "utterances.parquet")
    manifest = {
        "corpus": corpus,
        "fingerprint": "f",
        "partial": partial,
        "utterances": 2,
        "speakers": 1,
        "classes": {"anger": 1, "fear": 1},
        "segments": 1234,
        "settings": vars(FeatureSettings()),
        "shards": [],
    }
    store.add_corpus(PreparedCorpus(folder, manifest))
    return ChainSpec(StageSpec(f"{corpus}-f", "tiny", "stratified", 2, 0, 0, None, (), TrainingSettings()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create()
    return made


def test_table_1_has_the_papers_lines_each_followed_by_the_stores(store: Store, tmp_path: Path) -> None:
    chains = [hold(store, "tess", tmp_path / "a"), hold(store, "emodb", tmp_path / "b", partial=True)]
    one = corpora_listing(store, [*chains, *chains])
    assert [str(row.label) for row in one.rows] == [
        "CASIA, paper",
        "Emo-DB, paper",
        "emodb-f (a part)",
        "SAVEE, paper",
        "tess-f",
    ]
    assert list(one.rows[1].texts[""]) == ["535", "10 (5 female)", "7", "16 kHz", "131,053", "335 ms, 10 ms"]
    assert list(one.rows[2].texts[""]) == ["2", "1", "2", "16 kHz, 44.1 kHz", "1,234", "335 ms, 10 ms"]


def test_table_1_is_of_the_grids_corpora_only(store: Store, tmp_path: Path) -> None:
    hold(store, "tess", tmp_path / "a")
    one = corpora_listing(store, [hold(store, "emodb", tmp_path / "b")])
    assert "tess-f" not in [str(row.label) for row in one.rows]


def test_a_corpus_that_only_has_the_name_of_the_papers_comes_after_the_papers(store: Store, tmp_path: Path) -> None:
    one = corpora_listing(store, [hold(store, "emodb", tmp_path / "a")])
    assert [str(row.label) for row in one.rows] == ["CASIA, paper", "Emo-DB, paper", "SAVEE, paper", "emodb-f"]
    assert {record["corpus"] for record in one.rows[-1].entries} == {"emodb-f"}


def test_table_1_is_written_in_every_format(store: Store, tmp_path: Path) -> None:
    one = corpora_listing(store, [hold(store, "emodb", tmp_path / "a", partial=True)])
    assert to_markdown([one]).startswith("**Table I.** ")
    assert "| Emo-DB, paper    |        535 | 10 (5 female) |" in to_markdown([one])
    assert r"Emo-DB, paper & 535 & 10 (5 female) & 7 & 16 kHz & 131,053 & 335 ms, 10 ms \\" in to_latex([one])
    assert 'I,,,,,,"Emo-DB, paper",,,,emodb,utterances,' in to_csv([one])
    records = json.loads(to_json([one]))["tables"][0]["records"]
    assert {
        "table": "I",
        "row": "emodb-f (a part)",
        "corpus": "emodb",
        "metric": "segments",
        "value": "1,234",
    } in records


# Labels that are right


def share(right: float, rule: str = "none", iteration: int | None = None, **about: Any) -> dict[str, Any]:
    """A line of `label_correction`."""
    setup = setup_with("synthetic", epochs=5, folds=4)
    cell = {"corpus": "synthetic", "setup": setup, "folds_done": 4, "folds": 4}
    return network(rule, iteration, **cell | about) | {"targets_right": right, "targets_right_sd": 0.5} | about


def test_labels_that_are_right_are_shown_by_iteration_beside_the_inherited_ones() -> None:
    lines = [
        share(65.0),
        share(70.0, "bdsl", iteration=1),
        share(60.0, "bdsl", iteration=2, folds_done=3),
        share(71.0, "wdsl", alpha="0.5"),
        share(72.0, "wdsl", 2, updates=(LabelUpdate("wdsl", 0.5), LabelUpdate("wdsl", 0.2))),
        share(90.0, "gsl", iteration=1, label_source="global_oof"),
    ]
    (one,) = correction_listings(pd.DataFrame(lines))
    assert [[one.text for one in group.headings] for group in one.groups] == [["inherited", "t = 1", "t = 2"]] * 2
    assert {str(row.label): dict(row.texts) for row in one.rows} == {
        "DenseNet22 bdsl": {"in_fold": ["65.00 ± 0.50", "70.00 ± 0.50", "60.00 ± 0.50 (3/4 folds)"]},
        "DenseNet22 gsl": {"global_oof": ["65.00 ± 0.50", "90.00 ± 0.50", "—"]},
        "DenseNet22 wdsl 0.5→0.2": {"in_fold": ["65.00 ± 0.50", "71.00 ± 0.50", "72.00 ± 0.50"]},
    }
    assert "global_oof (leaky)" in to_markdown([one])


def test_shares_are_records_for_machines() -> None:
    (one,) = correction_listings(pd.DataFrame([share(65.0), share(70.0, "bdsl", iteration=1)]))
    records = json.loads(to_json([one]))["tables"][0]["records"]
    assert [(record["row"], record["iteration"], record["value"]) for record in records] == [
        ("DenseNet22 bdsl", 0, 65.0),
        ("DenseNet22 bdsl", 1, 70.0),
    ]
    assert all("4 folds, stratified split" in record["setup"] for record in records)
    assert [note.text for note in one.footnotes] == [f"synthetic: {records[0]['setup']}."]


def test_a_share_of_one_fold_has_no_spread() -> None:
    (one,) = correction_listings(pd.DataFrame([share(65.0), share(70.0, "bdsl", iteration=1, targets_right_sd=np.nan)]))
    assert one.rows[0].texts["in_fold"] == ["65.00 ± 0.50", "70.00"]
    assert [record["value_sd"] for record in one.rows[0].entries] == [0.5, None]


def test_nothing_known_of_true_labels_makes_no_listing() -> None:
    assert correction_listings(pd.DataFrame([share(0.0)]).iloc[:0]) == []
