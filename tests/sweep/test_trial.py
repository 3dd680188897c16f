"""A trial against a store: what it reports, what it notes of how its stages were trained, and how it ends."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sweep.running.trial
from data_prep.data_folder import find_prepared
from data_prep.shards import SegmentCorpus, load_corpus
from dsl import steps
from dsl.acceleration.recording import EXACT, Recorder
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import ChainSpec, Plan, bundled
from sweep.running.store_memory import StoreMemory, TrialContext
from sweep.running.task import Task
from sweep.running.trial import OutOfMemory, run_trial
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]


class Trial:
    """A trial of the small corpus's chains of rule `none`, both folds side by side; `reports` is what it said."""

    def __init__(self, grid: Path, data: Path, store: Path) -> None:
        prepared = resolve_corpora(load_grid(grid), data)
        plan = Plan.of(load_grid(grid).expand(prepared), (), {})
        (self.bundle,) = bundled(plan.unfinished, 8)
        self.store = Store(store)
        self.store.create()
        corpus = load_corpus(find_prepared(data, "synthetic"))
        self.corpora: dict[str, SegmentCorpus] = {corpus.name: corpus}
        self.reports: list[dict[str, Any]] = []

    def run(self, **how: Any) -> None:
        task = Task(0, self.bundle, len(self.bundle.stages), **{"gpu": 1.0, **how})
        run_trial(task, self.corpora, self.store, self.reports.append)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for report in self.reports for event in report["events"] if event["event"] == name]

    def assert_ended(self, done: bool) -> None:
        """The last report says so, and whether all was done."""
        assert [report.get("done", False) for report in self.reports] == [False] * (len(self.reports) - 1) + [done]
        assert self.reports[-1]["events"][-1]["event"] == "ended"


