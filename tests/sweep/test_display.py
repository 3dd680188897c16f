"""What a running sweep says of its trials."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from data_prep.shards import load_corpus
from data_prep.text import duration
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import Bundle, Plan
from sweep.running.display import SECONDS_BETWEEN_LINES, LiveDisplay, PlainDisplay, trial_words
from sweep.running.tally import RunningTrial, Tally
from sweep.running.task import Task
from sweep.running.trial import run_trial
from sweep.storage.store import Store


@pytest.fixture
def tally(small_data: Path, write_grid: Callable[..., Path]) -> Tally:
    grid = load_grid(write_grid())
    return Tally(Plan.of(grid.expand(resolve_corpora(grid, small_data)), (), {}), concurrent=1)


@pytest.fixture
def chains(tally: Tally) -> Bundle:
    return Bundle((tally.plan.chains[0],))


def shown(tally: Tally) -> str:
    file = io.StringIO()
    console = Console(file=file, width=120)
    console.print(LiveDisplay(tally)._render())
    return file.getvalue()


def test_a_trial_that_only_starts_claims_no_loss(tally: Tally, chains: Bundle) -> None:
    tally.running[0] = RunningTrial(chains)
    assert trial_words(tally.running[0]) == "t=0 in its first epoch"
    assert "nan" not in shown(tally)


def test_the_bar_of_a_complete_sweep_ends_where_the_terminal_does(tally: Tally) -> None:
    tally.done = set(tally.plan.stages)
    summary, bar, *rest = shown(tally).splitlines()
    assert summary.startswith(f"{len(tally.plan.stages)} of {len(tally.plan.stages)} stages")
    assert bar == "━" * 120
    assert rest == []  # no heads of a table without a line


def test_a_trial_tells_epoch_loss_and_rate(tally: Tally, chains: Bundle) -> None:
    tally.on_event(0, chains, {"event": "epoch", "iteration": 1, "number": 2, "loss": 1.25, "rate": 1234.0})
    assert trial_words(tally.running[0]) == "t=1 epoch 3, loss 1.250, 1,234 segments/s"
    assert "1.250" in shown(tally)


def steps(key: str, done: int, iteration: int = 0) -> dict[str, Any]:
    return {"event": "steps", "iteration": iteration, "key": key, "done": done, "of": 800}


def test_steps_are_shown_from_the_first_one_on(tally: Tally, chains: Bundle) -> None:
    tally.on_event(0, chains, steps("a", 120))
    assert trial_words(tally.running[0]) == "t=0 in its first epoch, 120 of 800 steps"
    assert "120 of 800" in shown(tally)
    tally.on_event(0, chains, {"event": "trained", "iteration": 0, "key": "a", "seconds": 2.0})
    assert "of 800" not in shown(tally)


def test_time_left_is_told_by_steps_where_nothing_else_is_known(
    tally: Tally, chains: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 steps a second: 40 s for a stage, of which a quarter is done."""
    assert tally.seconds_left is None
    for second, done in ((0.0, 100), (5.0, 200)):
        monkeypatch.setattr("time.monotonic", lambda second=second: second)
        tally.on_event(0, chains, steps("a", done))
    assert tally.seconds_left == pytest.approx(40 * (len(tally.plan.stages) - 0.25))


def test_time_left_is_told_before_the_first_step_where_stages_of_the_kind_are_known(tally: Tally) -> None:
    stream = io.StringIO()
    known = Tally(tally.plan, concurrent=2, expected=20.0 * len(tally.plan.stages))
    assert known.seconds_left == pytest.approx(10 * len(tally.plan.stages))
    with PlainDisplay(known, stream):
        pass
    assert f"2 at a time, about {duration(10 * len(tally.plan.stages))}\n" in stream.getvalue()


def test_a_trial_tells_its_steps_before_its_first_epoch_ends(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.running.trial.SECONDS_TO_THE_FIRST", 0.0)
    grid = load_grid(write_grid(rules=["none"], training={"epochs": 2, "every": 16, "batch_size": 32}))
    prepared = resolve_corpora(grid, small_data)
    chain = grid.expand(prepared)[0]
    corpora = {one.name: load_corpus(one) for one in prepared.values()}
    store = Store(tmp_path / "store")
    store.create()
    for one in prepared.values():
        store.add_corpus(one)
    told: list[dict[str, Any]] = []
    run_trial(Task(0, Bundle((chain,)), 1), corpora, store, lambda said: told.extend(said["events"]))
    first = told[0]
    assert (first["event"], first["done"], first["key"]) == ("steps", 1, chain.last.key)
    record = store.read_stage(chain.last.key)
    assert record is not None
    segments = record["metrics"]["training_segments"]
    assert first["of"] == 2 * math.ceil(segments / 32)


def test_a_loss_that_turned_nan_is_shown(tally: Tally, chains: Bundle) -> None:
    tally.on_event(0, chains, {"event": "epoch", "iteration": 0, "number": 0, "loss": math.nan, "rate": 10.0})
    assert "loss nan" in trial_words(tally.running[0])


# Plain lines


class Clock:
    """The time, as a test sets it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_plain_lines_begin_with_what_is_to_be_trained_and_end_with_what_was(tally: Tally) -> None:
    stream = io.StringIO()
    total = len(tally.plan.stages)
    with PlainDisplay(tally, stream):
        tally.done = set(tally.plan.stages)
    first, last = stream.getvalue().splitlines()
    assert first == f"{total} of {total} stages to be trained, 1 at a time"
    assert last == f"{total} of {total} stages, 0 running, 0 failed"


def test_plain_news_is_said_at_once_and_the_summary_now_and_then(tally: Tally, chains: Bundle, clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(tally, stream)
    summary = tally.summary()
    display.update()  # the first time
    display.update("news")
    clock.now += SECONDS_BETWEEN_LINES - 1
    display.update()
    assert stream.getvalue().splitlines() == [summary, "news"]
    clock.now += 1
    tally.running[0] = RunningTrial(chains)
    display.update("more news")
    *_, news, summary, trial = stream.getvalue().splitlines()
    assert (news, summary) == ("more news", tally.summary())
    assert trial == f"  {chains.label}: t=0 in its first epoch"


def test_a_terminal_that_closes_fails_nothing(tally: Tally) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    with PlainDisplay(tally, Closed()) as display:
        display.update("news")
