"""clusters/slurm.sh with Slurm's commands replaced by ones that run everything here: a real Ray, a real sweep."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clusters.cluster_files import ROOT, SLURM
from tests.clusters.processes import Start, in_session, wait_until

SECONDS = 180
# Slurm runs a copy of the script, out of its own folder.
SLURM_COMMANDS = {
    "sbatch": 'cp "$1" "$FAKE/slurm_script"; shift; exec bash "$FAKE/slurm_script" "$@"',
    "srun": 'echo "srun $*" >> "$FAKE/log"; while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "scontrol": """
        echo "scontrol $*" >> "$FAKE/log"
        if [ "$1 $2" = "show hostnames" ]; then tr , '\\n' <<< "$3"; fi""",
}
GRID = {"corpora": ["synthetic"], "backbones": ["tiny"], "folds": 2, "rules": ["none"]}
LONG = {"training": {"epochs": 24, "every": 2, "patience": 24}, "resources": {"checkpoint_seconds": 0}}


@pytest.fixture
def slurm(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment that Slurm gives a job on two nodes, and its commands first on PATH."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, body in SLURM_COMMANDS.items():
        (commands / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (commands / name).chmod(0o755)
    return {
        "PATH": f"{commands}:{environment['PATH']}",
        "FAKE": str(tmp_path),
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_JOB_ID": str(job_with_free_ports()),
        "SLURM_JOB_NODELIST": "node1,node2",
        "SLURM_CPUS_PER_TASK": "1",
        "SER_SWEEP_VENV": sys.prefix,
    }


def job_with_free_ports() -> int:
    """The number of a job whose ports, as slurm.sh derives them from it, are free."""
    while True:
        job = random.randrange(5000)
        if ports_are_free(20000 + 2 * job):
            return job


def ports_are_free(first: int) -> bool:
    try:
        for port in (first, first + 1):
            with socket.socket() as server:
                server.bind(("", port))
    except OSError:
        return False
    return True


def port_of(slurm: dict[str, str]) -> int:
    return 20000 + 2 * int(slurm["SLURM_JOB_ID"])


def lines_of(slurm: dict[str, str], word: str) -> list[str]:
    """What was asked of Slurm, of all that has to do with `word`."""
    log = Path(slurm["FAKE"]) / "log"
    return [line for line in log.read_text().splitlines() if word in line]


def test_a_job_whose_time_is_up_queues_itself_again_and_goes_on(
    slurm: dict[str, str], start: Start, small_data: Path, tmp_path: Path
) -> None:
    store, log = tmp_path / "store", tmp_path / "job.log"
    (tmp_path / "grid.yaml").write_text(json.dumps({**GRID, **LONG}))
    command = ["sbatch", str(SLURM), "run", f"{tmp_path}/grid.yaml", "--data", str(small_data), "--store", str(store)]

    job = start(*command, log=log, env=slurm)
    wait_until(lambda: list(store.glob("checkpoints/*")), job, log, SECONDS)
    assert "RAY_AUTH_TOKEN=" not in (tmp_path / "log").read_text()
    os.kill(job.pid, signal.SIGUSR1)  # as --signal=B:USR1@300 has it
    assert job.wait(timeout=SECONDS) == 130, log.read_text()
    assert "what is finished is kept" in log.read_text()
    assert in_session(job.pid) == []
    assert lines_of(slurm, "scontrol requeue") == [f"scontrol requeue {slurm['SLURM_JOB_ID']}"]
    [head, worker] = lines_of(slurm, "ray start")
    assert "--nodelist=node1 " in head and "--head" in head.split() and "--include-dashboard=false" in head.split()
    assert "--nodelist=node2 " in worker and any(word.startswith("--address=") for word in worker.split())
    before = committed(store)
    assert any(store.glob("checkpoints/*")), "nothing was interrupted"

    again = start(*command, log=log, env={**slurm, "SLURM_JOB_NODELIST": "node1", "SLURM_RESTART_COUNT": "1"})
    assert again.wait(timeout=SECONDS) == 0, log.read_text()
    assert f"2 of 2 stages done: {2 - len(before)} trained, {len(before)} were there before" in log.read_text()
    assert before.items() <= committed(store).items(), "a finished stage was trained again"
    resumed = [json.loads(path.read_text())["timing"]["resumed_at_epoch"] for path in store.glob("stages/*/stage.json")]
    assert max(resumed) >= 1, "the interrupted training began anew"
    assert in_session(again.pid) == []
    assert len(lines_of(slurm, "scontrol requeue")) == 1, "a finished job queued itself again"
    assert not Path(f"/tmp/ray-{slurm['SLURM_JOB_ID']}").exists()


def committed(store: Path) -> dict[str, int]:
    """Stage -> when it was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in store.glob("stages/*/stage.json")}


