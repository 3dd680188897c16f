"""The doctor of a cluster looks at every node, names it in what is wrong, and waits for none that does not answer."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import ray

from tests.clusters.cluster_files import ROOT
from tests.clusters.processes import Start, free_port, wait_until

SECONDS = 240
PRIVATE_MOUNTS = ["unshare", "--mount", "sh", "-c"]
LOOK = """
import sys
from ser_sweep.nodes import examine_nodes
for one in examine_nodes(sys.argv[1], seconds=10):
    print(one.what, one.state, one.said, sep="|")
"""
AddNode = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def head(short_folder: Path, start: Start, tmp_path: Path) -> str:
    """The address of a cluster's only node so far."""
    port, log = free_port(), tmp_path / "head.log"
    common = ["--block", "--disable-usage-stats", "--dashboard-agent-listen-port=0", "--include-dashboard=false"]
    ports = [f"--port={port}", f"--ray-client-server-port={free_port()}", f"--temp-dir={short_folder}"]
    process = start("ray", "start", "--head", "--node-name=first", "--num-cpus=1", *common, *ports, log=log)
    wait_until(lambda: "Ray runtime started" in log.read_text(), process, log)
    return f"{ray.util.get_node_ip_address()}:{port}"


@pytest.fixture
def add_node(head: str, start: Start, tmp_path: Path) -> AddNode:
    """Adds a node called `second`: after the commands `before`, in a mount namespace of its own."""

    def add(before: str = "true", **environment: str) -> "subprocess.Popen[bytes]":
        log = tmp_path / "second.log"
        node = f"ray start --address={head} --node-name=second --num-cpus=1 --block --disable-usage-stats "
        node += "--dashboard-agent-listen-port=0"
        process = start(*PRIVATE_MOUNTS, f"{before} && exec {node}", log=log, env=environment)
        wait_until(lambda: "Ray runtime started" in log.read_text(), process, log)
        return process

    return add


def doctor(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit status, and results by what they are of."""
    command = [sys.executable, "-m", "ser_sweep.cli", "doctor", "--json", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(done.stdout):
        found.setdefault(one["what"], []).append(one)
    return done.returncode, found


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@needs_root
def test_nodes_that_see_the_same_are_well(
    head: str, add_node: AddNode, environment: dict[str, str], small_data: Path, tmp_path: Path
) -> None:
    add_node()
    place = ["--store", str(tmp_path / "store"), "--data", str(small_data)]
    status, found = doctor(environment, "--address", head, *place)
    assert status == 0, found
    for name in ("node first", "node second"):
        (one,) = found[name]
        assert one["state"] == "ok" and "this code, this store and this data" in one["said"]
    assert not (tmp_path / "store").exists()


@needs_root
def test_a_node_with_another_store_other_data_and_other_code_is_named(
    head: str, add_node: AddNode, environment: dict[str, str], small_data: Path, tmp_path: Path
) -> None:
    store, other_data, other_code = tmp_path / "store", tmp_path / "data", tmp_path / "code"
    store.mkdir()
    shutil.copytree(small_data, other_data)
    shard = next(other_data.glob("*/shards/shard-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    for room in ("data_prep", "dsl", "sweep", "analysis", "ser_sweep", "configs"):
        shutil.copytree(ROOT / room, other_code / room)
    with (other_code / "dsl" / "labels.py").open("a") as file:
        file.write("# changed\n")
    mounts = f"mount -t tmpfs none {store} && mount --bind {other_data} {small_data}"
    add_node(mounts, PYTHONPATH=str(other_code))
    status, found = doctor(environment, "--address", head, "--store", str(store), "--data", str(small_data))
    assert status == 1
    assert [one["state"] for one in found["node first"]] == ["ok"]
    assert {one["state"] for one in found["node second"]} == {"problem"}
    code, its_store, data = (one["said"] for one in found["node second"])
    assert "is not that of this machine" in code
    assert its_store == f"store {store}: it is another here: a file that was written to it is missing"
    assert f"{shard.name}: damaged" in data and str(small_data) in data
    assert all(one["remedy"] for one in found["node second"])


@needs_root
def test_a_node_that_does_not_answer_is_named_and_not_waited_for(
    head: str, add_node: AddNode, environment: dict[str, str]
) -> None:
    node = add_node()
    below = psutil.Process(node.pid).children(recursive=True)
    (raylet,) = (one for one in below if one.name() == "raylet")
    raylet.send_signal(signal.SIGSTOP)
    command = [sys.executable, "-c", LOOK, head]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=SECONDS)
    found = [line.split("|") for line in done.stdout.splitlines()]
    assert [state for what, state, _ in found if what == "node first"] == ["ok"], done.stdout
    ((_, state, said),) = (one for one in found if one[0] == "node second")
    assert state == "problem"
    assert "it cannot be asked" in said


def test_a_cluster_that_is_not_there_is_a_problem(environment: dict[str, str]) -> None:
    status, found = doctor(environment, "--address", f"127.0.0.1:{free_port()}")
    assert status == 1
    (one,) = found["cluster"]
    assert "no Ray cluster at address" in one["said"]
