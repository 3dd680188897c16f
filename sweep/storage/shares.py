"""What launches have learnt of the GPU shares that trainings of a kind need (`sweep.planning.stages.kind_of`)."""

from typing import Any

from sweep.storage.files import read_json, write_json
from sweep.storage.store import Store


class GpuShares:
    """The share of a GPU that a trial of each kind gets: `least`, or what one that ran out of memory has taught; and
    how many trainings of a kind a share holds side by side.

    What was learnt is kept in the store, for this launch and those after it. What cannot be read was not learnt.
    """

    def __init__(self, least: float, store: Store) -> None:
        self._least = least
        self._folder = store.folder
        self._lessons: dict[str, dict[str, Any]] = {}

    def of(self, kind: str) -> float:
        """The share for trainings of this kind; 0 where the sweep uses no GPU."""
        if not self._least:
            return 0.0
        learnt = self._lesson(kind).get("gpu")
        return max(self._least, float(learnt)) if isinstance(learnt, int | float) else self._least

    def at_once(self, kind: str, chains: int) -> int:
        """How many of a trial's `chains` of this kind are to be trained side by side."""
        held = self._lesson(f"{kind}-on-{self.of(kind):g}").get("at_once")
        return min(chains, held) if isinstance(held, int) and held >= 1 else chains

    def held(self, kind: str, share: float, at_once: int) -> None:
        """Learn that `share` is enough for so many of this kind side by side, and not for more."""
        self._learn(f"{kind}-on-{share:g}", {"at_once": at_once})

    def ran_out(self, kind: str, share: float) -> float | None:
        """Learn that `share` is too little for this kind; returns the next larger one, None after a whole GPU."""
        if not 0 < share < 1:
            return None
        larger = max(self.of(kind), min(1.0, 2 * share))
        self._learn(kind, {"gpu": larger})
        return larger

    def _lesson(self, about: str) -> dict[str, Any]:
        if about not in self._lessons:
            self._lessons[about] = read_json(self._folder, f"shares/{about}.json") or {}
        return self._lessons[about]

    def _learn(self, about: str, lesson: dict[str, Any]) -> None:
        self._lessons[about] = lesson
        write_json(self._folder, f"shares/{about}.json", lesson)
