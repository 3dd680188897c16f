"""A user without a name or a home, in a folder with modules of our names, at a terminal that knows ASCII alone."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.surroundings import have_a_home

WriteGrid = Callable[..., Path]
NAMELESS = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii", "HOME": "/proc"}
SECONDS = 240


def may_be_nameless() -> bool:
    try:
        return subprocess.run([*NAMELESS, "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


nameless = pytest.mark.skipif(not may_be_nameless(), reason="no user namespaces here")


def python(code: str, *before: str) -> str:
    command = [*before, sys.executable, "-c", f"from data_prep.surroundings import settle_in\nsettle_in()\n{code}"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("ascii").strip()


def test_a_terminal_that_knows_ascii_alone_gets_ascii() -> None:
    assert python("print('75.6 ± 1.0 [−2, 3] … \\u8a9e')") == "75.6 +/- 1.0 [-2, 3] ... ?"


@nameless
def test_a_number_is_a_name_and_a_home_can_be_written_to() -> None:
    code = "import getpass, pathlib, tempfile\nprint(getpass.getuser())\n"
    code += "tempfile.NamedTemporaryFile(dir=pathlib.Path.home()).close()"
    assert python(code, *NAMELESS) == "12345"


def test_a_good_home_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    have_a_home()
    assert Path.home() == tmp_path


@pytest.mark.parametrize("home", ["/proc", "/nowhere", "relative"])
def test_a_home_among_temporary_files_is_the_user_s_alone_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = []
    for _ in range(2):
        monkeypatch.setenv("HOME", home)
        have_a_home()
        found.append(Path.home())
    assert found[0] == found[1]
    assert found[0].parent == tmp_path and found[0].stat().st_mode & 0o777 == 0o700


def test_a_folder_that_another_may_have_laid_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/proc")
    (tmp_path / f"ser-sweep-home-{os.getuid()}").symlink_to("theirs")
    have_a_home()
    assert Path.home().resolve() != tmp_path / "theirs"


@nameless
def test_a_sweep_runs_goes_on_and_is_reported(small_data: Path, write_grid: WriteGrid, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "data_prep").mkdir(parents=True)
    for module in ("sweep.py", "dsl.py", "analysis.py", "data_prep/__init__.py"):
        (folder / module).write_text("raise SystemExit('the module of another')\n")
    (folder / "matplotlibrc").write_text("text.usetex: True\nfigure.dpi: 20\n")
    shutil.copy(write_grid(rules=["none"]), folder / "grid.yaml")
    command = [*NAMELESS, str(Path(sys.executable).with_name("ser-sweep"))]
    (folder / "data").symlink_to(small_data)
    place = ["grid.yaml", "--data", "data", "--store", "store"]

    def ser_sweep(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return (done.stdout + done.stderr).decode("ascii")

    assert "2 of 2 stages done: 2 trained" in ser_sweep("run", *place)
    assert "2 of 2 stages done: 0 trained, 2 were there before" in ser_sweep("run", *place)
    ser_sweep("report", *place, "--out", "report")
    assert (folder / "report" / "index.html").stat().st_size > 10_000
    assert "**Table I.**" in ser_sweep("tables", *place)
