"""`fuse: K`: trials of several chains commit the stages that trials of one chain each would."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.folders import Folder
from dsl.settings import TrainingSettings
from sweep.cli import main
from sweep.events import read_events
from sweep.stages import ChainSpec, StageSpec, bundled, canonical_updates
from sweep.store import Store

RULES = ["none", "bdsl", "gsl", {"wdsl": [0.2, 0.5, 0.8]}]
STAGE = StageSpec("emodb-0", "tiny", "stratified", 3, 0, 0, None, (), TrainingSettings())


def chain(rule: str, alpha: float | None = None, **others: Any) -> ChainSpec:
    updates = canonical_updates(rule, alpha, others.pop("iterations", 1))
    return ChainSpec(replace(STAGE, **{"label_source": "in_fold" if updates else None, "updates": updates, **others}))


def test_chains_that_differ_in_updates_only_are_bundled() -> None:
    alike = [chain("bdsl"), chain("gsl"), chain("wdsl", 0.2), chain("wdsl", 0.5), chain("hdl")]
    assert [len(bundle.chains) for bundle in bundled(alike, 2)] == [2, 2, 1]
    assert [bundle.chains for bundle in bundled(alike, 1)] == [(one,) for one in alike]
    (bundle,) = bundled(alike, 8)
    assert bundle.chains == tuple(alike)
    assert [stage.iteration for stage in bundle.stages] == [0, 1, 1, 1, 1, 1]
    assert bundle.label == alike[0].label + " and 4 more"


@pytest.mark.parametrize(
    "other",
    [
        chain("bdsl", fold=1),
        chain("bdsl", seed=1),
        chain("bdsl", backbone="vgg19"),
        chain("bdsl", iterations=2),
        chain("bdsl", label_source="cross_fit", inner_folds=2),
        chain("none"),
    ],
    ids=lambda one: one.label,
)
def test_chains_that_differ_otherwise_are_not(other: ChainSpec) -> None:
    assert len(bundled([chain("gsl"), other], 8)) == 2


def test_folds_that_need_one_another_are_not_bundled() -> None:
    leaky = {"label_source": "global_oof"}
    assert len(bundled([chain("gsl", **leaky), chain("bdsl", **leaky)], 8)) == 2


def run(grid: Path, data: Path, store: Path, *flags: str) -> int:
    return main(["run", str(grid), "--data", str(data), "--store", str(store), *flags])


@pytest.fixture(scope="module")
def separate(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of the grid without fusion."""
    folder = tmp_path_factory.mktemp("separate")
    grid = folder / "grid.json"
    grid.write_text(json.dumps(grid_of(fuse=1)))
    assert run(grid, small_data, folder / "store", "--inline") == 0
    return Store(folder / "store")


def grid_of(**fields: Any) -> dict[str, Any]:
    return {
        "corpora": ["synthetic"],
        "backbones": ["tiny"],
        "rules": RULES,
        "folds": 2,
        "training": {"epochs": 2, "every": 16},
        **fields,
    }


@pytest.mark.parametrize("flags", [["--inline"], []], ids=["inline", "ray"])
def test_a_fused_sweep_leaves_the_stages_of_a_separate_one(
    separate: Store, small_data: Path, tmp_path: Path, flags: list[str]
) -> None:
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps(grid_of(fuse=3)))
    assert run(grid, small_data, tmp_path / "store", *flags) == 0
    store = Store(tmp_path / "store")
    assert store.done_keys() == separate.done_keys()
    for key in store.done_keys():
        found, expected = store.read_predictions(key), separate.read_predictions(key)
        assert found is not None and expected is not None
        np.testing.assert_allclose(found.q, expected.q, rtol=1e-2, atol=2e-3)
    (events,) = read_events(Folder(tmp_path / "store")).values()
    issued = [event for event in events if event["event"] == "issued"]
    assert len(issued) == 2 + 2 * 2  # of each of two folds: `none`, and five chains in two bundles
    trained = [event["key"] for event in events if event["event"] == "trained"]
    assert len(trained) == len(set(trained)) == len(store.done_keys())


def test_a_chain_that_fails_fails_alone(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsl import chain as module

    updated = module.updated_targets

    def failing(update: Any, *rest: Any) -> np.ndarray:
        targets = updated(update, *rest)
        return targets * np.nan if update.rule == "gsl" else targets

    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps(grid_of(fuse=8, rules=["bdsl", "gsl", {"wdsl": 0.5}])))
    with monkeypatch.context() as patch:
        patch.setattr(module, "updated_targets", failing)
        assert run(grid, small_data, tmp_path / "store", "--inline") == 1
    store = Store(tmp_path / "store")
    assert len(store.done_keys()) == 2 * 3
    assert set(store.failures().values()) and len(store.failures()) == 2
    assert run(grid, small_data, tmp_path / "store", "--inline") == 0
    assert len(store.done_keys()) == 2 * 4 and not store.failures()
