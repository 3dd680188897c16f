"""What a running sweep says of its trials."""

import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sweep.grid import load_grid, resolve_corpora
from sweep.progress import LiveDisplay, RunningTrial, Tally, progress_words
from sweep.stages import Bundle, Plan


@pytest.fixture
def tally(small_data: Path, write_grid: Callable[..., Path]) -> Tally:
    grid = load_grid(write_grid())
    return Tally(Plan.of(grid.expand(resolve_corpora(grid, small_data)), (), {}), concurrent=1)


@pytest.fixture
def chains(tally: Tally) -> Bundle:
    return Bundle((tally.plan.chains[0],))


def shown(tally: Tally) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(LiveDisplay(tally)._render())
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_trial_that_only_starts_claims_no_loss(tally: Tally, chains: Bundle) -> None:
    tally.running[0] = RunningTrial(chains)
    assert progress_words(tally.running[0]) == "in its first epoch"
    assert "nan" not in shown(tally)


def test_the_bar_of_a_complete_sweep_ends_where_the_terminal_does(tally: Tally) -> None:
    tally.done = set(tally.plan.stages)
    summary, bar, *rest = shown(tally).splitlines()
    assert summary.startswith(f"{len(tally.plan.stages)} of {len(tally.plan.stages)} stages")
    assert bar == "━" * 120
    assert rest == []  # no heads of a table without a line


def test_a_trial_tells_epoch_loss_and_rate(tally: Tally, chains: Bundle) -> None:
    tally.reported(0, chains, {"event": "epoch", "iteration": 1, "number": 2, "loss": 1.25, "rate": 1234.0})
    assert progress_words(tally.running[0]) == "t=1 epoch 3, loss 1.250, 1,234 segments/s"
    assert "1.250" in shown(tally)


def test_a_loss_that_turned_nan_is_shown(tally: Tally, chains: Bundle) -> None:
    tally.reported(0, chains, {"event": "epoch", "iteration": 0, "number": 0, "loss": math.nan, "rate": 10.0})
    assert "loss nan" in progress_words(tally.running[0])
