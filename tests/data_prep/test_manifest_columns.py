"""Sessions, genders and folds of a manifest: kept from there to the results, and to the splits."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from data_prep.corpora import read_manifest
from data_prep.data_folder import find_prepared
from data_prep.errors import ShardError
from data_prep.prepare import prepare
from data_prep.shards import load_corpus
from ser_sweep import open_sweep
from ser_sweep.cli import main
from sweep.planning.grid import GridError
from sweep.planning.in_view import ALONE
from tests.data_prep.corpus_files import noise, write_manifest, write_sound

HEADER = "path,emotion,speaker,session,gender,fold"
ROWS = [
    (f"{speaker}{emotion[0]}{take}.wav", emotion, speaker, f"day {ord(speaker) % 2}", "fm"[ord(speaker) % 2], take)
    for speaker in "abcd"
    for emotion in ("anger", "neutral")
    for take in range(3)
]


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("columns")
    for number, (path, *_) in enumerate(ROWS):
        write_sound(folder / path, noise(0.5, seed=number))
    return folder


def manifest(audio: Path, *columns: str) -> Path:
    """One with the first three columns and those."""
    names = HEADER.split(",")
    kept = [number for number, name in enumerate(names) if number < 3 or name in columns]
    lines = [",".join(str(row[number]) for number in kept) for row in ROWS]
    return write_manifest(audio, *lines, header=",".join(names[number] for number in kept))


@pytest.fixture(scope="module")
def data(audio: Path) -> Path:
    prepare("own", read_manifest(manifest(audio, "session", "gender", "fold")), audio / "DATA", inline=True)
    return audio / "DATA"


def test_what_a_manifest_tells_is_kept_and_part_of_what_the_corpus_is(audio: Path, data: Path, tmp_path: Path) -> None:
    prepared = find_prepared(data, "own")
    table = prepared.utterances().set_index("id")
    assert [table[name]["bn2"] for name in ("session", "gender", "fold")] == ["day 0", "f", "2"]
    assert {"session", "gender", "fold"} <= set(load_corpus(prepared).utterances)
    without = prepare("own", read_manifest(manifest(audio)), tmp_path / "DATA", inline=True).corpus
    assert not {"session", "gender", "fold"} & set(without.utterances())
    assert without.name != prepared.name


def test_a_corpus_that_tells_nothing_more_is_the_one_that_it_always_was(audio: Path, tmp_path: Path) -> None:
    """The fingerprint of before there were such columns, and with columns that are there and empty."""
    empty = write_manifest(audio, *(",".join([*row[:3], "", "", ""]) for row in ROWS), header=HEADER)
    names = {
        prepare("own", read_manifest(path), tmp_path / "DATA", inline=True).corpus.name
        for path in (manifest(audio), empty)
    }
    assert names == {"own-a5e885a99be6"}


def test_preparations_that_differ_in_a_session_are_told_apart(audio: Path, tmp_path: Path) -> None:
    for columns in ((), ("session",)):
        prepare("own", read_manifest(manifest(audio, *columns)), tmp_path / "DATA", inline=True)
    with pytest.raises(ShardError, match=r"24 utterances \(aa0, aa1, aa2, …\) of other labels"):
        find_prepared(tmp_path / "DATA", "own")


def test_whole_sessions_are_left_out_and_results_tell_sessions_and_genders(
    data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"epochs": 1, "every": 8, "validation_by": "speaker"}
    grid = write_grid(corpora=["own"], rules=["none"], splits=["session"], training=training)
    sweep = open_sweep(grid, data, tmp_path / "store")
    sweep.run(inline=True, quiet=True)
    decisions = sweep.decisions()
    assert set(decisions.groupby("fold")["session"].unique().map(tuple)) == {("day 0",), ("day 1",)}
    assert (decisions["gender"] == decisions["speaker"].map(lambda speaker: "fm"[ord(speaker) % 2])).all()
    assert (decisions["listed_fold"] == decisions["utterance"].str[-1]).all()
    assert main(["folds", "show", str(grid), "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert "sessions in both" in said
    assert "0 of 24 test utterances: of a session that training or validation has, too" in said
    sweep.store.require_predictions()
    assert main(["store", "export", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    exported = pd.read_parquet(tmp_path / "out" / "predictions")
    assert set(exported["session"]) == {"day 0", "day 1"} and set(exported["gender"]) == {"f", "m"}


def test_a_corpus_without_sessions_cannot_leave_them_out(small_data: Path, write_grid: Callable[..., Path]) -> None:
    with pytest.raises(GridError, match="32 of 32 utterances have no session; use another split"):
        open_sweep(write_grid(splits=["session"]), small_data)


def test_the_column_fold_says_who_is_tested(data: Path, small_data: Path, write_grid: Callable[..., Path]) -> None:
    grid = write_grid(corpora=["own"], rules=["none"], folds={"column": "fold"})
    sweep = open_sweep(grid, data)
    assert {chain.last.folds for chain in sweep.chains} == {3}
    assert sweep.chains[0].label_in(ALONE) == "own tiny none fold column split fold 0 seed 0"
    with pytest.raises(GridError, match="its utterances have no fold; write a column fold in the manifest"):
        open_sweep(write_grid(folds={"column": "fold"}), small_data)
