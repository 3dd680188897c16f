"""What a launch has come to so far, told by its trials, and how long the rest may take."""

import time
from dataclasses import dataclass, field
from typing import Any

from data_prep.text import counted, duration
from sweep.planning.stages import Bundle, Plan


@dataclass
class RunningTrial:
    """What a trial said last; epoch 0 is before the end of its first one, when neither loss nor speed are known.

    `done` batches of at most `of` are learnt from in the stage `key`, of which `first` when that was first said.
    """

    chains: Bundle
    iteration: int = 0
    epoch: int = 0
    loss: float = float("nan")
    segments_per_second: float = float("nan")
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
    """The state of a launch: fed with what trials tell, read by what shows it.

    `expected` are the seconds of training, one after the other, that earlier stages of the same kinds tell. `goal` are
    the keys of the stages that are to be trained for now, None for all.
    """

    plan: Plan
    concurrent: int
    expected: float | None = None
    started: float = field(default_factory=time.monotonic)
    done: set[str] = field(default_factory=set)
    trained: dict[str, float] = field(default_factory=dict)  # key -> seconds
    running: dict[int, RunningTrial] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)  # number of the trial's chains -> cause
    goal: frozenset[str] | None = None

    def __post_init__(self) -> None:
        self.done = set(self.plan.done)

    @property
    def total(self) -> int:
        """How many stages there are, or are to be for now."""
        return len(self.plan.stages if self.goal is None else self.goal)

    @property
    def finished(self) -> int:
        """How many of them are done."""
        return len(self.done if self.goal is None else self.done & self.goal)

    @property
    def missing(self) -> int:
        """How many of them are not done yet."""
        return self.total - self.finished

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

    def on_event(self, number: int, chains: Bundle, said: dict[str, Any]) -> None:
        """Take in an event of trial `number` (`sweep.running.trial.run_trial`)."""
        trial = self.running.setdefault(number, RunningTrial(chains))
        trial.iteration = said["iteration"]
        if said["event"] == "steps":
            trial.stepped(said["key"], said["done"], said["of"])
            return
        if said["event"] == "epoch":
            trial.epoch, trial.loss, trial.segments_per_second = said["number"] + 1, said["loss"], said["rate"]
            return
        self.done.add(said["key"])
        trial.done = trial.of = 0
        if said["event"] == "trained":
            self.trained[said["key"]] = said["seconds"]

    def ended(self, number: int, cause: str | None = None) -> None:
        """A trial is over; with a `cause` it failed."""
        self.running.pop(number, None)
        if cause is not None:
            self.failures[number] = cause

    def summary(self) -> str:
        """`12 of 50 stages, 2 running, 0 failed, about 20 min left`."""
        words = [f"{self.finished} of {counted(self.total, 'stage')}", f"{len(self.running)} running"]
        words.append(f"{len(self.failures)} failed")
        if self.seconds_left is not None and self.missing:
            words.append(f"about {duration(self.seconds_left)} left")
        return ", ".join(words)
