"""`ser-sweep best`: a setting that is known to be the best is found, and the grid that it writes goes on from there."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from analysis.tables.table_stages import stages_compared
from data_prep.corpora import read_manifest
from data_prep.prepare import prepare
from ser_sweep import open_sweep
from ser_sweep.cli import main
from sweep.planning.grid import load_grid
from sweep.planning.stages import ChainSpec

BEST, TOO_SLOW = 0.01, 1e-7


def tones(folder: Path) -> Path:
    """A data folder with a corpus of low and high tones, in noise, which any network tells apart that learns at all."""
    random, seconds = np.random.default_rng(0), np.arange(11_200) / 16_000
    lines = ["path,emotion,speaker"]
    for number in range(32):
        low = number % 2 == 0
        hertz = (300 if low else 2500) * random.uniform(0.9, 1.1)
        sound = 0.2 * np.sin(2 * np.pi * hertz * seconds) + 0.02 * random.standard_normal(len(seconds))
        soundfile.write(folder / f"{number:02}.wav", sound, 16_000)
        lines.append(f"{number:02}.wav,{'anger' if low else 'sadness'},s{number // 2 % 2}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    prepare("tones", read_manifest(folder / "manifest.csv"), folder / "data", inline=True)
    return folder / "data"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A trained grid of two learning rates, of which one learns nothing, and the arguments that name it."""
    folder = tmp_path_factory.mktemp("best")
    data = tones(folder)
    grid = {
        "corpora": ["tones"],
        "backbones": ["tiny"],
        "rules": ["none", {"wdsl": 0.2}],
        "folds": 2,
        "resources": {"cpu": 1, "max_failures": 1},
        "intervals": "speaker",
        "training": {
            **{"epochs": 6, "every": 8, "batch_size": 16, "learning_rate": [TOO_SLOW, BEST]},
            **{"validation_share": 0.4, "early_stopping": False},
        },
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    arguments = [str(folder / "grid.yaml"), "--data", str(data), "--store", str(folder / "store")]
    assert main(["run", *arguments, "--inline", "--quiet"]) == 0
    return folder, arguments


def best(arguments: list[str], capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["best", *arguments, "--no-forests", "--json", *options]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_learning_rate_that_learns_is_found_by_validation(
    place: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = best(place[1], capsys)
    (ranking,) = found["rankings"]
    assert found["fields"] == ["learning_rate"]
    assert ranking["chosen"]["setting"] == {"learning_rate": BEST}
    assert ranking["of"] == 4


def test_the_grid_that_is_written_asks_for_nothing_that_is_not_there(
    place: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "best.yaml"
    chosen = best(place[1], capsys, "--write", str(file))["rankings"][0]["chosen"]
    grid = load_grid(file)
    assert (grid.folds, grid.resources.max_failures, grid.backbones) == (2, 1, ("tiny",))
    assert grid.intervals == "speaker"
    assert grid.training.learning_rate == BEST
    sweep = open_sweep(file, *place[1][2::2])
    assert sweep.plan.to_train == {}
    assert {chain.last.rule for chain in sweep.chains} == {chosen["rule"]}
    (command,) = [line for line in file.read_text().splitlines() if "ser-sweep run" in line]
    assert command == f"#   ser-sweep run {file} --data {place[1][2]} --store {place[1][4]}"


def test_another_file_is_not_written_over(
    place: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "best.yaml"
    best(place[1], capsys, "--write", str(file))
    written = file.read_text()
    best(place[1], capsys, "--write", str(file))
    assert file.read_text() == written
    file.write_text("name: mine\n")
    assert main(["best", *place[1], "--no-forests", "--write", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() == "name: mine\n"


def test_the_table_says_what_was_chosen_and_shows_as_many_rows_as_asked(
    place: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["best", *place[1], "--no-forests", "--top", "3"]) == 0
    said = capsys.readouterr().out
    assert "WA validation" in said and "WA test" in said and "The first 3 of 4." in said
    assert f"tones, stratified split: learning_rate {BEST}: tiny" in said
    assert said.count("| tiny") == 3


def test_without_validation_utterances_nothing_can_be_chosen(
    small_data: Path, tmp_path: Path, write_grid: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"epochs": 1, "every": 64, "validation_share": 0, "early_stopping": False, "learning_rate": [0.1, 0.01]}
    grid = write_grid(rules=["none"], training=training)
    arguments = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *arguments, "--inline", "--quiet"]) == 0
    assert main(["best", *arguments, "--no-forests"]) == 2
    assert "can be chosen: no rate on validation utterances is known" in capsys.readouterr().err


def test_a_grid_of_one_setting_has_a_best_network(
    small_data: Path, tmp_path: Path, write_grid: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"epochs": 1, "every": 64, "validation_by": "utterance"}
    grid = write_grid(rules=["none", "bdsl"], splits=["stratified", "text"], training=training)
    arguments = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *arguments, "--inline", "--quiet"]) == 0
    file = tmp_path / "best.yaml"
    found = best(arguments, capsys, "--write", str(file))
    assert found["fields"] == [] and len(found["rankings"]) == 2
    assert all(one["chosen"]["setting"] == {} for one in found["rankings"])
    chosen = load_grid(file)
    assert [one.splits for one in chosen.chains or ()] == [("stratified",), ("text",)]
    assert open_sweep(file, *arguments[2::2]).plan.to_train == {}


def test_a_plan_names_the_tables_of_the_setting_that_tables_show(
    place: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["plan", *place[1], "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["tables"]
    assert main(["tables", *place[1], "--no-forests"]) == 0
    printed = re.findall(r"^\*\*(.+)\.\*\*", capsys.readouterr().out, re.MULTILINE)
    assert {"Table I", *planned} == set(printed)
    grid, _, data, _, store = place[1]
    whole = open_sweep(grid, data, store)
    assert planned["Settings"]["total"] == len(whole.plan.stages) == 2 * planned["All networks"]["total"]


def test_settings_are_compared_by_the_networks_that_both_have(place: tuple[Path, list[str]]) -> None:
    grid, _, data, _, store = place[1]
    whole = open_sweep(grid, data, store)
    shown, others = (list(chains) for chains in whole.settings.chains.values())
    names = {one.last.corpus: "tones" for one in shown}
    assert stages_compared(shown, others, names) == set(whole.plan.stages)
    baseline = [ChainSpec(one.stages[0]) for one in others]
    of_baseline = {stage.key for one in (*shown, *others) for stage in one.stages[:1]}
    assert stages_compared(shown, baseline, names) == of_baseline < set(whole.plan.stages)
    assert stages_compared(shown, [], names) == set()
