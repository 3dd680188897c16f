"""What launches on one store tell one another: events, leases in use, shares of a GPU, weights."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from safetensors.numpy import load

from data_prep.cluster import ray_session
from data_prep.data_folder import find_prepared
from data_prep.folders import Folder
from data_prep.shards import load_corpus
from ser_sweep.cli import main
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.grid_fields import Resources
from sweep.planning.stages import Plan, bundled, kind_of
from sweep.running.launch import started
from sweep.running.resources import slots
from sweep.running.trials import Work
from sweep.storage.events import EventLog, launches_of, read_events
from sweep.storage.shares import GpuShares
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]


def run(grid: Path, data: Path, store: Path, *flags: str) -> int:
    return main(["run", str(grid), "--data", str(data), "--store", str(store), *flags])


def events_of(store: Path) -> list[dict[str, Any]]:
    return [event for events in read_events(Folder(store)).values() for event in events]


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


# The event log


def test_a_launch_tells_who_did_what_and_when(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    grid = write_grid(name="who", rules=["none", "bdsl"])
    assert run(grid, small_data, tmp_path / "store", "--inline") == 0
    events = events_of(tmp_path / "store")
    assert [event["event"] for event in (events[0], events[-1])] == ["launched", "finished"]
    assert events[0]["grid"] == "who" and events[0]["user"] and events[0]["host"]
    assert events[0]["plan"] == {"total": 4, "done": 0, "missing": 4, "failed": 0}
    trained = named(events, "trained")
    assert {event["key"] for event in trained} == Store(tmp_path / "store").done_keys()
    assert all(event["chain"] and event["seconds"] > 0 for event in trained)
    assert sum(event["seconds"] for event in named(events, "ended")) >= sum(event["seconds"] for event in trained)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_a_failed_chain_is_in_the_log_with_its_cause(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    grid = write_grid(rules=["none"], training={"epochs": 2, "every": 16, "learning_rate": 1e30})
    assert run(grid, small_data, tmp_path / "store", "--inline") == 1
    failed = named(events_of(tmp_path / "store"), "failed")
    assert len(failed) == 2
    assert all("learning_rate" in event["cause"] for event in failed)


def test_a_line_that_a_crash_cut_off_is_passed_over(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with EventLog(folder, "one") as log:
        log.write("launched", grid="g")
        log.write("finished")
    path = folder.local_path("events/one.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    assert [event["event"] for event in read_events(folder)["one"]] == ["launched"]


def test_events_wait_while_the_log_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    with EventLog(folder, "one") as log:
        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "_append", no_space)
            log.write("launched")
        assert read_events(folder) == {}
        log.write("finished")
    assert [event["event"] for event in read_events(folder)["one"]] == ["launched", "finished"]


def no_space(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


# What was run, and what it cost


def test_launches_are_listed_with_their_cost(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_grid(name="first", rules=["none"]), small_data, tmp_path / "store", "--inline") == 0
    assert run(write_grid(name="second", rules=["bdsl"]), small_data, tmp_path / "store", "--inline") == 0
    command = ["launches", "--store", str(tmp_path / "store")]
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["grid"], first["trained"], first["reused"]) == ("first", 2, 0)
    assert (second["grid"], second["trained"], second["reused"]) == ("second", 2, 2)
    assert first["finished"] and 0 < first["device_seconds"] <= first["seconds"]
    assert main([*command, "--price-per-hour", "3600000"]) == 0
    said = capsys.readouterr().out
    total = first["device_seconds"] + second["device_seconds"]
    assert "2 launches" in said
    price = float(said.rpartition("price ")[2].replace(",", ""))
    assert price == pytest.approx(1000 * total, abs=0.01)


def test_a_trial_on_a_share_of_a_gpu_costs_its_share() -> None:
    stamp = "2026-01-01T00:00:00.000Z"
    events: list[dict[str, Any]] = [
        {"time": stamp, "event": "launched"},
        {"time": stamp, "event": "issued", "trial": "a", "gpu": 0.25},
        {"time": stamp, "event": "issued", "trial": "b", "gpu": 0.5},
        {"time": stamp, "event": "ended", "trial": "a", "seconds": 8.0},
    ]
    (found,) = launches_of({"one": events})
    assert (found.device_seconds, found.running, found.finished) == (2.0, 1, False)


def test_stages_that_chains_of_a_launch_share_are_not_reused() -> None:
    stamp = "2026-01-01T00:00:00.000Z"
    told = [("trained", "a"), ("reused", "a"), ("reused", "b"), ("reused", "b")]
    events = [{"time": stamp, "event": "launched"}, *({"time": stamp, "event": one, "key": k} for one, k in told)]
    (found,) = launches_of({"one": events})
    assert (found.trained, found.reused) == (1, 1)


@pytest.mark.parametrize(
    ("last", "end"),
    [
        ({"event": "issued"}, "runs, or did not end by itself"),
        ({"event": "finished"}, ""),  # as logged before launches said whether they were interrupted
        ({"event": "finished", "interrupted": False}, ""),
        ({"event": "finished", "interrupted": True}, "interrupted"),
    ],
)
def test_an_interrupted_launch_did_not_end_in_the_ordinary_way(last: dict[str, Any], end: str) -> None:
    stamp = "2026-01-01T00:00:00.000Z"
    (found,) = launches_of({"one": [{"time": stamp, "event": "launched"}, {"time": stamp, **last}]})
    assert found.end == end


def test_status_is_not_watched_for_ever_where_nobody_runs(
    write_grid: WriteGrid,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ser_sweep.commands.status.ALONE_SECONDS", 0.0)
    command = ["status", str(write_grid()), "--data", str(small_data), "--store", str(tmp_path / "store"), "--watch"]
    assert main(command) == 1
    assert "no launch has run on this store for 0 s; ser-sweep run goes on with it" in capsys.readouterr().out


def test_status_can_be_watched_until_all_is_done(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    grid = write_grid(rules=["none"], training={"epochs": 8, "every": 1, "patience": 8})
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    watch = [sys.executable, "-m", "ser_sweep.cli", "status", *place, "--watch", "--every", "1"]
    process = subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert main(["run", *place, "--inline"]) == 0
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "0 of 2" in said and "2 of 2" in said


# Two launches at once


@pytest.mark.parametrize("flags", [["--inline"], []], ids=["inline", "ray"])
def test_two_launches_of_overlapping_grids_train_each_stage_once(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, flags: list[str]
) -> None:
    # Longer trainings than the seconds in which two launches may start one after the other.
    same = {"training": {"epochs": 4, "every": 1, "patience": 4}, "resources": {"max_concurrent": 1}}
    one = write_grid(rules=["none", "bdsl"], **same).rename(tmp_path / "one.yaml")
    two = write_grid(rules=["hdl", "none"], **same).rename(tmp_path / "two.yaml")
    command = [sys.executable, "-m", "ser_sweep.cli", "run"]
    place = ["--data", str(small_data), "--store", str(tmp_path / "store"), *flags]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    launches = [subprocess.Popen([*command, str(grid), *place], **pipes) for grid in (one, two)]
    said = [launch.communicate(timeout=300)[0] for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], said
    times = Counter(event["key"] for event in named(events_of(tmp_path / "store"), "trained"))
    assert len(times) == 6  # iteration 0 and two rules, in two folds
    assert set(times.values()) == {1}
    assert not list((tmp_path / "store" / "leases").glob("*.json"))


def test_a_store_that_was_made_meanwhile_is_no_trouble(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages that another launch finished between plan and trial are reused, not trained or written again."""
    grid = write_grid(rules=["none"])
    assert run(grid, small_data, tmp_path / "store", "--inline") == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "stages").rglob("*.*")}
    with monkeypatch.context() as patch:
        patch.setattr(Store, "records", lambda self: iter(()))  # what a plan is made from, before they were there
        run(grid, small_data, tmp_path / "store", "--inline")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(named(events_of(tmp_path / "store"), "reused")) == 2


