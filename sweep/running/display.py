"""What a running sweep tells its user: a live table in a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from typing import Any, TextIO

from data_prep.text import counted, duration
from sweep.running.tally import RunningTrial, Tally

SECONDS_BETWEEN_LINES = 30.0


class PlainDisplay:
    """A line for every stage trained and every failure, and a summary now and then."""

    def __init__(self, tally: Tally, stream: TextIO | None = None) -> None:
        self._tally = tally
        self._stream = stream or sys.stderr
        self._last = float("-inf")

    def __enter__(self) -> "PlainDisplay":
        tally = self._tally
        total = counted(tally.total, "stage")
        left = tally.seconds_left
        about = "" if left is None else f", about {duration(left)}"
        self._say(f"{tally.missing} of {total} to be trained, {tally.concurrent} at a time{about}")
        return self

    def __exit__(self, *_: object) -> None:
        self._say(self._tally.summary())

    def update(self, line: str | None = None) -> None:
        """Show `line` now, and the summary if the last one is a while ago."""
        if line is not None:
            self._say(line)
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._say(self._tally.summary())
            for trial in list(self._tally.running.values()):
                self._say(f"  {trial.chains.label}: {trial_words(trial)}")

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that closes stops the sweep, and fails no trial
            print(line, file=self._stream, flush=True)


class LiveDisplay:
    """A progress bar and a line for every running trial, kept up to date in place."""

    def __init__(self, tally: Tally) -> None:
        from rich.console import Console
        from rich.live import Live

        self._tally = tally
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> "LiveDisplay":
        self._live.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._live.__exit__(*raised)

    def update(self, line: str | None = None) -> None:
        """Print `line` above the progress, which is drawn anew four times a second by itself."""
        if line is not None:
            with contextlib.suppress(OSError):  # as in a terminal that closes
                self._console.print(line, markup=False, highlight=False)

    def _render(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self._tally
        elapsed = duration(time.monotonic() - tally.started)
        bar = Table.grid(expand=True)  # a bar by itself does not end its line
        bar.add_row(ProgressBar(total=tally.total, completed=tally.finished))
        trials = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("running", "t", "steps", "epoch", "loss", "segments/s"):
            trials.add_column(column, justify="left" if column == "running" else "right")
        for trial in list(tally.running.values()):
            label = Text(trial.chains.label)
            known = (f"{trial.loss:.3f}", f"{trial.segments_per_second:,.0f}") if trial.epoch else ("", "")
            trials.add_row(label, str(trial.iteration), trial.steps, str(trial.epoch), *known)
        return Group(Text(f"{tally.summary()}, {elapsed} so far"), bar, *([trials] if tally.running else []))


class NoDisplay:
    """For a user who wants to see the end alone."""

    def __enter__(self) -> "NoDisplay":
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, line: str | None = None) -> None:
        """Show nothing."""


Display = PlainDisplay | LiveDisplay | NoDisplay


def trial_words(trial: RunningTrial) -> str:
    """How far a trial is: iteration, epoch, loss, and segments a second."""
    words = [f"t={trial.iteration} in its first epoch"]
    if trial.epoch:
        speed = f"{trial.segments_per_second:,.0f} segments/s"
        words = [f"t={trial.iteration} epoch {trial.epoch}", f"loss {trial.loss:.3f}", speed]
    return ", ".join([*words, *([f"{trial.steps} steps"] if trial.steps else [])])


def make_display(tally: Tally, quiet: bool = False) -> Display:
    """The live display in a terminal; plain lines elsewhere; nothing with `quiet`."""
    if quiet:
        return NoDisplay()
    return LiveDisplay(tally) if sys.stderr.isatty() else PlainDisplay(tally)
