"""Signals that ask a command to end: SIGTERM of Kubernetes, Slurm, systemd and docker, and SIGHUP of a terminal that
closes, end it as Ctrl-C does."""

import errno
import logging
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDS = (signal.SIGTERM, signal.SIGHUP)
HANDLED = (signal.SIGINT, signal.SIGALRM, *ENDS)
RETRY_SECONDS = 0.1  # after which a signal that could not be raised comes again


class Interrupt:
    """Python's handler of SIGINT, which raises KeyboardInterrupt, but not within an import, nor within logging: C code
    that is interrupted as it sets itself up may take the process down, and logging leaves its lock locked. SIGALRM then
    comes again and again until that is over.

    What a handler raises is lost in finalizers and in callbacks. SIGALRM comes again for those that Python knows of
    (`sys.unraisablehook`), and this one remembers, for `raise_lost`.
    """

    def __init__(self) -> None:
        self.heard = False
        self.held = 0

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        """Raise KeyboardInterrupt, or try again later."""
        self.heard = True
        if self.held or _would_break(frame):
            try_again()
            return
        no_retry()
        signal.default_int_handler(number, frame)


@contextmanager
def held() -> Iterator[None]:
    """A block of a few writes that a signal does not break off: it is heard when the block is over."""
    handler = signal.getsignal(signal.SIGINT)
    if not isinstance(handler, Interrupt) or not _in_main_thread():
        yield
        return
    handler.held += 1
    try:
        yield
    finally:
        handler.held -= 1


def _would_break(frame: FrameType | None) -> bool:
    """Whether what is interrupted at `frame` is an import, or logging."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_filename == logging.__file__:
            return True
        frame = frame.f_back
    return False


def try_again() -> None:
    """A signal comes again, as SIGALRM, in a moment."""
    signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)


def no_retry() -> None:
    """A signal that was to come again does not."""
    if _in_main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def ends_as_ctrl_c() -> Iterator[None]:
    """A block in which SIGTERM and SIGHUP do what SIGINT does at the time. One that is ignored, as SIGHUP is under
    nohup, stays ignored. Handlers are the main thread's: in any other, nothing changes."""
    with handlers_kept():
        if _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, Interrupt())
            signal.signal(signal.SIGALRM, _end)
        for number in ENDS if _in_main_thread() else ():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _end)
        with _raised_again():
            yield


@contextmanager
def _raised_again() -> Iterator[None]:
    """A block in which a KeyboardInterrupt that nobody gets, as in a finalizer, is raised again in a moment."""
    before = sys.unraisablehook

    def hook(lost: "sys.UnraisableHookArgs") -> Any:
        if lost.exc_type is KeyboardInterrupt and signal.getsignal(signal.SIGALRM) is _end:
            return try_again()
        return before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        no_retry()
        sys.unraisablehook = before


def raise_lost() -> None:
    """Raise KeyboardInterrupt where a signal came in a block of `ends_as_ctrl_c`, and this code runs all the same."""
    lost_signals()()


def lost_signals() -> Callable[[], None]:
    """A function that sends such a signal again, once, to the handler of that time: Tune has one of its own."""
    handler = signal.getsignal(signal.SIGINT)

    def send_again() -> None:
        if isinstance(handler, Interrupt) and handler.heard and _in_main_thread():
            handler.heard = False
            signal.raise_signal(signal.SIGINT)

    return send_again


def set_again(number: signal.Signals) -> None:
    """Set Python's handler of a signal again, where C code has set one of its own."""
    handler = signal.getsignal(number)
    if _in_main_thread() and handler is not None:
        signal.signal(number, handler)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """A block that may set handlers of its own, as Ray and Tune do: afterwards those from before are back."""
    handlers = {number: signal.getsignal(number) for number in HANDLED} if _in_main_thread() else {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def heard_in_the_end() -> Iterator[None]:
    """A block in which what a handler raises may be lost, as in a callback after a fork: where a signal came and the
    block ends all the same, KeyboardInterrupt is raised then. It sets no handlers of its own."""
    heard: list[int] = []

    def noting(handler: Any) -> Any:
        def note(number: int, frame: FrameType | None) -> Any:
            heard.append(number)
            return handler(number, frame)

        return note

    with handlers_kept():
        for number in (signal.SIGINT, *ENDS) if _in_main_thread() else ():
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, noting(handler))
        yield
    if heard:
        no_retry()
        raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end(number: int, frame: FrameType | None) -> Any:
    if number == signal.SIGHUP:
        leave_closed_terminal()
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        return handler(signal.SIGINT, frame)
    raise KeyboardInterrupt


def leave_closed_terminal() -> bool:
    """Whatever is printed to a terminal that is gone would end in an error: from now on it is lost. Says whether there
    was one."""
    closed = False
    for stream in (sys.stdout, sys.stderr):
        try:
            termios.tcgetattr(stream.fileno())
        except termios.error as error:  # also of what never was a terminal
            if error.args[0] == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                closed = True
        except (OSError, ValueError):  # no file
            continue
    return closed