# Weights


@pytest.mark.parametrize(("policy", "iterations"), [("none", set()), ("last", {1}), ("all", {0, 1})])
def test_networks_are_kept_as_the_grid_says(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, policy: str, iterations: set[int]
) -> None:
    grid = write_grid(rules=["bdsl"], weights=policy)
    assert run(grid, small_data, tmp_path / "store", "--inline") == 0
    store = Store(tmp_path / "store")
    kept = {record["iteration"] for record in store.records() if store.read_weights(record["key"]) is not None}
    assert kept == iterations


def test_a_kept_network_gives_the_predictions_of_its_stage(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path
) -> None:
    import torch

    from dsl.backbones import BACKBONES
    from dsl.segments import Segments
    from dsl.steps import predict

    assert run(write_grid(rules=["none"], weights="last"), small_data, tmp_path / "store", "--inline") == 0
    store = Store(tmp_path / "store")
    corpus = load_corpus(find_prepared(small_data, "synthetic")).thinned(16)
    for key in store.done_keys():
        content, predictions = store.read_weights(key), store.read_predictions(key)
        assert content is not None and predictions is not None
        tensors = load(content)
        network = BACKBONES["tiny"](len(corpus.classes))
        weights = {name.removeprefix("network."): torch.from_numpy(tensors[name]) for name in tensors}
        network.load_state_dict({name: value for name, value in weights.items() if not name.startswith("input.")})
        segments = Segments(corpus, tensors["input.mean"], tensors["input.deviation"], torch.device("cpu"))
        q = predict(network, segments, torch.arange(len(corpus))).numpy()
        np.testing.assert_allclose(q, predictions.q, atol=1e-5)


