"""Watches which stages a store holds, and tells when a committed one is lost or is committed again."""

import contextlib
import threading
from collections.abc import Callable

LOOK_EVERY_SECONDS = 0.02


class Watcher:
    """`look` returns, for every stage that is there, what its stage.json is: another content is another value.

    A stage that a fault destroys is excused once: it may vanish, and it may be committed again.
    """

    def __init__(self, look: Callable[[], dict[str, str]], seconds: float = LOOK_EVERY_SECONDS) -> None:
        self.commits = 0
        self.lost: list[str] = []
        self.repeated: list[str] = []
        self.destroyed: list[str] = []
        self._look = look
        self._seconds = seconds
        self._there: dict[str, str] = {}
        self._ever: set[str] = set()
        self._excused: set[str] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> "Watcher":
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watching.join()
        self.see()

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            self.see()

    def see(self) -> None:
        """Look now."""
        with self._lock:
            self._see(self._look())

    @property
    def intact(self) -> list[str]:
        """Stages that are there and that no fault has destroyed, in the order in which they were seen first."""
        with self._lock:
            return [key for key in self._there if key not in self._excused]

    def destroy(self, key: str, damage: Callable[[], None]) -> None:
        """Let a fault damage the files of a stage that is there."""
        with self._lock:
            self._see(self._look())
            damage()
            self._excused.add(key)
            self.destroyed.append(key)
            with contextlib.suppress(KeyError):
                self._there[key] = self._look()[key]

    def _see(self, found: dict[str, str]) -> None:
        for key in self._there.keys() - found.keys():
            del self._there[key]
            if key not in self._excused:
                self.lost.append(key)
        for key, content in found.items():
            if self._there.get(key) != content:
                self._committed(key)
                self._there[key] = content

    def _committed(self, key: str) -> None:
        self.commits += 1
        if key in self._ever and key not in self._excused:
            self.repeated.append(key)
        self._ever.add(key)
        self._excused.discard(key)
