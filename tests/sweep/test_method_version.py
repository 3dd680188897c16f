"""Stages that an earlier version of the method, or of their backbone, has trained: kept, readable, counted, and never
taken for this one's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_prep.files import canonical_hash
from dsl.backbones import BACKBONES, VERSIONS
from dsl.settings import TrainingSettings
from ser_sweep.cli import main
from sweep.planning import stages
from sweep.planning.stages import KEY_LENGTH, StageSpec
from sweep.storage.store import Store

STAGE = StageSpec("emodb-0123456789ab", "densenet22", "stratified", 10, 3, 0, None, (), TrainingSettings())
KEYS = {
    "vgg19": "42305270cae1549f4c30",
    "densenet22": "3efb23ce7931772fbf1f",
    "mobilenetv2": "0233aa574825e129ef86",
    "efficientnet_b0": "adb4e17acfa3ce9e2211",
    "tiny": "fc48f8c2fcbac9f251a9",
}
VGG19_BEFORE = "a5ada1bf0f299e884ace"


@pytest.fixture(params=["method", "backbone"])
def place(
    request: pytest.FixtureRequest, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A grid whose four stages the version before this one has trained, and where they are."""
    grid: dict[str, Any] = {"corpora": ["synthetic"], "backbones": ["tiny"], "rules": ["bdsl"], "folds": 2}
    grid["training"] = {"epochs": 1, "every": 32}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    place = [str(tmp_path / "grid.json"), "--data", str(small_data), "--store", str(tmp_path / "store")]
    with monkeypatch.context() as earlier:
        if request.param == "method":
            earlier.setattr(stages, "METHOD_VERSION", stages.METHOD_VERSION - 1)
        assert main(["run", *place, "--inline", "--quiet"]) == 0
    if request.param == "backbone":
        monkeypatch.setitem(VERSIONS, "tiny", 2)
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


# Backbones


def stage_of(backbone: str) -> StageSpec:
    return replace(STAGE, backbone=backbone)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_keys_of_a_backbones_stages_never_change_by_accident(backbone: str) -> None:
    # Stores on disk are found by these. Where a backbone comes to something else, raise its version and mean it.
    assert stage_of(backbone).key == KEYS[backbone]


def test_a_first_version_goes_without_saying(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "backbone_version" not in stage_of("tiny").identity
    monkeypatch.setitem(VERSIONS, "tiny", 3)
    assert stage_of("tiny").identity["backbone_version"] == 3


def test_a_version_changes_the_keys_of_its_backbone_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {backbone: stage_of(backbone).key for backbone in BACKBONES}
    monkeypatch.setitem(VERSIONS, "tiny", 2)
    assert {name for name, key in before.items() if stage_of(name).key != key} == {"tiny"}
    assert before["tiny"] in stage_of("tiny").earlier_keys


def test_a_record_of_an_earlier_vgg19_is_read_as_its_stage() -> None:
    identity = {name: value for name, value in stage_of("vgg19").identity.items() if name != "backbone_version"}
    assert StageSpec.of_identity(identity) == StageSpec.of_record({"identity": identity}) == stage_of("vgg19")
    assert canonical_hash(identity, KEY_LENGTH) == VGG19_BEFORE
    assert VGG19_BEFORE in stage_of("vgg19").earlier_keys
