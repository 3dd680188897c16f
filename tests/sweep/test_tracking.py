"""Learning curves in TensorBoard and MLflow, read back from what they wrote."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ser_sweep.cli import main
from sweep.running.tracking import TensorBoard
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
