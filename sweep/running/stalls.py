"""Trials that make no progress for long: a launch is told of them, again and again while that lasts."""

from collections.abc import Callable

from sweep.machine import THIS_MACHINE, Machine

LOOK_SECONDS = 5.0


class Stalls:
    """A watch over the trials that are at work. `on_stall` is told, beside everything else, of one that was not heard
    of for `seconds`: which, and for how many seconds now."""

    def __init__(self, seconds: float, on_stall: Callable[[str, float], None], machine: Machine = THIS_MACHINE) -> None:
        self._seconds = seconds
        self._on_stall = on_stall
        self._machine = machine
        self._heard: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._lock = machine.lock()
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> "Stalls":
        self._stop = self._machine.repeat(min(LOOK_SECONDS, self._seconds / 2), self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def heard_of(self, trial: str) -> None:
        """It began, or has come further."""
        with self._lock:
            self._heard[trial] = self._told[trial] = self._machine.monotonic()

    def ended(self, trial: str) -> None:
        """A trial is over, and need not be heard any more."""
        with self._lock:
            self._heard.pop(trial, None)
            self._told.pop(trial, None)

    def _look(self) -> None:
        now = self._machine.monotonic()
        with self._lock:
            stalled = [trial for trial, told in self._told.items() if now - told > self._seconds]
            found = [(trial, now - self._heard[trial]) for trial in stalled]
            self._told.update(dict.fromkeys(stalled, now))
        for trial, seconds in found:
            self._on_stall(trial, seconds)
