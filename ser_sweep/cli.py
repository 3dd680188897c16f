"""The command `ser-sweep`: its parser, and what becomes of errors. The commands are in `ser_sweep.commands`.

Exit status: 0 when everything asked for is done, 1 when some trials failed, an audit finds a leak or a store has
problems, 2 for bad usage or input, 3 when a limit of `run` was reached and something is left, 130 when interrupted.
"""

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from data_prep.errors import UserError
from data_prep.signals import ends_as_ctrl_c, leave_closed_terminal, raise_lost
from data_prep.surroundings import settle_in
from data_prep.text import command, plain
from ser_sweep.commands.arguments import BAD_INPUT, DONE, INTERRUPTED, LINES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    try:
        with ends_as_ctrl_c():
            settle_in()
            return _run(build_parser().parse_args(arguments))
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept. Go on with the same command:", file=sys.stderr)
        print(f"  {command(*sys.argv[1:])}", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    try:
        status: int | None = options.run(options)
        return DONE if status is None else status
    except UserError as error:
        return _fail(options, str(error))
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of a pipe, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        if error.errno == errno.EIO and leave_closed_terminal():  # before its SIGHUP was heard
            raise KeyboardInterrupt from error
        where = f" ({error.filename})" if error.filename else ""
        return _fail(options, f"{error.strerror or error}{where}")
    except Exception as error:
        raise_lost()  # C code that is interrupted may raise an error of its own
        return _fail(options, f"unexpected {type(error).__name__}: {error}\n--debug shows where it was raised")


def _fail(options: argparse.Namespace, message: str) -> int:
    if options.debug:
        traceback.print_exc()
    print(f"ser-sweep: {plain(message, keep=LINES)}", file=sys.stderr)
    return BAD_INPUT


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; a command's modules are imported when it runs."""
    # Imported here, so that signals are heeded from the start.
    from importlib.metadata import version

    from ser_sweep.commands import (
        audit,
        best,
        claims,
        compare,
        completion,
        corpora,
        demo,
        doctor,
        figures,
        folds,
        plan,
        predict,
        prepare,
        report,
        run,
        status,
        store,
        tables,
    )

    parser = argparse.ArgumentParser(
        prog="ser-sweep",
        description="Sweeps of deep self-learning for segment-based speech emotion recognition.",
    )
    parser.set_defaults(parser=parser, main=main)  # for commands that are about the others
    parser.add_argument("--version", action="version", version=f"ser-sweep {version('ser-dsl-sweep')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    modules = (
        *(corpora, prepare, plan, folds, status, run, tables, best, figures),
        *(audit, claims, report, compare, predict, store, doctor, demo, completion),
    )
    for module in modules:
        module.add(commands)
    return parser


def console_script() -> NoReturn:
    """`main` as a process."""
    status = main()
    if status == INTERRUPTED:
        # `python -m` ends by SIGINT where that came while a string was evaluated, as dataclasses do, whoever caught it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    console_script()
