"""What launches have learnt of the GPU shares that trainings of a kind need (`sweep.planning.stages.kind_of`)."""

from sweep.storage.store import Store


class LearntShares:
    """The lessons kept in a store. What cannot be read was not learnt."""

    def __init__(self, store: Store) -> None:
        self._files = store.files

    def least(self, kind: str) -> float | None:
        """The share of a GPU that trainings of a kind turned out to need; None where nothing was learnt of it."""
        share = (self._files.read_json(f"shares/{kind}.json") or {}).get("gpu")
        return float(share) if isinstance(share, int | float) else None

    def learn_least(self, kind: str, share: float) -> None:
        """Trainings of a kind need at least this share of a GPU."""
        self._files.write_json(f"shares/{kind}.json", {"gpu": share})

    def at_once(self, kind: str, share: float) -> int | None:
        """How many trainings of a kind side by side a share of a GPU turned out to hold; None where that was not
        learnt."""
        found = (self._files.read_json(f"shares/{kind}-on-{share:g}.json") or {}).get("at_once")
        return found if isinstance(found, int) and found >= 1 else None

    def learn_at_once(self, kind: str, share: float, at_once: int) -> None:
        """So many trainings of a kind fit side by side on a share of a GPU."""
        self._files.write_json(f"shares/{kind}-on-{share:g}.json", {"at_once": at_once})
