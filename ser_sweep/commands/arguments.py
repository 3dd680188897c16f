"""What commands parse alike: their help, arguments that several of them take, and the exit statuses they end with."""

import argparse
import contextlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.addresses import is_address, local_path, without_secrets
from data_prep.errors import FolderError
from data_prep.text import clean
from sweep.planning.intervals import INTERVALS

LINES = "\n\t"  # what messages may hold that is not printed
DONE, FAILED, BAD_INPUT, LIMITED, INTERRUPTED = 0, 1, 2, 3, 130


Options = Callable[[argparse.ArgumentParser], object]  # adds arguments that several commands take
Run = Callable[[argparse.Namespace], int | None]  # a command: its exit status, None where that is DONE


def add_command(commands: Any, name: str, run: Run, help: str, *options: Options) -> argparse.ArgumentParser:
    """A command `name`. Its help ends with the examples that open the module of `run`."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about = sys.modules[run.__module__].__doc__ or ""
    examples = [line for line in about.splitlines() if command.prog in line]
    command.epilog = "example: " + "\n         ".join(examples)
    command.set_defaults(run=run)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for add in options:
        add(command)
    return command


def add_group(commands: Any, name: str, help: str) -> Any:
    """A command that is a group of others, which `add_command` adds to what is returned."""
    return commands.add_parser(name, help=help, description=help).add_subparsers(metavar="COMMAND", required=True)


def quietly(parser: argparse.ArgumentParser) -> None:
    """For a command that says more than its result."""
    parser.add_argument("--quiet", action="store_true", help="show only the result and errors")


def of_grid(parser: argparse.ArgumentParser) -> None:
    """A grid, its data and its store."""
    parser.add_argument("grid", type=path, metavar="GRID.yaml", help="the grid file; see configs/")
    of_data(parser)
    of_store(parser)


def of_results(parser: argparse.ArgumentParser) -> None:
    """A grid, its data and its store; or a folder of ser-sweep store export --decisions, which holds all three."""
    parser.add_argument("grid", type=path, nargs="?", metavar="GRID.yaml", help="the grid file; see configs/")
    of_place_or_results(parser)


def of_place_or_results(parser: argparse.ArgumentParser) -> None:
    """The same without the grid."""
    of_data(parser, required=False)
    of_store(parser, required=False)
    help = "folder written by store export --decisions, instead of GRID.yaml, --data and --store"
    parser.add_argument("--from", dest="results", type=path, metavar="RESULTS", help=help)


def of_shown_results(parser: argparse.ArgumentParser) -> None:
    """The same, and which of the grid's settings to show."""
    of_results(parser)
    add_setting(parser, "--setting", "of a grid with several settings, the one to show")


def add_setting(parser: argparse.ArgumentParser, option: str, help: str) -> None:
    """An option that names a setting of a grid."""
    parser.add_argument(
        option,
        type=field_value,
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help=f"{help} (default: the nearest to the paper's, of those with all folds if there are any)",
    )


def of_decisions(parser: argparse.ArgumentParser) -> None:
    """How utterances are decided, and which intervals results have."""
    parser.add_argument(
        "--no-forests",
        dest="forests",
        action="store_false",
        help="decide by mean pooling only, for a quick look: the first time, forests take seconds for each network and "
        "seed",
    )
    parser.add_argument(
        "--intervals",
        choices=INTERVALS,
        help="kind of 95%% intervals: over utterances, or for speakers who were not recorded (default: the grid's)",
    )


def of_utterances(parser: argparse.ArgumentParser) -> None:
    """Which utterances to draw contours along."""
    parser.add_argument(
        "--utterance",
        type=clean,
        nargs="+",
        default=[],
        metavar="ID",
        help="utterances whose contours to draw (default: the longest tested one of each corpus)",
    )


def of_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Where the prepared corpora are."""
    parser.add_argument("--data", required=required, help="folder of prepared corpora: a path or an address")


def of_store(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Where the stages are."""
    help = "stage store: a folder or an address such as s3://bucket/folder"
    parser.add_argument("--store", required=required, help=help)


def of_place(parser: argparse.ArgumentParser) -> None:
    """Where the work is done."""
    parser.add_argument("--inline", action="store_true", help="work in this process, without Ray")
    parser.add_argument("--address", help="address of a Ray cluster, or auto (default: start Ray on this machine)")


def path(text: str) -> Path:
    """A path on this machine, with ~ for a home."""
    if is_address(text):
        raise argparse.ArgumentTypeError(f"{without_secrets(text)} is an address; give a path on this machine")
    try:
        return local_path(text)
    except FolderError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def field_value(text: str) -> tuple[str, str]:
    """A field of a grid's file and its value: `learning_rate=0.001`."""
    field, equals, value = text.partition("=")
    if not (field and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE, such as learning_rate=0.001")
    return field, value


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def amount(text: str) -> float:
    """A finite number above 0."""
    return _number(text, lambda number: 0 < number < math.inf, "a number above 0")


def price(text: str) -> float:
    """A finite amount of at least 0."""
    return _number(text, lambda number: 0 <= number < math.inf, "a price: a number of at least 0")


def _number(text: str, fits: Callable[[float], bool], what: str) -> float:
    with contextlib.suppress(ValueError):
        if fits(found := float(text)):
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
