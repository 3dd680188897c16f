"""All files of a store, by what they are of."""

from data_prep.folders import Entry
from sweep.storage.store import Store


def inventory_of(store: Store) -> dict[str, dict[str, list[Entry]]]:
    """All files: the folder of the store they are in -> the key, corpus or launch they are of -> its files."""
    found: dict[str, dict[str, list[Entry]]] = {}
    for entry in store.folder.entries(recursive=True):
        kind, *rest = entry.path.parts
        has_folders = kind in ("stages", "corpora")
        if len(rest) == (2 if has_folders else 1):
            owner = rest[0] if has_folders else entry.path.stem
            found.setdefault(kind, {}).setdefault(owner, []).append(entry)
    return found