# What needs no Ray: its commands are replaced, too

FakeRay = Callable[[str], None]


@pytest.fixture
def fake_ray(slurm: dict[str, str], tmp_path: Path) -> FakeRay:
    """Replaces Ray by a program that listens at the head's port, and ser-sweep by the given shell command."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    slurm["SER_SWEEP_VENV"] = str(venv)

    def program(name: str, body: str) -> None:
        (venv / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (venv / "bin" / name).chmod(0o755)

    program("python", 'if [ "$1" = - ]; then cat > /dev/null; echo 2; else echo 127.0.0.1; fi')
    listen = f"exec {sys.executable} -m http.server {port_of(slurm)}"
    program("ray", f'if [[ "$*" == *--head* ]]; then {listen}; fi; exec sleep 60')
    return lambda sweep: program("ser-sweep", sweep)


def run_job(slurm: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SLURM), *arguments], env={**os.environ, **slurm}, capture_output=True, text=True, timeout=SECONDS
    )


def test_a_job_ends_as_its_sweep_does(slurm: dict[str, str], fake_ray: FakeRay) -> None:
    fake_ray('echo "asked for: $*"; exit 1')
    done = run_job(slurm, "run", "grid.yaml", "--store", "a b")
    assert done.returncode == 1, done.stderr
    assert f"asked for: run grid.yaml --store a b --address 127.0.0.1:{port_of(slurm)}\n" in done.stdout
    assert lines_of(slurm, "scontrol requeue") == []


def test_a_cancelled_job_stops_its_sweep_and_is_not_queued_again(
    slurm: dict[str, str], fake_ray: FakeRay, start: Start, tmp_path: Path
) -> None:
    fake_ray('trap "echo interrupted; exit 130" INT; touch "$FAKE/sweeping"; while true; do sleep 0.1; done')
    log = tmp_path / "job.log"
    job = start("bash", str(SLURM), "run", "grid.yaml", log=log, env=slurm)
    wait_until((tmp_path / "sweeping").exists, job, log)
    os.kill(job.pid, signal.SIGTERM)
    assert job.wait(timeout=SECONDS) == 130, log.read_text()
    assert "interrupted" in log.read_text()
    assert in_session(job.pid) == []
    assert lines_of(slurm, "scontrol requeue") == []


def test_a_job_is_not_queued_again_for_ever(
    slurm: dict[str, str], fake_ray: FakeRay, start: Start, tmp_path: Path
) -> None:
    fake_ray('trap "exit 130" INT; touch "$FAKE/sweeping"; while true; do sleep 0.1; done')
    log = tmp_path / "job.log"
    job = start("bash", str(SLURM), "run", "grid.yaml", log=log, env={**slurm, "SLURM_RESTART_COUNT": "50"})
    wait_until((tmp_path / "sweeping").exists, job, log)
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(timeout=SECONDS) == 130
    assert "restarted 50 times already" in log.read_text()
    assert lines_of(slurm, "scontrol requeue") == []


def test_a_head_that_does_not_start_ends_the_job(slurm: dict[str, str], fake_ray: FakeRay, tmp_path: Path) -> None:
    fake_ray("exit 0")
    (tmp_path / "venv/bin/ray").write_text("#!/usr/bin/env bash\nexit 3\n")
    done = run_job(slurm, "run", "grid.yaml")
    assert done.returncode == 1
    assert "Ray's head did not start" in done.stderr


def test_a_job_without_a_sweep_says_how_to_submit_one(slurm: dict[str, str]) -> None:
    done = run_job(slurm)
    assert done.returncode == 2
    assert "sbatch clusters/slurm.sh run GRID.yaml" in done.stderr
