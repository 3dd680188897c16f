"""`ray job submit` of a sweep to a real Ray head that has token authentication on and trains nothing itself."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray.util

from data_prep.cluster import GROWS_TO, cluster_resources
from data_prep.errors import UserError
from tests.clusters.processes import Start, free_port, listens, wait_until

GRID = {"corpora": ["synthetic"], "backbones": ["tiny"], "folds": 2, "training": {"epochs": 2, "every": 16}}
SECONDS = 180


def events(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(store.glob("events/*")) for line in file.read_text().splitlines()]


def test_a_submitted_sweep_waits_for_gpu_workers_and_ends_in_the_store(
    short_folder: Path, start: Start, environment: dict[str, str], small_data: Path, tmp_path: Path
) -> None:
    port, dashboard = free_port(), free_port()
    logs = {name: tmp_path / f"{name}.log" for name in ("head", "worker")}
    common = ["--block", "--disable-usage-stats", "--dashboard-agent-listen-port=0"]
    here = [f"--port={port}", f"--ray-client-server-port={free_port()}", f"--temp-dir={short_folder}"]
    board = ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    none = ["--num-cpus=0", "--num-gpus=0"]
    grows = {"env": {GROWS_TO: "CPU=2,GPU=1"}}
    head = start("ray", "start", "--head", *none, *common, *here, *board, log=logs["head"], **grows)
    wait_until(lambda: listens("127.0.0.1", dashboard), head, logs["head"])
    address = ray.util.get_node_ip_address()
    assert not listens(address, dashboard), "the dashboard can be reached from other machines"

    submit = ["ray", "job", "submit", "--address", f"http://127.0.0.1:{dashboard}"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{dashboard}/api/jobs/", timeout=10)

    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "mine.yaml").write_text(json.dumps({**GRID, "rules": ["none"]}))
    store = tmp_path / "store"
    sweep = ["ser-sweep", "run", "--address", "auto", "--data", str(small_data), "--store", str(store)]
    queued = call(
        [*submit, "--no-wait", "--submission-id=first", "--", *sweep, f"{tmp_path}/grids/mine.yaml"], environment
    )
    assert queued.returncode == 0, queued.stderr
    wait_until(lambda: any(one["event"] == "issued" for one in events(store)), head, logs["head"])
    assert not list(store.glob("stages/*")), "the head trained"

    # The machine that an autoscaler would start now. Its GPU is a pretended one.
    worker = start(
        "ray", "start", f"--address={address}:{port}", "--num-cpus=2", "--num-gpus=1", *common, log=logs["worker"]
    )
    client = ["ray", "job", "logs", "--address", submit[-1], "--follow", "first"]
    said = call(client, environment)
    assert "2 of 2 stages done: 2 trained, 0 were there before" in said.stdout, said.stdout + said.stderr
    assert worker.poll() is None
    assert len(list(store.glob("stages/*/stage.json"))) == 2
    assert {one["gpu"] for one in events(store) if one["event"] == "issued"} == {0.25}

    # As the headers of the cluster files submit it: the grid is sent along.
    again = call([*submit, "--working-dir", f"{tmp_path}/grids", "--", *sweep, "mine.yaml"], environment)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0 trained, 2 were there before" in again.stdout


def call(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, float]], None]:
    """Pretends that this process is connected to a cluster with these resources."""
    return lambda resources: monkeypatch.setattr(ray, "cluster_resources", lambda: resources)


def test_a_cluster_has_what_it_has_where_nothing_is_said_of_growing(
    connected: Callable[[dict[str, float]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(GROWS_TO, raising=False)
    connected({"CPU": 2.0, "memory": 1e9})
    assert cluster_resources("auto") == {"CPU": 2.0, "memory": 1e9}


def test_a_cluster_that_grows_has_what_it_will_come_to(
    connected: Callable[[dict[str, float]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GROWS_TO, "CPU=32, GPU=8")
    connected({"CPU": 40.0, "memory": 1e9})
    assert cluster_resources("auto") == {"CPU": 40.0, "GPU": 8.0, "memory": 1e9}
    assert cluster_resources() == {"CPU": 40.0, "memory": 1e9}, "a local runtime does not grow"


def test_a_mistake_in_what_a_cluster_grows_to_is_told(
    connected: Callable[[dict[str, float]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GROWS_TO, "GPU 8")
    connected({})
    with pytest.raises(UserError, match="SER_SWEEP_GROWS_TO: 'GPU 8' is not of the form GPU=8"):
        cluster_resources("auto")