def test_weights_change_no_key(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    assert run(write_grid(rules=["bdsl"]), small_data, tmp_path / "store", "--inline") == 0
    done = Store(tmp_path / "store").done_keys()
    assert run(write_grid(rules=["bdsl"], weights="all"), small_data, tmp_path / "store", "--inline") == 0
    assert Store(tmp_path / "store").done_keys() == done


# Shares of a GPU


def test_a_trial_that_runs_out_of_memory_gets_more_and_the_others_learn(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    def small_gpu() -> None:
        """Makes a worker one whose GPU is too small for a trial that has less than half of it."""
        import torch

        from dsl import backbones

        build = backbones.BACKBONES["tiny"]

        def build_if_it_fits(classes: int) -> torch.nn.Module:
            share = ray.get_runtime_context().get_assigned_resources().get("GPU", 0)
            if share < 0.5:
                raise torch.OutOfMemoryError(f"CUDA out of memory with {share:g} of the GPU")
            return build(classes)

        backbones.BACKBONES["tiny"] = build_if_it_fits

    grid = write_grid(rules=["none", "bdsl", "gsl"], resources={"gpu": 0.25, "max_concurrent": 1})
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(
        "local",
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": small_gpu},
    )
    try:
        assert run(grid, small_data, tmp_path / "store") == 0
    finally:
        ray.shutdown()
    events = events_of(tmp_path / "store")
    assert {event["gpu"] for event in named(events, "out_of_memory")} == {0.25}
    assert len(named(events, "out_of_memory")) == 1  # no other trial had begun before the lesson
    assert named(events, "issued")[-1]["gpu"] == 0.5
    assert "its kind gets 0.5 from now on" in capsys.readouterr().err
    store = Store(tmp_path / "store")
    assert len(store.done_keys()) == 6
    assert GpuShares(0.25, store).of("tiny-batch128") == 0.5


def test_a_lesson_holds_for_later_launches_and_for_its_kind_only(tmp_path: Path) -> None:
    from tests.sweep.test_chain_queue import STAGE

    store = Store(tmp_path)
    small, other = kind_of(STAGE), kind_of(replace(STAGE, backbone="vgg19"))
    shares = GpuShares(0.25, store)
    assert shares.of(small) == 0.25
    assert shares.ran_out(small, 0.25) == 0.5
    assert shares.ran_out(small, 0.25) == 0.5  # another trial that had begun with as little
    assert shares.ran_out(small, 0.5) == 1.0
    assert shares.ran_out(small, 1.0) is None
    later = GpuShares(0.25, store)
    assert (later.of(small), later.of(other)) == (1.0, 0.25)
    assert GpuShares(0.0, store).of(small) == 0.0


def test_a_kind_is_what_needs_the_same_memory_and_is_as_fast() -> None:
    from tests.sweep.test_chain_queue import STAGE

    def with_training(**changes: Any) -> str:
        return kind_of(replace(STAGE, training=replace(STAGE.training, **changes)))

    assert kind_of(replace(STAGE, fold=2, seed=5)) == "tiny-batch128"
    assert with_training(epochs=3, learning_rate=0.1) == "tiny-batch128"
    assert with_training(batch_size=64, precision="bfloat16") == "tiny-batch64-bfloat16"
    assert with_training(layout="contiguous") == "tiny-batch128-contiguous"


def test_as_many_are_trained_at_once_as_a_trial_has_until_a_share_holds_fewer(tmp_path: Path) -> None:
    shares = GpuShares(0.25, Store(tmp_path))
    assert [shares.at_once("tiny", chains) for chains in (4, 10, 1)] == [4, 10, 1]
    shares.held("tiny", 0.25, 3)
    assert [shares.at_once("tiny", chains) for chains in (4, 10, 1)] == [3, 3, 1]
    assert shares.at_once("vgg19", 10) == 10
    later = GpuShares(0.25, Store(tmp_path))
    assert [later.at_once("tiny", chains) for chains in (4, 10, 1)] == [3, 3, 1]
    larger = GpuShares(0.5, Store(tmp_path))
    assert larger.at_once("tiny", 10) == 10  # of which nothing is known


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"at_once": 0}', b'{"at_once": "3"}', b'{"gpu": 0.5}'])
def test_a_lesson_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shares").mkdir()
    (tmp_path / "shares" / "tiny-on-0.25.json").write_bytes(content)
    assert GpuShares(0.25, Store(tmp_path)).at_once("tiny", 10) == 10


class SmallGpu:
    """Memory for `holds` networks at a time: a run that is one more finds none."""

    def __init__(self, patch: pytest.MonkeyPatch, holds: int) -> None:
        import torch

        from dsl.steps import TrainingRun

        networks: WeakSet[Any] = WeakSet()
        begin = TrainingRun.__init__

        def begun(run: TrainingRun, *rest: Any) -> None:
            begin(run, *rest)
            networks.add(run.network)
            if len(networks) > holds:
                raise torch.OutOfMemoryError("CUDA out of memory")

        patch.setattr(TrainingRun, "__init__", begun)


def test_where_a_share_does_not_hold_all_networks_fewer_are_trained_at_once_and_later_launches_know(
    write_grid: WriteGrid,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(write_grid(rules=["none", "bdsl"]), small_data, tmp_path / "separate", "--inline") == 0
    SmallGpu(monkeypatch, holds=1)
    capsys.readouterr()
    place = small_data, tmp_path / "store", "--inline"
    assert run(write_grid(rules=["none"], fuse=2), *place) == 0
    assert "ran out of memory; 1 of a GPU trains 1 of tiny-batch128 at once from now on" in capsys.readouterr().err
    store = Store(tmp_path / "store")
    assert GpuShares(1.0, store).at_once("tiny-batch128", 2) == 1
    assert run(write_grid(rules=["bdsl"], fuse=2), *place) == 0
    (told,) = named(events_of(tmp_path / "store"), "fewer_at_once")  # by the first launch alone
    assert (told["at_once"], told["gpu"]) == (1, 1.0)
    assert {record["device"]["fused"] for record in store.records()} == {1}
    for key in Store(tmp_path / "separate").done_keys():
        found, expected = store.read_predictions(key), Store(tmp_path / "separate").read_predictions(key)
        assert found is not None and expected is not None
        np.testing.assert_array_equal(found.q, expected.q)


# Recorded steps


def test_why_a_kind_of_training_is_not_recorded_is_said_once(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = load_grid(write_grid())
    plan = Plan.of(grid.expand(resolve_corpora(grid, small_data)), (), {})
    bundles = bundled(plan.unfinished, 1)
    store = Store(tmp_path / "store")
    store.create()
    with started(Work(grid, plan, bundles, store, {"cpu": 1.0, "gpu": 1.0}), 1) as launch:
        for number, cause in [(0, "it waits"), (1, "it waits"), (2, "other bits"), (0, "it waits")]:
            launch.trials.on_event("a trial", number, {"event": "not_recorded", "cause": cause})
        launch.trials.interrupted = True
    said = capsys.readouterr().err
    words = "tiny-batch128 is trained step by step, not as recorded CUDA graphs, which are faster: "
    assert [said.count(words + cause) for cause in ("it waits", "other bits")] == [1, 1]
    assert len(named(events_of(tmp_path / "store"), "not_recorded")) == 4


def test_as_many_trials_run_as_fit(tmp_path: Path) -> None:
    assert slots({"cpu": 1, "gpu": 0.25}, {"CPU": 16, "GPU": 2}, None) == 8
    assert slots({"cpu": 4, "gpu": 0.25}, {"CPU": 16, "GPU": 2}, None) == 4
    assert slots({"cpu": 1, "gpu": 0}, {"CPU": 3}, 2) == 2
    assert Resources().max_concurrent is None


def test_a_log_is_json_lines(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    assert run(write_grid(rules=["none"]), small_data, tmp_path / "store", "--inline") == 0
    (path,) = (tmp_path / "store" / "events").glob("*.jsonl")
    assert all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines())


def test_ray_and_inline_log_the_same_kinds_of_events(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    grid = write_grid(rules=["none", "bdsl"])
    assert run(grid, small_data, tmp_path / "inline", "--inline") == 0
    with ray_session():
        assert run(grid, small_data, tmp_path / "ray") == 0
    kinds = [{event["event"] for event in events_of(tmp_path / one)} for one in ("inline", "ray")]
    assert kinds[0] == kinds[1]
