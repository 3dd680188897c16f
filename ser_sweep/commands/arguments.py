"""What commands parse alike: their help, arguments that several of them take, and the exit statuses they end with."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.addresses import is_address, local_path, without_secrets
from data_prep.errors import FolderError
from data_prep.text import clean
from sweep.planning.intervals import INTERVALS

LINES = "\n\t"  # what messages may hold that is not printed
DONE, FAILED, BAD_INPUT, LIMITED, INTERRUPTED = 0, 1, 2, 3, 130
GRID_DATA_STORE = "GRID.yaml --data DATA --store STORE"  # in examples


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str, example: str, *parents: Any
) -> argparse.ArgumentParser:
    """A command `name` whose help ends with `example`; `run` gives its exit status."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help,
        epilog="example: " + example.replace("\n", "\n         "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common(), *parents],
    )
    command.set_defaults(run=run)
    return command


def add_group(commands: Any, name: str, help: str) -> Any:
    """A command that is a group of others, which `add_command` adds to what is returned."""
    return commands.add_parser(name, help=help, description=help).add_subparsers(metavar="COMMAND", required=True)


def common() -> argparse.ArgumentParser:
    """What every command takes."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parent


def quietly() -> argparse.ArgumentParser:
    """For a command that says more than its result."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--quiet", action="store_true", help="show only the result and errors")
    return parent


def of_grid() -> argparse.ArgumentParser:
    """A grid, its data and its store."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("grid", type=path, metavar="GRID.yaml", help="the grid file; see configs/")
    parent.add_argument("--data", required=True, help="folder of prepared corpora: a path or an address")
    return _with_store(parent)


def of_results(setting: bool = True) -> argparse.ArgumentParser:
    """A grid, its data and its store; or a folder of ser-sweep store export --decisions, which holds all three. With
    `setting` also which of the grid's settings to show."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("grid", type=path, nargs="?", metavar="GRID.yaml", help="the grid file; see configs/")
    parent.add_argument("--data", help="folder of prepared corpora: a path or an address")
    _with_store(parent, required=False)
    parent.add_argument(
        "--from",
        dest="results",
        type=path,
        metavar="RESULTS",
        help="folder written by store export --decisions, instead of GRID.yaml, --data and --store",
    )
    if setting:
        add_setting(parent, "--setting", "of a grid with several settings, the one to show")
    return parent


def add_setting(parser: argparse.ArgumentParser, option: str, help: str) -> None:
    """An option that names a setting of a grid."""
    parser.add_argument(
        option,
        type=field_value,
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help=f"{help} (default: the nearest to the paper's)",
    )


def of_decisions() -> argparse.ArgumentParser:
    """How utterances are decided, and which intervals results have."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--no-forests",
        dest="forests",
        action="store_false",
        help="decide by mean pooling only, for a quick look: the first time, forests take seconds for each network and "
        "seed",
    )
    parent.add_argument(
        "--intervals",
        choices=INTERVALS,
        help="kind of 95%% intervals: over utterances, or for speakers who were not recorded (default: the grid's)",
    )
    return parent


def of_utterances() -> argparse.ArgumentParser:
    """Which utterances to draw contours along."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--utterance",
        type=clean,
        nargs="+",
        default=[],
        metavar="ID",
        help="utterances whose contours to draw (default: the longest tested one of each corpus)",
    )
    return parent


def of_store() -> argparse.ArgumentParser:
    """Where the stages are."""
    return _with_store(argparse.ArgumentParser(add_help=False))


def _with_store(parent: argparse.ArgumentParser, required: bool = True) -> argparse.ArgumentParser:
    help = "stage store: a folder or an address such as s3://bucket/folder"
    parent.add_argument("--store", required=required, help=help)
    return parent


def of_place() -> argparse.ArgumentParser:
    """Where the work is done."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--inline", action="store_true", help="work in this process, without Ray")
    parent.add_argument("--address", help="address of a Ray cluster, or auto (default: start Ray on this machine)")
    return parent


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
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return found


def price(text: str) -> float:
    """A finite amount of at least 0."""
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a price: a number of at least 0")
    return amount
