"""benchmarks/rented_gpu.py where there is no GPU, and no package but those of a machine that has one, or carried."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "rented_gpu.py"
THERE = Path(__file__).with_name("gpu_machine_packages.txt")
CARRIED = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions")
NOT_NEEDED = ("numba",)  # may be there, but of a version that does not fit
OURS = "ser-dsl-sweep"
AWKWARD = [
    {"what": "fail", "limit": 60},
    {"what": "hang", "limit": 6, "grace": 5},
    {"what": "run_on", "limit": 6},
]
REFUSAL = """
import sys

ABSENT = {absent!r}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {{name!r}}: not on a rented machine", name=name)

sys.meta_path.insert(0, Refuse())
"""


def absent_modules() -> set[str]:
    """What can be imported here, and not on a rented machine."""
    lines = [line for line in THERE.read_text().splitlines() if not line.startswith("#")]
    there = {canonicalize_name(name) for name in (*" ".join(lines).split(), *CARRIED, OURS)} - set(NOT_NEEDED)
    return {
        module
        for module, packages in packages_distributions().items()
        if not any(canonicalize_name(package) in there for package in packages)
    }


@pytest.fixture(scope="module")
def rented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python, and of those it starts, that can import what there is on a rented machine."""
    folder = tmp_path_factory.mktemp("rented")
    absent = absent_modules()
    assert {"ray", "librosa", "soundfile", "numba", "cleanlab"} <= absent and not {"torch", "pydantic"} & absent
    (folder / "sitecustomize.py").write_text(REFUSAL.format(absent=sorted(absent)))
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = {
        "corpora": ["synthetic"],
        "backbones": ["tiny"],
        "rules": ["none", "bdsl", {"wdsl": 0.2}],
        "folds": 2,
        "training": {"epochs": 2, "every": 16},
    }
    path = tmp_path_factory.mktemp("grid") / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(environment: dict[str, str], *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM, *arguments]
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def call(
    which: int, data: Path, grid: Path, out: Path, environment: dict[str, str], *more: Any
) -> list[dict[str, Any]]:
    """The lines of results.jsonl after a call."""
    what = ["--data", data, "--corpus", "synthetic", "--grid", grid, "--device", "cpu", "--backbones", "tiny"]
    size = ["--window", "0.05", "--batches", "3", "--threads", "1", "--fuse", "2"]
    run(environment, which, *what, *size, "--out", out, *more)
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def of(job: str, lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["job"] == job and "ended" not in line]


def ends(lines: Iterable[dict[str, Any]]) -> dict[str, str]:
    return {line["job"]: line["ended"] for line in lines if "ended" in line}


@pytest.fixture(scope="module")
def first(
    small_data: Path, grid: Path, rented: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, Any]], Path]:
    """The results of a first call in which three jobs fail on purpose, and the folder that came home."""
    out = tmp_path_factory.mktemp("first") / "out"
    patient = [f"{job} tiny=400" for job in ("parity", "shared", "layouts", "stages")]  # on a busy machine
    return call(
        1, small_data, grid, out, rented, "--also", json.dumps(AWKWARD), "--deadline", 800, "--limit", *patient
    ), out


def test_jobs_that_fail_stop_nothing(first: tuple[list[dict[str, Any]], Path]) -> None:
    lines, out = first
    said = ends(lines)
    failed = {"fail", "hang", "run_on"}
    assert {job for job, how in said.items() if how == "failed"} == failed, (out / "log.txt").read_text()
    assert set(said) - failed > {"versions", "parity tiny", "shared tiny", "layouts tiny", "stages tiny"}
    why = {line["job"]: line["error"] for line in lines if "error" in line}
    assert why["fail"] == "RuntimeError: this job fails"
    assert why["hang"] == why["run_on"] == "not within 6 s"
    assert of("run_on", lines)[0]["found"] == 1, "what it said before it was ended"
    assert (lines[-1]["job"], lines[-1]["failed"], lines[-1]["skipped"]) == ("end", 3, 0)
    assert "this job fails" in (out / "log.txt").read_text()


def test_bits_are_compared_in_either_precision(first: tuple[list[dict[str, Any]], Path]) -> None:
    found = of("parity tiny", first[0])
    same = {(line["of"], line["precision"]): line["same_bits"] for line in found if "same_bits" in line}
    whats = ("recording", "side_by_side", "resume")
    assert same == {(what, precision): True for what in whats for precision in ("float32", "bfloat16")}


def test_drills_end_with_a_report(first: tuple[list[dict[str, Any]], Path]) -> None:
    drills = [line for line in first[0] if line["job"].startswith("drill") and "ended" in line and "committed" in line]
    assert {line["fault"] for line in drills} >= {"capture_raises", "other_bits", "little_memory"}
    assert all(line["done"] and line["committed"] == line["stages"] for line in drills)


