"""Chains whose labels come from inner networks, or from other folds: in this process, on Ray, after failures."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.cluster import ray_session
from dsl.settings import Step
from ser_sweep.cli import main
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import ChainSpec
from sweep.running import trial
from sweep.running.task import Task
from sweep.storage.store import Store

FOLDS = 3
GRID = (
    "{corpora: [synthetic], backbones: [tiny], rules: [none, bdsl, {wdsl: [[0.5, 0.2]]}], iterations: 2,"
    f" label_sources: [in_fold, cross_fit, global_oof], inner_folds: 2, folds: {FOLDS},"
    " training: {epochs: 2, every: 16}}"
)
# Of each fold: iteration 0, two inner ones of it; and for each rule, iterations 1 and 2 of three label sources with
# two inner ones between those of cross_fit.
STAGES = FOLDS * (1 + 2 + 2 * (3 * 2 + 2))


def run(folder: Path, data: Path, store: Path, *flags: str) -> int:
    return main(["run", str(folder / "grid.yaml"), "--data", str(data), "--store", str(store), *flags])


def checksums(store: Path) -> dict[str, str]:
    stages = [json.loads(path.read_text()) for path in (store / "stages").glob("*/stage.json")]
    return {stage["key"]: stage["predictions"]["sha256"] for stage in stages}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder with the grid and its finished store, trained in this process."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "grid.yaml").write_text(GRID)
    assert run(folder, small_data, folder / "store", "--inline") == 0
    return folder


@pytest.fixture
def chains(finished: Path, small_data: Path) -> list[ChainSpec]:
    grid = load_grid(finished / "grid.yaml")
    return grid.expand(resolve_corpora(grid, small_data))


def chain_of(chains: list[ChainSpec], source: str, fold: int = 0, rule: str = "bdsl") -> ChainSpec:
    (found,) = (c for c in chains if (c.last.label_source, c.last.fold, c.last.rule) == (source, fold, rule))
    return found


def test_label_sources_share_iteration_0_and_rules_share_its_inner_networks(finished: Path) -> None:
    assert len(checksums(finished / "store")) == STAGES


def test_ray_trains_each_stage_once_and_to_the_same_bits(
    finished: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ray_session():
        assert run(finished, small_data, tmp_path / "store") == 0
    said = capsys.readouterr()
    assert said.err.count("trained synthetic tiny") == STAGES
    assert f"{STAGES} of {STAGES} stages done: {STAGES} trained, 0 were there before" in said.out
    assert checksums(tmp_path / "store") == checksums(finished / "store")


def test_an_inner_stage_holds_what_it_was_asked_for_and_no_more(finished: Path, chains: list[ChainSpec]) -> None:
    store = Store(finished / "store")
    chain = chain_of(chains, "cross_fit")
    whole = store.read_predictions(chain.last.at(0).key)
    assert whole is not None
    asked = []
    for inner_fold in range(2):
        inner = store.read_predictions(chain.last.at(0, inner_fold).key)
        assert inner is not None
        assert inner.test.all()
        asked.append(set(inner.utterance))
    assert asked[0].isdisjoint(asked[1])
    assert asked[0] | asked[1] == set(whole.utterance[~whole.test])


def test_label_sources_make_different_networks(finished: Path, chains: list[ChainSpec]) -> None:
    store = Store(finished / "store")
    keys = [chain_of(chains, source).last.at(1).key for source in ("in_fold", "cross_fit", "global_oof")]
    found = [store.read_predictions(key) for key in keys]
    q = [predictions.q for predictions in found if predictions is not None]
    assert len(q) == 3
    assert not any(np.array_equal(q[a], q[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_a_stage_that_is_lost_is_trained_again_to_the_same_bits(
    finished: Path, small_data: Path, tmp_path: Path, chains: list[ChainSpec]
) -> None:
    store = tmp_path / "store"
    assert run(finished, small_data, store, "--inline") == 0
    lost = [chain_of(chains, "global_oof", fold=1).last.at(0), chain_of(chains, "cross_fit").last.at(1, inner_fold=1)]
    for stage in lost:
        (store / "stages" / stage.key / "stage.json").unlink()
    assert run(finished, small_data, store, "--inline") == 0
    assert checksums(store) == checksums(finished / "store")


@pytest.fixture
def failing_fold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Fold 1 cannot be trained, until the function is called."""
    whole = trial.run_trial

    def run_trial(task: Task, *arguments: Any) -> None:
        if task.bundle.chains[0].last.fold == 1:
            raise RuntimeError("no room on the device")
        whole(task, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trial, "run_trial", run_trial)
        yield patch.undo


def test_folds_that_wait_for_one_that_failed_say_so_and_go_on_later(
    finished: Path,
    small_data: Path,
    tmp_path: Path,
    failing_fold: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = tmp_path / "store"
    assert run(finished, small_data, store, "--inline") == 1
    said = capsys.readouterr().out
    assert ": iteration 1 needs iteration 0 of every fold, and one failed" in said
    assert " more: RuntimeError: no room on the device" in said
    assert len(checksums(store)) == (FOLDS - 1) * (1 + 2 + 2 * (2 * 2 + 2))
    failing_fold()
    assert run(finished, small_data, store, "--inline") == 0
    assert checksums(store) == checksums(finished / "store")


def test_status_and_failures_tell_inner_networks_apart(
    finished: Path, small_data: Path, chains: list[ChainSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    place = [str(finished / "grid.yaml"), "--data", str(small_data), "--store", str(finished / "store")]
    assert main(["status", *place]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("tiny bdsl cross_fit t=1 of 2 inner folds" in line and line.endswith("6 of 6") for line in lines)
    assert chain_of(chains, "cross_fit").last.steps[1] == Step(0, 0)


def test_an_annealed_chain_shares_its_first_iterations(chains: list[ChainSpec]) -> None:
    annealed = chain_of(chains, "in_fold", rule="wdsl").last
    assert annealed.alpha == "0.5→0.2"
    assert annealed.at(1).alpha == "0.5"
    assert [update.alpha for update in annealed.updates] == [0.5, 0.2]
