"""Commands that take long say in a terminal what they are doing, and elsewhere nothing but their results."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ser_sweep.cli import main

SAID = {
    "doctor": ("looking at this machine", "packages", "torch", "store", "data"),
    "tables": ("reading the store", "decisions", "intervals and tests"),
    "claims": ("reading the store", "intervals and tests"),
}


@pytest.fixture
def arguments(write_grid: Callable[..., Path], small_data: Path, tmp_path: Path) -> list[str]:
    """Those of a trained grid."""
    grid = write_grid(rules=["none"], training={"epochs": 1, "every": 32})
    listed = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *listed, "--inline"]) == 0
    return listed


def errors_in_a_terminal(*arguments: str) -> str:
    """What a command writes to its errors' stream, where that is a terminal."""
    screen, terminal = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-m", "ser_sweep.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment) as process:
        os.close(terminal)
        said = b""
        while True:
            try:
                said += os.read(screen, 65536)
            except OSError:  # the last writer has closed it
                break
    os.close(screen)
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.parametrize("command", SAID)
def test_what_takes_long_is_told_in_a_terminal_unless_it_is_to_be_quiet(command: str, arguments: list[str]) -> None:
    asked = [command, *arguments[command == "doctor" :]]
    said = errors_in_a_terminal(*asked)
    assert [what for what in SAID[command] if what not in said] == []
    assert errors_in_a_terminal(*asked, "--quiet") == ""


def test_elsewhere_there_is_the_result_alone(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["doctor", *arguments[1:]]) == 0
    assert main(["tables", *arguments]) == 0
    assert capsys.readouterr().err == ""
