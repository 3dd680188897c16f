"""Forests learn from nothing that the split keeps from networks: where nothing can be known, nothing is recognised.

What a network hears here tells an emotion and who speaks, or which text; but the emotions' names are drawn anew for
each speaker, or text. A forest that knows other utterances of the speaker knows the names, and so does one that learns
from typing import Any
from networks that know them.
"""

import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import build_tables, decide, score, score_networks, to_json, to_latex, to_markdown
from data_prep.features import FeatureSettings
from data_prep.shards import PreparedCorpus
from dsl.settings import TrainingSettings
from dsl.splits import assign_folds
from sweep.planning.stages import ChainSpec, StageSpec
from sweep.storage.predictions import Predictions
from sweep.storage.store import Store

EMOTIONS, SPEAKERS, TEXTS = 4, 12, 12
CHANCE = 100 / EMOTIONS
RENAMED = [("speaker", "speaker"), ("text", "text"), ("speaker_text", "speaker"), ("speaker_text", "text")]


def chains(split: str, folds: int) -> list[ChainSpec]:
    stage = StageSpec("own-a", "tiny", split, folds, 0, 0, None, (), TrainingSettings())
    return [ChainSpec(replace(stage, fold=fold)) for fold in range(folds)]


def renamed_store(folder: Path, split: str, by: str, folds: int = 4, otherwise: bool = False) -> Store:
    """Every emotion by every speaker in every text, with predictions of all folds under `split`.

    `otherwise` gives those that the first fold tests other labels, and the other folds' networks other predictions.
    """
    there = (EMOTIONS, SPEAKERS, TEXTS)
    heard, speaker, text = (values.ravel() for values in np.meshgrid(*map(np.arange, there), indexing="ij"))
    group = {"speaker": speaker, "text": text}[by]
    renamed = np.random.default_rng(1).permuted(np.tile(np.arange(EMOTIONS), (group.max() + 1, 1)), axis=1)
    label = renamed[group, heard]
    names = np.array(["anger", "boredom", "fear", "sadness"])
    utterances = pd.DataFrame(
        {
            "id": [f"{number:03}" for number in range(len(label))],
            "speaker": [f"s{number}" for number in speaker],
            "text": [f"t{number}" for number in text],
            "emotion": names[label],
            "label": label,
            "frames": 33,
        }
    )
    fold_of = assign_folds(split, utterances, folds, seed=0)
    if otherwise:
        utterances["label"] = np.where(fold_of == 0, (label + 1) % EMOTIONS, label)
    data = folder / "data"
    data.mkdir(parents=True)
    utterances.to_parquet(data / "utterances.parquet")
    manifest: dict[str, Any] = {
        "corpus": "own",
        "fingerprint": "a",
        "classes": dict.fromkeys(names, SPEAKERS * TEXTS),
        "shards": [],
    }
    manifest |= {"settings": FeatureSettings().as_dict(), "utterances": len(label), "segments": 2 * len(label)}
    store = Store(folder / "store")
    store.create()
    store.add_corpus(PreparedCorpus(data, manifest))
    shutil.rmtree(data)
    sure = 0.4 + 0.05 * group + np.random.default_rng(0).normal(0, 0.005, len(label))
    q = np.where(np.eye(EMOTIONS, dtype=bool)[heard], sure[:, None], (1 - sure[:, None]) / (EMOTIONS - 1))
    utterance = np.repeat(np.arange(len(label)), 2)
    for fold, chain in enumerate(chains(split, folds)):
        tested = fold_of[utterance] == fold
        said = np.roll(q, 1, axis=1) if otherwise and fold else q
        found = Predictions(utterance, np.tile([0, 1], len(label)), tested, said[utterance].astype(np.float32))
        store.commit(chain.last, found, {"metrics": {"validation_wa": 0.25}})
    return store


@pytest.mark.parametrize(("split", "by"), RENAMED)
def test_a_forest_is_at_chance_where_nothing_can_be_known(tmp_path: Path, split: str, by: str) -> None:
    scores = score(decide(renamed_store(tmp_path, split, by), chains(split, 4), forest_seeds=3)).set_index("decision")
    for decision, rate in product(("mean", "forest"), ("wa", "ua")):
        assert scores.loc[decision, rate] == pytest.approx(CHANCE, abs=12)


@pytest.mark.parametrize("split", ["speaker", "text", "speaker_text"])
def test_a_fold_is_decided_without_its_own_labels_and_other_folds_networks(tmp_path: Path, split: str) -> None:
    decided = [
        decide(renamed_store(tmp_path / str(otherwise), split, "speaker", otherwise=otherwise), chains(split, 4), 2)
        for otherwise in (False, True)
    ]
    first, second = (found[(found["decision"] == "forest")].reset_index(drop=True) for found in decided)
    own = (first["label"] != second["label"]).to_numpy()
    assert 0 < own.sum() < len(own)
    assert (first["predicted"] == second["predicted"])[own].all()
    assert (first["predicted"] != second["predicted"])[~own].any()


def test_a_fold_that_is_done_is_decided_by_a_forest_before_the_others(tmp_path: Path) -> None:
    store = renamed_store(tmp_path, "speaker", "speaker")
    whole = decide(store, chains("speaker", 4), forest_seeds=1)
    part = decide(store, chains("speaker", 4)[1:2], forest_seeds=1)
    key = ["decision", "utterance", "predicted"]
    assert set(part["decision"]) == {"forest", "mean"}
    assert len(part[key].merge(whole[key])) == len(part) < len(whole)


@pytest.mark.parametrize("by", ["speaker", "text"])
def test_under_the_papers_split_forests_know_the_speaker(tmp_path: Path, by: str) -> None:
    """So the corpus has something to find."""
    decisions = decide(renamed_store(tmp_path, "stratified", by), chains("stratified", 4), forest_seeds=1)
    assert score(decisions).set_index("decision")["wa"]["forest"] > 80


def test_tables_say_what_forests_learn_from(tmp_path: Path) -> None:
    scores = score_networks(decide(renamed_store(tmp_path, "speaker", "speaker"), chains("speaker", 4), forest_seeds=1))
    tables = build_tables(scores, ["own"])
    for render in (to_markdown, to_json):
        assert "(each fold has a random forest of its own, which learns from no speaker that it decides on)" in render(
            tables
        )
    assert "learns from no speaker" in to_latex(tables)


def test_decisions_of_stratified_folds_are_kept_under_the_key_that_they_had(tmp_path: Path) -> None:
    """Version 1 drew stratified folds for every split: of the others nothing that was kept may be taken for theirs."""
    keys = {}
    for split in ("stratified", "speaker"):
        store = renamed_store(tmp_path / split, split, "speaker")
        decide(store, chains(split, 4), forest_seeds=1)
        (kept,) = (Path(store.uri) / "decisions").iterdir()
        keys[split] = kept.name, version_1_key(store, chains(split, 4))
    assert keys["stratified"][0].startswith(keys["stratified"][1])
    assert not keys["speaker"][0].startswith(keys["speaker"][1])


def version_1_key(store: Store, asked: list[ChainSpec]) -> str:
    import sklearn

    from data_prep.files import canonical_hash
    from sweep.planning.stages import KEY_LENGTH

    records = {one.last.key: store.read_stage(one.last.key) or {} for one in asked}
    stages = [[key, record["predictions"]["sha256"]] for key, record in records.items()]
    identity = {"method": 1, "scikit-learn": sklearn.__version__, "forest_seeds": 1, "stages": stages}
    return canonical_hash(identity, KEY_LENGTH)
