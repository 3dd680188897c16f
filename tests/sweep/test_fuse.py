"""`fuse: K`: a trial trains several chains, and commits the stages that a trial of each would, to the same bits."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.folders import Folder
from dsl.labels import updated_targets
from dsl.settings import TrainingSettings
from ser_sweep.cli import main
from sweep.planning.grid import load_grid
from sweep.planning.in_view import ALONE
from sweep.planning.stages import Bundle, ChainSpec, Plan, StageSpec, bundled, canonical_updates
from sweep.running.chain_queue import ChainQueue
from sweep.storage.events import read_events
from sweep.storage.store import Store
from tests.sweep.test_grid import CONFIGS, CORPORA

RULES = ["none", "bdsl", "gsl", {"wdsl": [0.2, 0.5, 0.8]}]
STAGE = StageSpec("emodb-0", "tiny", "stratified", 3, 0, 0, None, (), TrainingSettings())


def chain(rule: str, alpha: float | None = None, **others: Any) -> ChainSpec:
    updates = canonical_updates(rule, alpha, others.pop("iterations", 1))
    return ChainSpec(replace(STAGE, **{"label_source": "in_fold" if updates else None, "updates": updates, **others}))


# Bundles


def test_chains_are_bundled_in_order_so_many_at_a_time() -> None:
    alike = [chain("bdsl"), chain("gsl"), chain("wdsl", 0.2), chain("wdsl", 0.5), chain("hdl")]
    assert [len(bundle.chains) for bundle in bundled(alike, 2)] == [2, 2, 1]
    assert [bundle.chains for bundle in bundled(alike, 1)] == [(one,) for one in alike]
    (bundle,) = bundled(alike, 8)
    assert bundle.chains == tuple(alike)
    assert [stage.iteration for stage in bundle.stages] == [0, 1, 1, 1, 1, 1]
    assert bundle.label == alike[0].label_in(ALONE) + " and 4 more"


@pytest.mark.parametrize(
    "other",
    [
        chain("bdsl"),
        chain("gsl", fold=1),
        chain("gsl", seed=1),
        chain("gsl", split="speaker"),
        chain("gsl", labels="permuted"),
        chain("gsl", training=replace(STAGE.training, epochs=3, learning_rate=0.1, patience=1)),
    ],
    ids=lambda one: one.label_in(ALONE),
)
def test_chains_of_one_corpus_and_backbone_are_bundled(other: ChainSpec) -> None:
    assert bundled([chain("gsl"), other], 8) == [Bundle((chain("gsl"), other))]


@pytest.mark.parametrize(
    "other",
    [
        chain("bdsl", corpus="savee-0"),
        chain("bdsl", backbone="vgg19"),
        chain("bdsl", iterations=2),
        chain("bdsl", label_source="cross_fit", inner_folds=2),
        chain("bdsl", label_source="global_oof"),
        chain("none"),
        *(
            chain("bdsl", training=training)
            for training in (
                replace(STAGE.training, every=2),
                replace(STAGE.training, batch_size=64),
                replace(STAGE.training, precision="bfloat16"),
                replace(STAGE.training, layout="contiguous"),
            )
        ),
    ],
    ids=lambda one: one.label_in(ALONE),
)
def test_chains_that_take_other_segments_more_of_the_device_or_other_steps_are_not(other: ChainSpec) -> None:
    assert len(bundled([chain("gsl"), other], 8)) == 2


def test_folds_that_need_one_another_are_issued_iteration_by_iteration() -> None:
    """Each as a part of the bundle, once what it needs of the others is done."""
    folds = [chain("gsl", fold=fold, label_source="global_oof", iterations=2) for fold in range(3)]
    (bundle,) = bundled(folds, 8)
    queue = ChainQueue([bundle], [0], [])
    for iteration in range(3):
        issue = queue.issue("trial")
        assert issue is not None
        issued = bundle.stages[: issue.stages]
        assert [stage.iteration for stage in issued] == [t for t in range(iteration + 1) for _ in range(3)]
        for stage in issued:
            queue.stage_done(stage.key)
        queue.ended("trial")
    assert queue.issue("trial") is None


def share_beside_others(bundles: Iterable[Bundle]) -> float:
    """Which part of the segment updates is of networks that are trained beside another: folds are nearly equal."""
    known: set[str] = set()
    alone = beside = 0
    for bundle in bundles:
        steps: dict[tuple[int, int | None], dict[str, int]] = {}
        for stage in bundle.stages:
            if stage.key not in known:
                steps.setdefault((stage.iteration, stage.inner_fold), {})[stage.key] = stage.training.epochs
        for trained in steps.values():
            known |= trained.keys()
            if len(trained) > 1:
                beside += sum(trained.values())
            else:
                alone += sum(trained.values())
    return beside / (alone + beside)


def test_nearly_all_of_the_papers_grid_is_trained_beside_others() -> None:
    plan = Plan.of(load_grid(CONFIGS / "emodb_paper.yaml").expand(CORPORA), (), {})
    assert share_beside_others(bundled(plan.unfinished, 1)) == 0
    assert share_beside_others(bundled(plan.unfinished, 10)) > 0.95


# Sweeps


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
        "seeds": [0, 1],
        "training": {"epochs": 2, "every": 16},
        **fields,
    }


@pytest.mark.parametrize("flags", [["--inline"], []], ids=["inline", "ray"])
def test_a_fused_sweep_leaves_the_bits_of_a_separate_one(
    separate: Store, small_data: Path, tmp_path: Path, flags: list[str]
) -> None:
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps(grid_of(fuse=5)))
    assert run(grid, small_data, tmp_path / "store", *flags) == 0
    store = Store(tmp_path / "store")
    assert store.done_keys() == separate.done_keys()
    for key in store.done_keys():
        found, expected = store.read_predictions(key), separate.read_predictions(key)
        assert found is not None and expected is not None
        np.testing.assert_array_equal(found.q, expected.q)
    (events,) = read_events(Folder(tmp_path / "store")).values()
    issued = [event for event in events if event["event"] == "issued"]
    assert len(issued) == 1 + 4  # `none` of both folds and seeds, and 4 x 5 chains
    assert {record["device"]["fused"] for record in store.records()} == {4, 5}
    assert {record["device"]["fused"] for record in separate.records()} == {1}
    trained = [event["key"] for event in events if event["event"] == "trained"]
    assert len(trained) == len(set(trained)) == len(store.done_keys())


def test_a_chain_that_fails_fails_alone(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsl import chain as module

    updated = updated_targets

    def failing(update: Any, *rest: Any) -> np.ndarray:
        targets = updated(update, *rest)
        return targets * np.nan if update.rule == "gsl" else targets

    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps(grid_of(fuse=8, rules=["bdsl", "gsl", {"wdsl": 0.5}])))
    with monkeypatch.context() as patch:
        patch.setattr(module, "updated_targets", failing)
        assert run(grid, small_data, tmp_path / "store", "--inline") == 1
    store = Store(tmp_path / "store")
    assert len(store.done_keys()) == 4 * 3
    assert len(store.failures()) == 4 and all("NaN" in cause for cause in store.failures().values())
    assert run(grid, small_data, tmp_path / "store", "--inline") == 0
    assert len(store.done_keys()) == 4 * 4 and not store.failures()
