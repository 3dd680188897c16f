"""What a sweep leaves among the temporary files: nothing at an orderly end, and what a kill left until the next start;
and temporary files under a path that is too long for Ray's sockets."""

import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_prep import cluster
from data_prep.cluster import LONGEST_SOCKET, ray_session
from data_prep.errors import UserError
from tests.sweep.killing import GRID, SECONDS, clear_away, descendants, in_the_middle, wait_for

WriteGrid = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """An empty folder with a path that is short enough for Ray's sockets, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="tmp-", dir="/tmp") as folder:
        yield Path(folder)


def test_what_a_kill_left_goes_at_the_next_start_and_its_own_at_the_end(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Start, temporary: Path
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store)]
    (temporary / "ser-sweep-theirs").mkdir()
    process = start(*command, TMPDIR=str(temporary))
    wait_for(in_the_middle(store), process)
    below = descendants(process.pid)
    process.kill()
    process.communicate(timeout=SECONDS)
    clear_away(below)
    left = set(temporary.iterdir())
    assert any((folder / "session_latest").exists() for folder in left), "no session of Ray's was left"
    again = start(*command, TMPDIR=str(temporary))
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert [folder.name for folder in temporary.iterdir()] == ["ser-sweep-theirs"]


def test_an_interrupted_run_leaves_nothing(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Start, temporary: Path
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store)]
    process = start(*command, TMPDIR=str(temporary))
    wait_for(in_the_middle(store), process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert list(temporary.iterdir()) == []


def test_under_a_path_too_long_for_sockets_ray_s_files_go_elsewhere(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Start
) -> None:
    place = tmp_path / ("long-" * 30)
    place.mkdir()
    grid = write_grid(rules=["none"])
    process = start("run", str(grid), "--data", str(small_data), "--store", str(tmp_path / "s"), TMPDIR=str(place))
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert f"notice: {place} is too long a path for Ray's sockets: its files go to /tmp\n" in said
    assert list(place.iterdir()) == []


def test_without_another_place_the_path_the_limit_and_the_remedy_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ("long-" * 30)
    place.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    monkeypatch.setattr(cluster, "SHORT_PLACES", ())
    with pytest.raises(UserError, match=f"{place}/ser-sweep-.*{LONGEST_SOCKET} bytes.*Set RAY_TMPDIR.*--inline"):
        ray_session().__enter__()
    assert list(place.iterdir()) == []


def test_ray_s_own_variable_says_where_its_files_are(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(temporary / "r"))
    with ray_session():
        (folder,) = (temporary / "r").glob("ser-sweep-*")
        assert (folder / "session_latest").exists()
    assert list((temporary / "r").iterdir()) == []
