"""Stages that an earlier version of the method has trained: kept, readable, counted, and never taken for this one's."""

import json
from pathlib import Path

import pytest

from sweep import stages
from sweep.cli import main
from sweep.store import Store


@pytest.fixture
def place(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A grid whose four stages the version before this one has trained, and where they are."""
    grid = {"corpora": ["synthetic"], "backbones": ["tiny"], "rules": ["bdsl"], "folds": 2}
    grid["training"] = {"epochs": 1, "every": 32}  # type: ignore[assignment]
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    place = [str(tmp_path / "grid.json"), "--data", str(small_data), "--store", str(tmp_path / "store")]
    with monkeypatch.context() as earlier:
        earlier.setattr(stages, "METHOD_VERSION", stages.METHOD_VERSION - 1)
        assert main(["run", *place, "--inline", "--quiet"]) == 0
    return place


@pytest.mark.parametrize("command", ["plan", "status"])
def test_they_are_counted_and_not_used(command: str, place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([command, *place]) == 0
    said = capsys.readouterr().out
    assert "0 done, 4 missing, 0 failed" in said
    assert "4 of the missing were trained by an earlier version of the method" in said


def test_they_are_trained_anew_beside_the_earlier_ones(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(place[-1])
    earlier = store.done_keys()
    assert main(["run", *place, "--inline", "--quiet"]) == 0
    assert len(store.done_keys() - earlier) == 4 and earlier < store.done_keys()
    capsys.readouterr()
    assert main(["plan", *place]) == 0
    assert "earlier version" not in capsys.readouterr().out


def test_they_stay_readable(place: list[str], tmp_path: Path) -> None:
    store = Store(place[-1])
    assert all(store.read_predictions(key) is not None for key in store.done_keys())
    assert main(["store", "verify", "--store", place[-1]]) == 0
    assert main(["store", "export", "--store", place[-1], "--out", str(tmp_path / "export")]) == 0
