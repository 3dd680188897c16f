"""How what takes long tells how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]  # what, how many are done, and of how many, where that is known


def no_progress(what: str, done: int, total: int | None) -> None:
    """For a caller whom progress does not interest."""
