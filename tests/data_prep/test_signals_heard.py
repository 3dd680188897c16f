"""A signal whose exception is swallowed is not lost."""

import contextlib
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.cluster import SIGTERM_TRACE, _connected
from data_prep.signals import ends_as_ctrl_c, heard_in_the_end, held, lost_signals, raise_lost


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_a_callback_swallows_is_raised_in_the_end(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), ends_as_ctrl_c(), heard_in_the_end():
        swallow(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_a_finalizer_swallowed_is_raised_at_the_next_look(number: signal.Signals) -> None:
    with ends_as_ctrl_c():
        raise_lost()  # nothing came
        swallow(number)
        with pytest.raises(KeyboardInterrupt):
            raise_lost()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_within_an_import_is_heard_when_the_import_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    name = f"interrupted_by_{number.name.lower()}"
    kill = f"os.kill(os.getpid(), {int(number)})"
    (tmp_path / f"{name}.py").write_text(f"import os, time\n{kill}\ntime.sleep(0.3)\nWHOLE = True")
    monkeypatch.syspath_prepend(tmp_path)

    def imported() -> None:
        importlib.import_module(name)
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        ending(imported)
    assert sys.modules[name].WHOLE


@pytest.mark.filterwarnings("error")
def test_a_signal_within_a_finalizer_is_heard_after_it(capfd: pytest.CaptureFixture[str]) -> None:
    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    def finalized() -> None:
        Finalized()
        time.sleep(5)

    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt):
        ending(finalized)
    assert sys.unraisablehook is before
    assert not capfd.readouterr().err


def test_a_signal_within_logging_leaves_its_lock_free() -> None:
    class Killing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            self.emitted = True

    log, handler = logging.Logger("killed"), Killing()
    log.addHandler(handler)

    def logged() -> None:
        log.warning("on")
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        ending(logged)
    assert handler.emitted


def test_a_signal_does_not_break_off_what_is_held_together() -> None:
    done = []

    def kept_together() -> None:
        with held():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
            done.append(True)
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        ending(kept_together)
    assert done


def test_what_was_raised_in_one_block_is_not_raised_in_the_next() -> None:
    with contextlib.suppress(KeyboardInterrupt), ends_as_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
    with ends_as_ctrl_c():
        raise_lost()


def test_a_lost_signal_is_sent_once_more_to_whatever_handler_there_is() -> None:
    heard: list[int] = []
    with ends_as_ctrl_c():
        send_again = lost_signals()
        swallow(signal.SIGTERM)
        before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
        send_again()
        send_again()
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


@pytest.mark.parametrize(
    ("said", "kept"), [(b"W: a port is taken\n", True), (SIGTERM_TRACE + b" at time=1 on cpu 0 ***\n", False)]
)
def test_ray_s_own_trace_of_a_signal_is_not_shown(capfd: pytest.CaptureFixture[str], said: bytes, kept: bool) -> None:
    assert _connected(lambda words: os.write(2, words), said) == len(said)
    assert capfd.readouterr().err == (said.decode() if kept else "")


def ending(act: Callable[[], None]) -> None:
    """Do it where signals end a command as Ctrl-C does; when they are heard is up to them."""
    with ends_as_ctrl_c():
        act()


def swallow(number: signal.Signals) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_without_a_signal_nothing_is_raised_and_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with heard_in_the_end():
        pass
    assert signal.getsignal(signal.SIGTERM) is before
