"""Folders of one's own among the temporary files: gone at an orderly end, and else when the next one is made."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.scratch import LOCK, end_holders, scratch_folder

OWNER = """
import subprocess, sys, time
from pathlib import Path
from data_prep.scratch import scratch_folder

with scratch_folder(Path(sys.argv[1])) as (folder, lock):
    if sys.argv[2] == "with a child":
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
        print(child.pid)
    print(folder, flush=True)
    time.sleep(600)
"""


def killed_owner(place: Path, kind: str = "alone") -> list[str]:
    """What a process that had a folder in `place` said before it was killed."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(place), kind], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    said = [owner.stdout.readline().strip() for _ in range(2 if kind == "with a child" else 1)]
    owner.kill()
    owner.wait()
    owner.stdout.close()
    return said


def test_it_goes_at_an_orderly_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as (folder, _):
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_the_processes_that_hold_its_lock_are_ended_and_no_others(tmp_path: Path) -> None:
    waiting = [sys.executable, "-c", "input()"]
    with scratch_folder(tmp_path) as scratch, scratch_folder(tmp_path) as other:
        holder = subprocess.Popen(waiting, stdin=subprocess.PIPE, pass_fds=(scratch.lock,))
        others = [subprocess.Popen(waiting, stdin=subprocess.PIPE, pass_fds=(other.lock,))]
        others.append(subprocess.Popen(waiting, stdin=subprocess.PIPE, cwd=scratch.folder))
        end_holders(scratch)
        assert holder.poll() is not None and holder.stdin is not None
        holder.stdin.close()
        assert [one.poll() for one in others] == [None, None]
        for one in others:
            one.communicate(b"\n")


def test_it_goes_when_the_process_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_it_stays_after_an_error_until_the_next_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError), scratch_folder(tmp_path) as (folder, _):
        raise ValueError
    assert folder.is_dir()
    with scratch_folder(tmp_path) as (new, _):
        assert list(tmp_path.iterdir()) == [new]


def test_that_of_a_killed_process_goes(tmp_path: Path) -> None:
    (left,) = killed_owner(tmp_path)
    assert Path(left).is_dir()
    with scratch_folder(tmp_path) as (new, _):
        assert list(tmp_path.iterdir()) == [new]


def test_that_of_a_killed_process_whose_child_lives_stays(tmp_path: Path) -> None:
    child, left = killed_owner(tmp_path, "with a child")
    try:
        with scratch_folder(tmp_path):
            assert Path(left).is_dir()
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_what_is_in_use_or_another_s_stays(tmp_path: Path) -> None:
    (tmp_path / "ser-sweep-home-0").mkdir()  # without a lock
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(os.devnull, tmp_path / "elsewhere" / LOCK)
    (tmp_path / "ser-sweep-link").symlink_to("elsewhere")
    (tmp_path / "other-folder").mkdir()
    (tmp_path / "other-folder" / LOCK).touch()
    with scratch_folder(tmp_path) as (first, _), scratch_folder(tmp_path) as (second, _):
        assert first.is_dir() and second.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {
        "ser-sweep-home-0",
        "elsewhere",
        "ser-sweep-link",
        "other-folder",
    }
    assert (tmp_path / "elsewhere" / LOCK).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_that_of_another_user_stays(tmp_path: Path) -> None:
    (left,) = killed_owner(tmp_path)
    os.chown(left, 12345, 12345)
    with scratch_folder(tmp_path):
        assert Path(left).is_dir()
