"""Completion of commands, options and files in a shell.

eval "$(ser-sweep completion bash)"  # in ~/.bashrc
ser-sweep completion zsh > ~/.zsh/completions/_ser-sweep  # a folder of $fpath
ser-sweep completion fish > ~/.config/fish/completions/ser-sweep.fish
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ser_sweep.commands.arguments import add_command

SHELLS = ("bash", "zsh", "fish")


def add(commands: Any) -> None:
    completion = add_command(
        commands,
        "completion",
        run_completion,
        "print a script that lets a shell complete commands, options and files",
    )
    completion.add_argument("shell", choices=SHELLS)


def run_completion(options: argparse.Namespace) -> None:
    import shtab

    parser = options.parser
    for command in parsers_in(parser):
        for action in command._actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # what shtab asks for
            elif action.dest in ("data", "store"):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # the same
    print(shtab.complete(parser, options.shell))


def parsers_in(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers_in(command)
