"""All commands alike: each says what it does and shows an example that can be run, and shells complete them."""

import argparse
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ser_sweep.cli import build_parser, main
from ser_sweep.commands.completion import SHELLS, parsers_in

LEAVES = [one for one in parsers_in(build_parser()) if one.get_default("run") is not None]


def name_of(command: argparse.ArgumentParser) -> str:
    return command.prog.removeprefix("ser-sweep ")


@pytest.mark.parametrize("command", LEAVES, ids=name_of)
def test_a_command_says_what_it_does_and_every_argument_what_it_is(command: argparse.ArgumentParser) -> None:
    assert command.description
    unsaid = [action.dest for action in command._actions if not (action.help or action.choices)]
    assert unsaid == []


@pytest.mark.parametrize("command", LEAVES, ids=name_of)
def test_a_command_has_examples_that_parse(command: argparse.ArgumentParser) -> None:
    assert command.epilog is not None
    assert command.epilog.startswith("example: ")
    lines = command.epilog.removeprefix("example: ").splitlines()
    own = [one for line in lines if (one := re.search(r"ser-sweep ([^#>)]*)", line))]
    assert len(own) == len(lines)
    for one in own:
        options = build_parser().parse_args(shlex.split(one[1].rstrip('"')))
        assert options.run is command.get_default("run")


def test_commands_whose_result_a_program_may_read_have_json() -> None:
    wanted = {"plan", "status", "launches", "networks", "predict", "audit", "claims", "doctor", "store verify"}
    having = {name_of(one) for one in LEAVES if "--json" in one._option_string_actions}
    assert wanted <= having


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gets_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in LEAVES:
        assert name_of(command).split()[-1] in script


def test_bash_completes_commands_options_and_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)

    def completed(*words: str) -> set[str]:
        """What stands for the last of `words`."""
        line = " ".join(map(shlex.quote, words))
        script = f"source {tmp_path}/completion; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_ser_sweep"
        command = ["bash", "-c", script + "; printf '%s\\n' \"${COMPREPLY[@]}\""]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    assert {"plan", "run", "predict", "doctor", "store"} <= completed("ser-sweep", "")
    assert {"--stage", "--figure", "--quiet"} <= completed("ser-sweep", "predict", "--")
    assert {"bash", "zsh", "fish"} <= completed("ser-sweep", "completion", "")


def test_quiet_leaves_the_result_alone(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [str(write_grid(rules=["none"])), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *place, "--inline", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("2 of 2 stages done")
    assert main(["tables", *place, "--no-forests", "--out", str(tmp_path / "tables.md"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_quick_look_grows_no_forests(
    small_data: Path,
    write_grid: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = [str(write_grid(rules=["none"])), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *place, "--inline", "--quiet"]) == 0

    def grown(*_: object, **__: object) -> None:
        raise AssertionError("a forest was grown")

    monkeypatch.setattr("analysis.scoring.results.forest_decisions", grown)
    for command in (["claims"], ["best"], ["tables"], ["figures", "--out", str(tmp_path / "figures"), "--quiet"]):
        assert main([*command, *place, "--no-forests"]) == 0
    assert main(["tables", *place]) != 0
    assert "a forest was grown" in capsys.readouterr().err
