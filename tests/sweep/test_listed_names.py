"""Names that people see: networks of several splits are told apart, and nouns agree with their numbers."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.text import counted
from ser_sweep.cli import main

WriteGrid = Callable[..., Path]
TRAINED = {"epochs": 1, "every": 16, "validation_by": "utterance"}


@pytest.fixture
def arguments(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> list[str]:
    """Those of a grid of two splits."""
    grid = write_grid(rules=["none", "bdsl"], splits=["stratified", "speaker"], training=TRAINED, weights="last")
    return [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]


def test_every_list_of_networks_tells_splits_apart(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments, "--inline"]) == 0
    said = capsys.readouterr().err
    assert "trained synthetic tiny none stratified split fold 0 seed 0, t=0" in said
    assert "trained synthetic tiny bdsl speaker split fold 1 seed 0, t=1" in said
    assert main(["status", *arguments]) == 0
    counts = dict(re.findall(r"^synthetic-\w+ (.+?) +(\d+ of \d+)$", capsys.readouterr().out, re.MULTILINE))
    assert counts == {f"tiny {network} split t={t}": "2 of 2" for network, t in NETWORKS}
    assert main(["networks", *arguments[3:], "--json"]) == 0
    names = [one["network"] for one in json.loads(capsys.readouterr().out)]
    assert len(set(names)) == len(names) == 8
    assert {re.findall(r"\w+ split", name)[0] for name in names} == {"stratified split", "speaker split"}
    assert main(["compare", arguments[0], *arguments, "--no-forests"]) == 0
    rows = re.findall(r"^\| (tiny[^|]*?) +\|", capsys.readouterr().out, re.MULTILINE)
    assert rows and len(set(rows)) == len(rows)


NETWORKS = [(f"{rule} {split}", t) for rule, t in (("none", 0), ("bdsl", 1)) for split in ("stratified", "speaker")]


def test_the_only_split_is_told_where_it_is_not_the_usual_one(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, told in (("stratified", "synthetic tiny none fold 0"), ("speaker", "synthetic tiny none speaker split")):
        grid = write_grid(rules=["none"], splits=[split], training=TRAINED)
        place = ["--data", str(small_data), "--store", str(tmp_path / split)]
        assert main(["run", str(grid), *place, "--inline"]) == 0
        assert f"trained {told}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 launches"), (1, "1 launch"), (2, "2 launches"), (1234, "1,234 launches")]
)
def test_a_noun_agrees_with_its_number(number: int, said: str) -> None:
    assert counted(number, "launch", "launches") == said


def test_one_of_a_kind_is_told_in_the_singular(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path(arguments[0]).write_text("{corpora: [synthetic], backbones: [tiny], rules: [none], folds: 2}")
    assert main(["run", *arguments, "--inline"]) == 0
    assert main(["launches", *arguments[3:]]) == 0
    assert "\n1 launch, " in capsys.readouterr().out
    assert main(["plan", "nowhere.yaml", *arguments[1:]]) == 2
    grid = Path(arguments[0]).with_name("wrong.yaml")
    grid.write_text("{corpora: [synthetic], backbones: [tinny], rules: [none]}")
    assert main(["plan", str(grid), *arguments[1:]]) == 2
    assert ": 1 problem\n" in capsys.readouterr().err
