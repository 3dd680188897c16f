"""An inline run whose Ctrl-C was lost in a finalizer stops at its next step."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.signals import ends_as_ctrl_c
from ser_sweep import open_sweep
from sweep.running import inline

WriteGrid = Callable[..., Path]


def test_an_inline_run_stops_though_ctrl_c_was_lost(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallowed(*given: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        pass_on(*given)  # type: ignore[arg-type]

    pass_on = inline._pass_on
    monkeypatch.setattr(inline, "_pass_on", swallowed)
    monkeypatch.setattr("sweep.running.trial.SECONDS_TO_THE_FIRST", 0.0)  # what is swallowed is heard with a message
    sweep = open_sweep(write_grid(), small_data, tmp_path / "store")
    with ends_as_ctrl_c(), pytest.raises(KeyboardInterrupt):
        sweep.run(inline=True, quiet=True)
    sweep.refresh()
    assert not sweep.plan.done
