"""A store as it is when it is looked at: what does not change under an analysis, and is read once."""

from collections.abc import Collection, Iterator
from copy import deepcopy
from functools import cached_property
from typing import Any

import pandas as pd

from sweep.storage.store import Store


class Snapshot(Store):
    """A store whose stage.json and corpora are read when they are first asked for, and not again. Predictions are read
    from the store each time; decisions and results can be written to it."""

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes what a store is, and not all that was read."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_stages", "_corpora")}

    @cached_property
    def _stages(self) -> dict[str, dict[str, Any]]:
        return {record["key"]: record for record in super().records()}

    @cached_property
    def _corpora(self) -> dict[str, tuple[dict[str, Any], pd.DataFrame]]:
        return {}

    def records(self) -> Iterator[dict[str, Any]]:
        """All stage.json, as they were read."""
        yield from self._stages.values()

    def read_stage(self, key: str) -> dict[str, Any] | None:
        """The stage.json of a key, as it was read; None where there was none."""
        return self._stages.get(key)

    def keys_like(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`, sorted."""
        return sorted(key for key in self._stages if key.startswith(prefix))

    def read_corpus(self, name: str) -> tuple[dict[str, Any], pd.DataFrame]:
        """Corpus and utterances, copies of what was read once."""
        if name not in self._corpora:
            self._corpora[name] = super().read_corpus(name)
        about, utterances = self._corpora[name]
        return deepcopy(about), utterances.copy()

    def leave_out(self, keys: Collection[str]) -> None:
        """Have these stages count as not there."""
        for key in keys:
            self._stages.pop(key, None)