@pytest.fixture
def trial(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> Trial:
    training = {"epochs": 2, "every": 16, "batch_size": 8}
    return Trial(write_grid(rules=["none"], training=training), small_data, tmp_path / "store")


# Messages


@pytest.mark.parametrize(("seconds", "messages"), [(0.0, 3), (3600.0, 2)])
def test_a_short_trial_says_little(
    trial: Trial, seconds: float, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep.running.trial, "SECONDS_TO_THE_FIRST", seconds)
    monkeypatch.setattr(sweep.running.trial, "SECONDS_BETWEEN_MESSAGES", 3600.0)
    trial.run()
    assert len(trial.reports) == messages  # the first step where it is told, one stage that others wait for, the end
    assert len(trial.events("trained")) == 2
    trial.assert_ended(done=True)


# Facts


def test_a_stage_tells_how_its_network_was_trained(trial: Trial) -> None:
    trial.run()
    devices = [record["device"] for record in trial.store.records()]
    assert len(devices) == 2
    for device in devices:
        assert device["recorded"] == "no: not on a GPU"
        assert device["float32"] == "float32"
        assert device["fused"] == 2


@pytest.mark.parametrize(
    ("recorder", "said"),
    [
        (Recorder(lambda step: step), EXACT),
        (Recorder(lambda step: lambda: None), "no: a replayed step comes to other bits"),
        (Recorder(lambda step: step, stopped="no: operation not permitted"), "no: operation not permitted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_stage_tells_whether_its_steps_were_replayed(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, recorder: Recorder, said: str
) -> None:
    monkeypatch.setattr(steps, "recorder_for", lambda device: recorder)
    trial.run()
    assert [record["device"]["recorded"] for record in trial.store.records()] == [said] * 2


@pytest.mark.parametrize(("recorded", "causes"), [("no: it waits", ["it waits"] * 2), (EXACT, [])])
def test_a_gpu_that_does_not_replay_says_why(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, recorded: str, causes: list[str]
) -> None:
    def on_a_gpu(chain: ChainSpec, context: TrialContext) -> StoreMemory:
        return StoreMemory(chain, replace(context, device=torch.device("cuda")))

    monkeypatch.setattr(sweep.running.trial, "StoreMemory", on_a_gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(steps.TrainingRun, "recorded", recorded)
    trial.run()
    assert [event["cause"] for event in trial.events("not_recorded")] == causes


# Ends


@pytest.fixture
def stuck_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a GPU whose recording broke off: it gives nothing back."""

    def refuse() -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", refuse, raising=False)


@pytest.mark.usefixtures("stuck_allocator")
def test_memory_that_cannot_be_given_back_costs_no_report(trial: Trial) -> None:
    trial.run()
    trial.assert_ended(done=True)
    assert len(trial.events("trained")) == 2


@pytest.mark.usefixtures("stuck_allocator")
def test_memory_that_cannot_be_given_back_hides_no_error(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(steps.TrainingRun, "predict", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trial.run()
    trial.assert_ended(done=False)


def test_want_of_memory_for_a_single_network_is_told_with_its_stage(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("GET was unable to find an engine to execute this computation")

    monkeypatch.setattr(steps.TrainingRun, "predict", fail)
    with pytest.raises(OutOfMemory, match="unable to find an engine") as raised:
        trial.run()
    assert raised.value.stage in trial.bundle.stages
    assert [(event["at_once"], event["gpu"]) for event in trial.events("fewer_at_once")] == [(1, 1.0)]
    assert not trial.store.failures()
    trial.assert_ended(done=False)


def test_an_error_is_noted_of_what_was_under_way_and_of_nothing_else(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(write_grid(rules=["bdsl", "gsl"]), small_data, tmp_path / "store")
    result, asked = steps.TrainingRun.result, [0]

    def fail_in_the_end(run: steps.TrainingRun) -> Any:
        asked[0] += 1
        if asked[0] == 3:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return result(run)

    monkeypatch.setattr(steps.TrainingRun, "result", fail_in_the_end)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trial.run(at_once=1)
    assert len(trial.store.done_keys()) == 2  # iteration 0 and 1 of the first chain
    (failed,) = trial.store.failures()
    assert failed == trial.bundle.chains[1].stages[0].key


# How many at once, and how often a state is written


@pytest.mark.parametrize("at_once", [1, 2, None])
def test_as_many_networks_are_side_by_side_as_a_trial_is_told(trial: Trial, at_once: int | None) -> None:
    trial.run(at_once=at_once)
    assert {record["device"]["fused"] for record in trial.store.records()} == {at_once or 2}


@pytest.mark.parametrize(("seconds", "written"), [(0.0, 2), (3600.0, 0)])
def test_states_are_written_as_often_as_a_trial_is_told(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, seconds: float, written: int
) -> None:
    keys: list[str] = []
    monkeypatch.setattr(Store, "write_checkpoint", lambda store, key, content: keys.append(key))
    trial.run(checkpoint_seconds=seconds)
    assert len(keys) == written  # of two epochs of two folds, none after the last


def test_a_grid_tells_its_trials_how_often(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ser_sweep.cli import main

    keys: list[str] = []
    monkeypatch.setattr(Store, "write_checkpoint", lambda store, key, content: keys.append(key))
    for number, resources in enumerate(({}, {"checkpoint_seconds": 0})):
        grid = write_grid(rules=["none"], resources=resources)
        place = ["--data", str(small_data), "--store", str(tmp_path / f"store {number}")]
        assert main(["run", str(grid), *place, "--inline"]) == 0
        assert len(keys) == 2 * number


# Where it goes on


def lose_the_machine_in(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the trial on one thread, until after the first checkpoint."""

    def lose(self: StoreMemory, step: Any, epoch: Any) -> None:
        raise OSError("lost")

    with monkeypatch.context() as lost:
        lost.setattr(StoreMemory, "on_epoch", lose)
        with pytest.raises(OSError, match="lost"):
            trial.run(checkpoint_seconds=0)


def test_a_stage_that_goes_on_under_other_conditions_says_so(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_the_machine_in(trial, monkeypatch)
    trial.run(threads=2, checkpoint_seconds=0)
    (said,) = trial.events("resumed_elsewhere")
    assert said["under"] == {"threads": ("1", "2")}
    devices = {record["key"]: record["device"] for record in trial.store.records()}
    assert devices[said["key"]]["resumed_under"] == {"threads": ["1", "2"]}
    assert sum(bool(device["resumed_under"]) for device in devices.values()) == 1
    assert {device["bits_depend_on"]["threads"] for device in devices.values()} == {"2"}


def test_a_stage_that_goes_on_as_it_began_does_not(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_the_machine_in(trial, monkeypatch)
    trial.run(checkpoint_seconds=0)
    assert not trial.events("resumed_elsewhere")
