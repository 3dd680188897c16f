"""What a running sweep tells its user: a live table in a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from data_prep.text import counted, duration
from sweep.planning.stages import Bundle, Plan

SECONDS_BETWEEN_LINES = 30.0


@dataclass
class RunningTrial:
    """What a trial said last; epoch 0 is before the end of its first one, when neither loss nor rate are known.

    `done` batches of at most `of` are learnt from in the stage `key`, of which `first` when that was first said.
    """

    chains: Bundle
    iteration: int = 0
    epoch: int = 0
    loss: float = float("nan")
    rate: float = float("nan")
    key: str = ""
    done: int = 0
    of: int = 0
    first: int = 0
    since: float = 0.0
    now: float = 0.0

    def stepped(self, key: str, done: int, of: int) -> None:
        """Take in how many batches of a stage are done."""
        self.now = time.monotonic()
        if key != self.key:
            self.key, self.first, self.since, self.epoch = key, done, self.now, 0
        self.done, self.of = done, of

    @property
    def steps(self) -> str:
        """`120 of 800`, or nothing before the first."""
        return f"{self.done:,} of {self.of:,}" if self.of else ""

    @property
    def share(self) -> float:
        """How much of its stage is done, at least."""
        return self.done / self.of if self.of else 0.0

    @property
    def seconds(self) -> float | None:
        """What its stage takes at most, by its steps so far; None before the second time they were told."""
        return self.of * (self.now - self.since) / (self.done - self.first) if self.done > self.first else None


@dataclass
class Tally:
    """The state of a launch: fed with what trials report, read by what shows it.

    `expected` are the seconds of training, one after the other, that earlier stages of the same kinds tell.
    """

    plan: Plan
    concurrent: int
    expected: float | None = None
    started: float = field(default_factory=time.monotonic)
    done: set[str] = field(default_factory=set)
    trained: dict[str, float] = field(default_factory=dict)  # key -> seconds
    running: dict[int, RunningTrial] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)  # number of the trial's chains -> cause

    def __post_init__(self) -> None:
        self.done = set(self.plan.done)

    @property
    def missing(self) -> int:
        return len(self.plan.stages) - len(self.done)

    @property
    def seconds_left(self) -> float | None:
        """A guess from the mean of the stages trained in this launch, before the first of them from what was expected
        or else from the steps of those under way; None where nothing is known."""
        running = list(self.running.values())
        under_way = [seconds for trial in running if (seconds := trial.seconds) is not None]
        if self.trained:
            of_a_stage = sum(self.trained.values()) / len(self.trained)
        elif self.expected is not None:
            of_a_stage = self.expected / max(1, len(self.plan.to_train))
        elif under_way:
            of_a_stage = sum(under_way) / len(under_way)
        else:
            return None
        return (self.missing - sum(trial.share for trial in running)) * of_a_stage / self.concurrent

    def reported(self, number: int, chains: Bundle, said: dict[str, Any]) -> None:
        """Take in what trial `number` reports (`sweep.running.trial.run_trial`)."""
        trial = self.running.setdefault(number, RunningTrial(chains))
        trial.iteration = said["iteration"]
        if said["event"] == "steps":
            trial.stepped(said["key"], said["done"], said["of"])
            return
        if said["event"] == "epoch":
            trial.epoch, trial.loss, trial.rate = said["number"] + 1, said["loss"], said["rate"]
            return
        self.done.add(said["key"])
        trial.done = trial.of = 0
        if said["event"] == "trained":
            self.trained[said["key"]] = said["seconds"]

    def ended(self, number: int, cause: str | None = None) -> None:
        self.running.pop(number, None)
        if cause is not None:
            self.failures[number] = cause

    def summary(self) -> str:
        """`12 of 50 stages, 2 running, 0 failed, about 20 min left`."""
        words = [f"{len(self.done)} of {counted(len(self.plan.stages), 'stage')}", f"{len(self.running)} running"]
        words.append(f"{len(self.failures)} failed")
        if self.seconds_left is not None and self.missing:
            words.append(f"about {duration(self.seconds_left)} left")
        return ", ".join(words)


class PlainDisplay:
    """A line for every stage trained and every failure, and a summary now and then."""

    def __init__(self, tally: Tally, stream: TextIO | None = None) -> None:
        self._tally = tally
        self._stream = stream or sys.stderr
        self._last = float("-inf")

    def __enter__(self) -> "PlainDisplay":
        tally = self._tally
        total = counted(len(tally.plan.stages), "stage")
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
        bar.add_row(ProgressBar(total=len(tally.plan.stages), completed=len(tally.done)))
        trials = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("running", "t", "steps", "epoch", "loss", "segments/s"):
            trials.add_column(column, justify="left" if column == "running" else "right")
        for trial in list(tally.running.values()):
            label = Text(trial.chains.label)
            known = (f"{trial.loss:.3f}", f"{trial.rate:,.0f}") if trial.epoch else ("", "")
            trials.add_row(label, str(trial.iteration), trial.steps, str(trial.epoch), *known)
        return Group(Text(f"{tally.summary()}, {elapsed} so far"), bar, *([trials] if tally.running else []))


class NoDisplay:
    """For a user who wants to see the end alone."""

    def __enter__(self) -> "NoDisplay":
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, line: str | None = None) -> None: ...


Display = PlainDisplay | LiveDisplay | NoDisplay


def trial_words(trial: RunningTrial) -> str:
    steps = f"{trial.steps} steps" if trial.steps else ""
    if not trial.epoch:
        return ", ".join(filter(None, (f"t={trial.iteration} in its first epoch", steps)))
    epoch = f"t={trial.iteration} epoch {trial.epoch}, loss {trial.loss:.3f}, {trial.rate:,.0f} segments/s"
    return ", ".join(filter(None, (epoch, steps)))


def make_display(tally: Tally, quiet: bool = False) -> Display:
    """The live display in a terminal that has rich; plain lines elsewhere; nothing with `quiet`."""
    if quiet:
        return NoDisplay()
    if not sys.stderr.isatty():
        return PlainDisplay(tally)
    try:
        return LiveDisplay(tally)
    except ImportError:
        return PlainDisplay(tally)
