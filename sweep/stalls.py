"""Trials that make no progress for long: a launch is told of them, again and again while that lasts."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

LOOK_SECONDS = 5.0


class Stalls:
    """A watch over the trials that are at work. `on_stall` is told, in another thread, of one that was not heard of for
    `seconds`: which, and for how many seconds now."""

    def __init__(self, seconds: float, on_stall: Callable[[str, float], None]) -> None:
        self._seconds = seconds
        self._on_stall = on_stall
        self._heard: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="stalls", daemon=True)

    def __enter__(self) -> "Stalls":
        self._watching.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watching.join()

    def heard_of(self, trial: str) -> None:
        """It began, or has come further."""
        with self._lock:
            self._heard[trial] = self._told[trial] = time.monotonic()

    def ended(self, trial: str) -> None:
        with self._lock:
            self._heard.pop(trial, None)
            self._told.pop(trial, None)

    def _watch(self) -> None:
        while not self._over.wait(min(LOOK_SECONDS, self._seconds / 2)):
            for trial, seconds in self._stalled(time.monotonic()).items():
                self._on_stall(trial, seconds)

    def _stalled(self, now: float) -> Mapping[str, float]:
        with self._lock:
            found = {
                trial: now - self._heard[trial] for trial, told in self._told.items() if now - told > self._seconds
            }
            self._told.update(dict.fromkeys(found, now))
        return found
