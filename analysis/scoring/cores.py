"""Work that is split over the machine's cores where there is enough of it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import starmap
from typing import Any, TypeVar

WORTH_PROCESSES = 64  # items; to start processes takes as long as some dozen cells do

Result = TypeVar("Result")


def on_all_cores(work: Callable[..., Result], *arguments: Sequence[Any]) -> Iterator[Result]:
    """`map(work, *arguments)`, by several processes where there are many items."""
    items = zip(*arguments, strict=True)
    if len(arguments[0]) < WORTH_PROCESSES:
        yield from starmap(work, items)
        return
    from joblib import Parallel, delayed

    yield from Parallel(n_jobs=-1, return_as="generator")(delayed(work)(*each) for each in items)
