"""Learning curves in TensorBoard, MLflow and Weights & Biases, read back from what they wrote."""

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ser_sweep.cli import main
from sweep.planning.stages import Plan
from sweep.running.tracking import TensorBoard, WeightsAndBiases
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]


def scalars(path: Path) -> Iterator[tuple[str, int, float]]:
    """Tag, step and value of every scalar in a TensorBoard event file (records with a length and two checksums)."""
    from tensorboardX.proto.event_pb2 import Event

    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        yield from ((value.tag, event.step, value.simple_value) for value in event.summary.value)
        content = content[16 + length :]


RATES = {"epochs": 2, "every": 32, "learning_rate": [0.001, 0.0003]}


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Weights & Biases keeps the runs of a test, and sends nothing; nor does it know a key."""
    import wandb

    folder = tmp_path / "wandb_dir"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_CONFIG_DIR": str(tmp_path / "config"),
        "WANDB_CACHE_DIR": str(tmp_path / "cache"),
        "WANDB_DATA_DIR": str(tmp_path / "staged"),
        "WANDB_ERROR_REPORTING": "false",
        "NETRC": str(tmp_path / "netrc"),
    }.items():
        monkeypatch.setenv(name, value)
    wandb.teardown()  # it reads the environment once
    yield folder
    wandb.teardown()


def logged(path: Path) -> Iterator[Any]:
    """Every record of a run of Weights & Biases, as its own protocol has them.

    After seven bytes, the file is a LevelDB log: blocks of 32 KiB with fragments that have a checksum, a length and a
    kind (whole, first, middle, last).
    """
    from wandb.proto import wandb_internal_pb2

    protocol: Any = wandb_internal_pb2  # its messages are made when it is imported, and have no types
    content, place, begun = path.read_bytes(), 7, b""
    while place < len(content):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        begun += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield protocol.Record.FromString(begun)
            begun = b""


class WandbRun:
    """What a run of Weights & Biases wrote."""

    def __init__(self, path: Path) -> None:
        records = list(logged(path))
        (self.about,) = [one.run for one in records if one.HasField("run")]
        self.config = {one.key: json.loads(one.value_json) for one in self.about.config.update}
        rows = [one.history for one in records if one.HasField("history")]
        self.history = [
            {item.key or item.nested_key[0]: json.loads(item.value_json) for item in row.item} for row in rows
        ]
        self.ends = [one.exit.exit_code for one in records if one.HasField("exit")]


def runs_in(folder: Path) -> dict[str, WandbRun]:
    """The runs of Weights & Biases by their stages' keys, once the process that writes them is done."""
    import wandb

    wandb.teardown()
    runs = map(WandbRun, folder.rglob("*.wandb"))
    return {run.config["stage"]: run for run in runs}


