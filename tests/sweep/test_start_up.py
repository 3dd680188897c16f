"""What a command waits for before it does its work: modules it does not need, and processes nobody asks anything."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from data_prep.cluster import ray_session
from ser_sweep.cli import main

WriteGrid = Callable[..., Path]
HEAVY = {"torch", "torch._dynamo", "sklearn", "timm", "torchaudio", "librosa", "matplotlib", "ray"}
TELL = """
import json, sys
from ser_sweep.cli import main
status = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
sys.exit(status)
"""


NO_FOLDS_ARE_MADE_HERE = """
import sys
if sys.argv[0].endswith("default_worker.py"):
    sys.modules["sklearn"] = None
"""


def heavy_ones(*command: str) -> set[str]:
    """The heavy modules that a command imports."""
    done = subprocess.run([sys.executable, "-c", TELL, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_commands_import_no_more_than_they_need(small_data: Path, write_grid: WriteGrid, tmp_path: Path) -> None:
    place = [str(write_grid(rules=["none"])), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert heavy_ones("plan", *place) == {"sklearn"}, "which makes the folds"
    assert heavy_ones("run", *place, "--inline") == {"torch", "sklearn"}
    assert heavy_ones("tables", *place) == {"sklearn"}


def test_processes_wait_with_what_they_will_need() -> None:
    with ray_session(preload="wave"):
        import ray

        started = [" ".join(one.cmdline()) for one in psutil.Process().children(recursive=True)]
        assert ray.get(ray.remote(lambda: "wave" in sys.modules).remote())
        assert not ray.get(ray.remote(lambda: "sunau" in sys.modules).remote()), "it would be there in any case"
    assert not [line for line in started if "dashboard.py" in line or "monitor.py" in line]


def test_trials_get_the_processes_that_wait_and_the_folds_of_the_launch(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = [str(write_grid(rules=["none"])), "--data", str(small_data), "--store", str(tmp_path / "store")]
    (tmp_path / "sitecustomize.py").write_text(NO_FOLDS_ARE_MADE_HERE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    with ray_session(preload="sweep.running.trial"):
        import ray

        assert main(["run", *place]) == 0
        node = ray._private.worker.global_worker.node
        assert node is not None
        logs = Path(node.get_logs_dir_path())
        assert len(list(logs.glob("worker-*.out"))) <= ray.cluster_resources()["CPU"]
