"""What a changed grid adds to another, keeps of it and leaves unused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ser_sweep.cli import main
from sweep.planning.differences import ADDS, KEEPS, UNUSED, Change, change
from sweep.planning.grid import parse_grid
from sweep.planning.stages import Plan
from tests.sweep.test_fuse import run
from tests.sweep.test_grid import CORPORA, grid_of


def changed(before: dict[str, Any], after: dict[str, Any], done: bool = True) -> Change:
    """The change from one grid to another, where all of the first one's stages are done."""
    one, other = (parse_grid(grid_of(**fields), "test") for fields in (before, after))
    chains, others = one.expand(CORPORA), other.expand(CORPORA)
    first, second = Plan.of(chains, (), {}), Plan.of(others, (), {})
    together = Plan.of([*chains, *others], first.stages if done else (), {})
    return change(one, other, first.stages.keys(), second.stages.keys(), together)


def numbers(found: Change) -> dict[str, tuple[int, int]]:
    return {kind: (one.stages, one.done) for kind, one in found.in_all.items()}


def test_the_same_grid_keeps_everything() -> None:
    found = changed({}, {"rules": ["none", {"wdsl": 0}]})
    assert numbers(found) == {ADDS: (0, 0), KEEPS: (20, 20), UNUSED: (0, 0)}
    assert found.fields == {"rules": ("[none, bdsl]", "[none, {wdsl: [0]}]")}
    assert not changed({}, {}).fields


def test_a_fourth_learning_rate_adds_its_stages_alone() -> None:
    rates = [0.01, 0.001, 0.0003]
    found = changed({"training": {"learning_rate": rates}}, {"training": {"learning_rate": [*rates, 0.003]}})
    assert numbers(found) == {ADDS: (20, 0), KEEPS: (60, 60), UNUSED: (0, 0)}
    assert found.fields == {"training.learning_rate": ("[0.01, 0.001, 0.0003]", "[0.01, 0.001, 0.0003, 0.003]")}
    cell = "emodb-000000000000 densenet22 bdsl (learning_rate 0.003) t=1"
    assert {kind: one.stages for kind, one in found.cells[cell].items()} == {ADDS: 10, KEEPS: 0, UNUSED: 0}
    assert len(found.cells) == 8


def test_another_value_leaves_the_old_stages_unused() -> None:
    found = changed({}, {"training": {"epochs": 4}})
    assert numbers(found) == {ADDS: (20, 0), KEEPS: (0, 0), UNUSED: (20, 20)}
    assert {cell for cell in found.cells if "epochs" in cell} == set(found.cells)


def test_more_samples_keep_the_first() -> None:
    drawn = {"training": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}}
    found = changed({**drawn, "samples": 8}, {**drawn, "samples": 16}, done=False)
    assert numbers(found) == {ADDS: (160, 0), KEEPS: (160, 0), UNUSED: (0, 0)}
    assert found.fields == {"samples": ("8", "16")}


def test_fields_are_told_as_a_file_has_them() -> None:
    before = {"folds": 5, "resources": {"cpu": 2}, "training": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}}
    after = {"chains": [{"rules": ["gsl", {"wdsl": [[0.5, 0.2], 0.1]}], "training": {"epochs": 3}}], "iterations": 2}
    assert changed({**before, "samples": 2}, after).fields == {
        "iterations": ("1", "2"),
        "folds": ("5", "10"),
        "training.learning_rate": ("{log_uniform: [0.0001, 0.01]}", "0.001"),
        "samples": ("2", "not given"),
        "resources.cpu": ("2", "1"),
        "chains.0.rules": ("not given", "[gsl, {wdsl: [[0.5, 0.2], 0.1]}]"),
        "chains.0.training.epochs": ("not given", "3"),
    }


def test_plan_says_what_a_changed_grid_comes_to(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"epochs": 1, "every": 32}
    grid = write_grid(rules=["none"], training=training)
    assert run(grid, small_data, tmp_path / "store", "--inline") == 0
    other = tmp_path / "other.yaml"
    content = yaml.safe_load(grid.read_text())
    other.write_text(yaml.safe_dump({**content, "training": {**training, "learning_rate": [0.001, 0.0003]}}))
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--diff", str(other)]
    capsys.readouterr()
    assert main(["plan", *place]) == 0
    said = capsys.readouterr().out
    assert "training.learning_rate: 0.001, now [0.001, 0.0003]" in said
    assert "adds               2 stages, of which 0 done" in said
    assert "keeps              2 stages, of which 2 done" in said
    assert "tiny none (learning_rate 0.0003) t=0  adds 2 (0 done)" in said
    assert main(["plan", *place, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["adds"], about["keeps"]) == ({"stages": 2, "done": 0}, {"stages": 2, "done": 2})
    assert about["leaves_unused"] == {"stages": 0, "done": 0} and len(about["cells"]) == 2
    assert about["fields"] == {"training.learning_rate": {"before": "0.001", "after": "[0.001, 0.0003]"}}