def test_tensorboard_gets_the_curves_of_every_stage(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    grid = write_grid(rules=["none", "bdsl"], tracking={"tensorboard": str(tmp_path / "tb")})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 0
    found = {path.parent.name: list(scalars(path)) for path in (tmp_path / "tb").rglob("events.*")}
    assert len(found) == 4
    records = {tuple(e["validation_loss"] for e in r["history"]) for r in Store(tmp_path / "store").records()}
    for curve in found.values():
        losses = [value for tag, _, value in curve if tag == "validation_loss"]
        assert any(losses == pytest.approx(history) for history in records)
    assert "synthetic tiny bdsl fold 0 seed 0, t=1" in found


def test_trackers_get_no_curve_of_what_is_not_known(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    without = {"epochs": 2, "every": 16, "validation_share": 0, "early_stopping": False}
    grid = write_grid(rules=["none"], training=without, tracking={"tensorboard": str(tmp_path / "tb")})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 0
    found = [list(scalars(path)) for path in (tmp_path / "tb").rglob("events.*")]
    assert [sorted({tag for tag, _, _ in curve}) for curve in found] == [["loss", "rate"]] * 2


def test_mlflow_gets_a_run_for_every_stage(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path / 'mlflow'}"
    grid = write_grid(name="curves", rules=["none"], tracking={"mlflow": uri})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 0
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("curves")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.params["stage"] for run in runs} == Store(tmp_path / "store").done_keys()
    assert {run.info.status for run in runs} == {"FINISHED"}
    history = client.get_metric_history(runs[0].info.run_id, "loss")
    assert [point.step for point in history] == [0, 1]


def test_a_tracker_that_fails_stops_no_sweep(
    write_grid: WriteGrid,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TensorBoard, "epoch", full)
    grid = write_grid(rules=["none"], tracking={"tensorboard": str(tmp_path / "tb")})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 0
    assert capsys.readouterr().err.count("TensorBoard is left out from here on") == 1


def test_a_tracker_that_cannot_be_used_is_told_before_anything_is_trained(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(rules=["none"], tracking={"mlflow": "nowhere://at/all"})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 2
    assert "tracking.mlflow: nowhere://at/all cannot be used" in capsys.readouterr().err
    assert Store(tmp_path / "store").done_keys() == set()


def test_folders_of_tensorboard_sort_by_setting(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> None:
    grid = write_grid(rules=["none"], training=RATES, tracking={"tensorboard": str(tmp_path / "tb")})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 0
    assert sorted(str(path.parent.relative_to(tmp_path / "tb")) for path in (tmp_path / "tb").rglob("events.*")) == [
        f"learning_rate {rate}/synthetic tiny none (learning_rate {rate}) fold {fold} seed 0, t=0"
        for rate in (0.0003, 0.001)
        for fold in (0, 1)
    ]


def test_runs_of_mlflow_are_found_by_setting(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path / 'mlflow'}"
    grid = write_grid(name="curves", rules=["none"], training=RATES, tracking={"mlflow": uri})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 0
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("curves")
    assert experiment is not None
    asked = "tags.setting = 'learning_rate 0.0003' and params.learning_rate = '0.0003'"
    runs = client.search_runs([experiment.experiment_id], asked)
    assert {run.info.run_name for run in runs} == {
        f"synthetic tiny none (learning_rate 0.0003) fold {fold} seed 0, t=0" for fold in (0, 1)
    }
    assert {run.data.tags["cell"] for run in runs} == {"synthetic tiny none (learning_rate 0.0003)"}
    assert {run.data.tags["rule"] for run in runs} == {"none"} and runs[0].data.params["batch_size"] == "128"


def test_weights_and_biases_gets_a_run_for_every_stage(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, offline: Path
) -> None:
    grid = write_grid(rules=["none", {"wdsl": 0.2}], training=RATES, tracking={"wandb": "emotions"})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 0
    runs = runs_in(offline)
    store = Store(tmp_path / "store")
    assert runs.keys() == store.done_keys() and len(runs) == 8
    for record in store.records():
        run, identity = runs[record["key"]], record["identity"]
        rate, fold, iteration = identity["training"]["learning_rate"], identity["fold"], len(identity["updates"])
        cell = f"synthetic tiny {'wdsl 0.2' if iteration else 'none'} (learning_rate {rate})"
        assert run.about.project == "emotions"
        assert (run.about.run_group, run.about.job_type) == (cell, f"t={iteration}")
        assert run.about.display_name == f"{cell} fold {fold} seed 0, t={iteration}"
        assert {"synthetic", "tiny", "stratified", f"learning_rate {rate}"} < set(run.about.tags)
        assert run.config["training"]["learning_rate"] == rate and run.config["training"]["early_stopping"] is True
        assert all(run.config[name] == value for name, value in identity.items() if name != "training")
        curve = [row["validation_loss"] for row in run.history]
        assert curve == pytest.approx([epoch["validation_loss"] for epoch in record["history"]])
        assert [row["_step"] for row in run.history] == list(range(len(curve)))
        assert run.ends == [0]


def test_runs_of_weights_and_biases_that_are_not_done_end_as_failed(
    write_grid: WriteGrid, small_data: Path, offline: Path
) -> None:
    from ser_sweep import open_sweep

    plan = Plan.of(open_sweep(write_grid(rules=["none"]), small_data).chains, (), {})
    tracker = WeightsAndBiases(plan, "emotions")
    done, cut_off = plan.stages
    for key in (done, cut_off):  # side by side
        tracker.epoch(key, 0, {"loss": 1.5})
    tracker.ended(done)
    tracker.close()
    assert {key: run.ends for key, run in runs_in(offline).items()} == {done: [0], cut_off: [1]}


def test_without_a_login_weights_and_biases_is_told_before_anything_is_trained(
    write_grid: WriteGrid,
    small_data: Path,
    tmp_path: Path,
    offline: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nothing listens
    grid = write_grid(rules=["none"], tracking={"wandb": "emotions"})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 2
    assert "tracking.wandb: this machine is not logged in; run wandb login" in capsys.readouterr().err
    assert Store(tmp_path / "store").done_keys() == set() and not list(offline.rglob("*.wandb"))


def test_a_server_of_weights_and_biases_that_does_not_answer_is_told_before_anything_is_trained(
    write_grid: WriteGrid,
    small_data: Path,
    tmp_path: Path,
    offline: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"MODE": "online", "BASE_URL": "http://127.0.0.1:9", "API_KEY": "0" * 40}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    grid = write_grid(rules=["none"], tracking={"wandb": "emotions"})
    assert main(["run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]) == 2
    assert "tracking.wandb: Weights & Biases cannot be used" in capsys.readouterr().err
