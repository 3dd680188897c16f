"""What commands show alike: counts of stages, failures, and progress of what takes long."""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from data_prep.progress import Progress, no_progress
from data_prep.text import counted, first_of, plain
from ser_sweep.commands.arguments import LINES

if TYPE_CHECKING:
    from ser_sweep.sweeps import Sweep
    from sweep.planning.stages import Plan


def print_counts(plan: "Plan") -> None:
    """How many stages are done, missing and failed, and why."""
    stages = plan.counts()
    print(f"        {stages['done']} done, {stages['missing']} missing, {stages['failed']} failed")
    if plan.earlier:
        print(
            f"        {plan.earlier:,} of the missing were trained by an earlier version of the method, or of their "
            "backbone, whose results may differ: they are kept, but not used (CHANGELOG.md)"
        )
    print_failures({plan.label_of(key): cause for key, cause in plan.failed.items()})


def print_halving(sweep: "Sweep") -> None:
    """What halving stopped, and what the grid comes to with it, at most."""
    if sweep.halved is None:
        return
    most, of = len(sweep.at_most.stages), len(sweep.plan.stages)
    print(
        f"halving {counted(len(sweep.halved.stopped), 'candidate')} stopped; at most {most:,} of {of:,} stages, "
        f"{(of - most) / of:.0%} fewer"
    )


def halving_json(sweep: "Sweep") -> dict[str, Any]:
    """The same for JSON; nothing where the grid is not halved."""
    if sweep.halved is None:
        return {}
    view = sweep.plan.view
    stopped = [
        {
            "chain": one.label_in(view),
            "folds_done": one.folds,
            "folds": one.last.folds,
            "validation_wa": one.wa,
            "failed": one.failed,
        }
        for one in sweep.halved.stopped
    ]
    due, most = len(sweep.due.stages), len(sweep.at_most.stages)
    return {"halving": {"stopped": stopped, "stages_so_far": due, "stages_at_most": most}}


def print_failures(failures: dict[str, str]) -> None:
    """What failed, by label; an equal cause of several stands there once."""
    if failures:
        print(f"{len(failures)} failed:")
    labels: dict[str, list[str]] = {}
    for label, cause in failures.items():
        labels.setdefault(cause, []).append(label)
    for cause, same in labels.items():
        print(f"  {first_of(same)}: {cause}")


COLORS = {"red": 31, "green": 32, "yellow": 33}


def painted(text: str, color: str) -> str:
    """`text` in a color, in a terminal whose user has not said otherwise (https://no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{COLORS[color]}m{text}\033[0m"


def notice(options: argparse.Namespace, text: str) -> None:
    """What a user may want to know beside the result."""
    if not options.quiet:
        print(plain(text, keep=LINES), file=sys.stderr, flush=True)


@contextlib.contextmanager
def warnings_told(options: argparse.Namespace) -> Iterator[None]:
    """Tell what figures warn of as notices, each once."""
    from analysis.figures.fonts import NoFontWarning

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", NoFontWarning)
        yield
    for text in dict.fromkeys(str(one.message) for one in found if issubclass(one.category, NoFontWarning)):
        notice(options, f"notice: {text}")
    for one in found:
        if not issubclass(one.category, NoFontWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextlib.contextmanager
def progress_bar(options: argparse.Namespace, first: str = "") -> Iterator[Progress]:
    """A block that is told the progress of what takes long, and shows it on the errors' stream of a terminal. Of what
    has no known end, such as reading, only the last is shown, `first` from the beginning."""
    if getattr(options, "quiet", False) or not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    tasks: dict[str, TaskID] = {}
    with Bars(console=Console(stderr=True), transient=True) as bars:

        def show(what: str, done: int, total: int | None) -> None:
            if tasks.get(what) not in bars.task_ids:
                for task in [one.id for one in bars.tasks if one.total is None]:
                    bars.remove_task(task)
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        if first:
            show(first, 0, None)
        yield show
