"""benchmarks/gpu.py where there is neither a GPU nor what a machine that only trains may lack."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABSENT = ("ray", "librosa", "soundfile", "numba", "rich", "matplotlib", "jinja2")


def without_packages(folder: Path) -> dict[str, str]:
    """The environment of a Python, and of those it starts, that cannot import what is ABSENT."""
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is blocked in this test')")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}


def test_training_is_measured_without_a_gpu_and_without_ray(small_data: Path, tmp_path: Path) -> None:
    grid = {"corpora": ["synthetic"], "backbones": ["tiny"], "rules": ["none", "bdsl"], "folds": 2}
    (tmp_path / "grid.yaml").write_text(json.dumps(grid))
    (tmp_path / "absent").mkdir()
    place = ["--data", str(small_data), "--corpus", "synthetic", "--grid", str(tmp_path / "grid.yaml")]
    ways = ["--device", "cpu", "--backbones", "tiny", "--at-once", "2", "--ways", "recorded"]
    size = ["--precisions", "bfloat16", "--segments", "512", "--threads", "1", "--accuracy-of", "tiny", "--seeds", "1"]
    to = ["--json", str(tmp_path / "gpu.json")]
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *place, *ways, *size, *to]
    done = subprocess.run(
        command, env=without_packages(tmp_path / "absent"), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    (tiny,) = found["backbones"]
    assert tiny["rival"] > 0, done.stderr
    ours = tiny["bfloat16"]
    rates = [ours["recorded"]["rate"], ours["side_by_side"]["2"], ours["fused"]["2"]]
    assert min(rates) > 0, done.stderr
    assert ours["best"] == max(rates)
    (accuracy,) = ours["accuracies"]
    assert 0 < accuracy <= 1
    cost = found["cost"]["bfloat16"]
    assert cost["stages"] == 4
    assert cost["device_hours"]["tiny"] * 3600 * ours["best"] == pytest.approx(cost["segment_updates"])


def test_a_missing_gpu_is_said(small_data: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--data", str(small_data)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "no CUDA device here" in done.stderr
