"""A signal whose exception is swallowed is not lost."""

import contextlib
import os
import signal

import pytest

from data_prep.signals import ends_as_ctrl_c, heard_in_the_end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_a_callback_swallows_is_raised_in_the_end(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), ends_as_ctrl_c(), heard_in_the_end():
        swallow(number)


def swallow(number: signal.Signals) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_without_a_signal_nothing_is_raised_and_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with heard_in_the_end():
        pass
    assert signal.getsignal(signal.SIGTERM) is before
