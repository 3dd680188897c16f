"""What training and test of a fold have in common."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.tables.folds_table import folds_text
from data_prep.data_folder import find_prepared
from data_prep.shards import PreparedCorpus
from dsl.overlaps import COLUMNS, Overlap, fold_parts
from dsl.settings import ChainSettings, TrainingSettings
from dsl.splits import SPLITS, assign_folds, parts_of
from ser_sweep import open_sweep
from ser_sweep.cli import main
from sweep.planning.stages import StageSpec

TRAINING = TrainingSettings(validation_by="utterance")


@pytest.fixture
def utterances() -> pd.DataFrame:
    """2 emotions x 4 speakers x 4 texts x 2 takes; the takes of one speaker are copies."""
    rows = [(e, s, t, take) for e in range(2) for s in "abcd" for t in "wxyz" for take in range(2)]
    table = pd.DataFrame(rows, columns=["label", "speaker", "text", "take"])
    copied = table["speaker"].eq("a").to_numpy() & table["take"].eq(1).to_numpy()
    table["session"] = table["speaker"].str.upper()
    table["sound"] = [str(number - copy) for number, copy in enumerate(copied)]
    return table


@pytest.mark.parametrize("split", SPLITS)
def test_counts_are_those_of_the_sets(split: str, utterances: pd.DataFrame) -> None:
    for fold in range(4):
        chain = ChainSettings("corpus", "tiny", split, 4, fold, 0, None, (), TRAINING)
        found, parts = fold_parts(chain, utterances), parts_of(chain, utterances)
        assert (found.training, found.validation, found.test) == tuple(
            np.count_nonzero(part) for part in (parts.training, parts.validation, parts.tested)
        )
        for column in COLUMNS:
            heard = set(utterances[column][parts.training | parts.validation])
            tested = list(utterances[column][parts.tested])
            both = [value for value in tested if value in heard]
            assert found.overlaps[column] == Overlap(len(set(both)), len(set(tested)), len(both), 0)
        for column in split.split("_") if split != "stratified" else ():
            assert found.overlaps[column].utterances == 0


def test_copies_on_both_sides_are_counted(utterances: pd.DataFrame) -> None:
    chains = [ChainSettings("corpus", "tiny", "stratified", 4, fold, 0, None, (), TRAINING) for fold in range(4)]
    assert sum(fold_parts(chain, utterances).overlaps["sound"].utterances for chain in chains) > 0


def test_what_a_corpus_does_not_tell_is_left_out(utterances: pd.DataFrame) -> None:
    chain = ChainSettings("corpus", "tiny", "stratified", 4, 0, 0, None, (), TRAINING)
    untold = utterances.assign(text="").drop(columns=["sound", "session"])
    assert fold_parts(chain, untold).overlaps.keys() == {"speaker"}


def test_what_a_corpus_tells_of_some_utterances_is_counted_among_those(utterances: pd.DataFrame) -> None:
    """The sessions of one speaker are not told, nor is a text."""
    utterances.loc[utterances["speaker"] == "a", "session"] = ""
    utterances.loc[0, "text"] = ""
    stages = [StageSpec("corpus", "tiny", "stratified", 4, fold, 0, None, (), TRAINING) for fold in range(4)]
    parts = [fold_parts(stage, utterances) for stage in stages]
    assert {one.overlaps["text"].untold for one in parts} == {1}
    assert sum(one.overlaps["text"].utterances for one in parts) == 63
    said = folds_text(stages[0], parts)
    assert "sessions in both" in said and "3 of 3, 16 not told" in said and "4 of 4, 1 not told" in said
    assert "63 of 64 test utterances: of a text that training or validation has, too; text of 1 utterance not" in said


def test_the_command_tells_each_split_of_a_grid_once(
    small_data: Path, write_grid: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(splits=["stratified", "speaker"], training={"validation_by": "utterance"})
    assert main(["folds", "show", str(grid), "--data", str(small_data)]) == 0
    said = capsys.readouterr().out
    assert said.count("2 folds, seed 0") == 2
    assert "32 of 32 test utterances: by a speaker whom training or validation has, too" in said
    assert "0 of 32 test utterances: by a speaker whom training or validation has, too" in said
    assert main(["folds", "show", str(grid), "--data", str(small_data), "--json"]) == 0
    stratified, speaker = json.loads(capsys.readouterr().out)
    assert (stratified["split"], speaker["split"]) == ("stratified", "speaker")
    assert [one["test"] for one in speaker["parts"]] == [16, 16]
    assert speaker["parts"][0]["overlaps"]["speaker"] == {"shared": 0, "values": 1, "utterances": 0, "untold": 0}


def test_copies_of_test_recordings_are_told(
    small_data: Path,
    write_grid: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two utterances with the sound of another one: each fold tests one and trains on the others."""
    grid = write_grid(rules=["none"], folds=2, seeds=[0, 1], training={"validation_by": "utterance"})
    assert open_sweep(grid, small_data).notices == []
    corpus = find_prepared(small_data, "synthetic")
    utterances = corpus.utterances()
    fold = assign_folds("stratified", utterances, 2, 0)
    utterances.loc[[(fold == 0).argmax(), (fold == 1).argmax()], "sound"] = "the same"
    monkeypatch.setattr(PreparedCorpus, "utterances", lambda _: utterances)
    told = open_sweep(grid, small_data).notices
    assert told[0] == (
        f"{corpus.name}, stratified split, 2 folds, seed 0: 2 test recordings of 2 folds have copies in training or "
        "validation"
    )
    assert main(["plan", str(grid), "--data", str(small_data), "--store", str(grid.parent / "none")]) == 0
    assert told[0] in capsys.readouterr().out