def test_both_calls_bring_stages_home(
    first: tuple[list[dict[str, Any]], Path],
    small_data: Path,
    grid: Path,
    rented: dict[str, str],
    tmp_path: Path,
) -> None:
    lines, home = first
    (packed,) = of("pack", lines)
    patient = ["--deadline", 800, "--limit", "rates tiny=400"]
    jobs = ["--take-up", home, "--jobs", "stages", "rates"]
    second = call(2, small_data, grid, tmp_path / "out", rented, *jobs, *patient)
    assert of("take up", second)[0]["stages"] == 1
    assert [(line["part"], line["trained"]) for line in of("stages tiny", second)] == [
        ("none", 1),
        ("bdsl", 2),
        ("wdsl 0.2", 2),
        ("gsl", 0),
        ("hdl", 0),
    ]
    ways = [(line.get("way"), line.get("precision"), line.get("networks")) for line in of("rates tiny", second)]
    assert ways[:3] == [("plain", None, None), ("step by step", "float32", 1), ("recorded", "float32", 1)]
    assert min(line["rate"] for line in of("rates tiny", second) if "way" in line) > 0
    later = of("pack", second)
    assert len(later) == 5 and packed["stage"] not in {line["stage"] for line in later}
    assert len(list((tmp_path / "out").iterdir())) == 3
    packs = [*home.glob("*.tar"), *(tmp_path / "out").glob("*.tar")]
    done = run(rented, "unpack", *packs, "--store", tmp_path / "store")
    assert done.stdout.startswith("6 stages unpacked")
    assert run(rented, "unpack", *packs, "--store", tmp_path / "store").stdout.startswith("0 stages unpacked")


def test_the_cost_of_a_grid_is_that_of_its_epochs_at_the_best_rates(
    small_data: Path, grid: Path, rented: dict[str, str], tmp_path: Path
) -> None:
    lines = [
        {"job": "rates tiny", "backbone": "tiny", "precision": "float32", "rate": rate, "networks": networks}
        for rate, networks in ((1000.0, 1), (4000.0, 8), (3000.0, 11))
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"job": "end"}])))
    command = [sys.executable, str(PROGRAM.with_name("gpu_cost.py")), str(tmp_path / "results.jsonl")]
    environment = {**rented, "PYTHONPATH": f"{rented['PYTHONPATH']}{os.pathsep}{ROOT}"}
    place = ["--data", str(small_data), "--grid", str(grid)]
    done = subprocess.run([*command, *place], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    assert cost["stages"] == 6 and cost["best"]["tiny"]["float32"]["networks"] == 8
    assert cost["device_hours"]["tiny"]["float32"] * 3600 * 4000 == pytest.approx(cost["segment_updates"]["tiny"])


def test_a_call_ends_in_time(small_data: Path, grid: Path, rented: dict[str, str], tmp_path: Path) -> None:
    also = [{"what": "run_on", "limit": 100}, {"what": "versions", "limit": 50}]
    limits = ["--deadline", "15", "--also", json.dumps(also), "--jobs", "compiled"]
    lines = call(2, small_data, grid, tmp_path / "out", rented, *limits)
    assert of("run_on", lines)[0]["found"] == 1
    assert [line["job"] for line in lines if line.get("skipped") == "no time left"] == ["versions", "compiled tiny"]
    assert lines[-1]["job"] == "end" and lines[-1]["seconds"] < 15


def test_a_pack_with_other_files_is_refused(rented: dict[str, str], tmp_path: Path) -> None:
    for name in ("../stage.json", "stages/0a/../../x/stage.json", "/stages/0a/stage.json", "stages/0a/weights-0a.bin"):
        with tarfile.open(tmp_path / "pack.tar", "w") as pack:
            pack.addfile(tarfile.TarInfo(name))
        command = [
            sys.executable,
            str(PROGRAM),
            "unpack",
            str(tmp_path / "pack.tar"),
            "--store",
            str(tmp_path / "store"),
        ]
        done = subprocess.run(command, env=rented, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and "is no pack of stages: it holds" in done.stderr
        assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--jobs", "nosuch"], "no job's name begins with 'nosuch'; there are versions, "),
        (["--limit", "rates"], "--limit 'rates' is not NAME=SECONDS"),
        (["--limit", "nosuch=5"], "--limit 'nosuch=5' is not NAME=SECONDS of one of versions, "),
        (["--take-up", "/nowhere"], "--take-up /nowhere holds no pack of stages"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_options_that_mean_nothing_are_refused_before_anything_is_run(
    options: list[str], said: str, small_data: Path, rented: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, str(PROGRAM), "2", "--data", str(small_data), "--out", str(tmp_path / "out"), *options]
    done = subprocess.run(command, env=rented, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
