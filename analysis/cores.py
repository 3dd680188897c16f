"""Work that is split over the machine's cores where there is enough of it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed

WORTH_PROCESSES = 64  # items; to start processes takes as long as some dozen cells do

Result = TypeVar("Result")


def on_all_cores(work: Callable[..., Result], *arguments: Sequence[Any]) -> Iterator[Result]:
    """`map(work, *arguments)`, by several processes where there are many items."""
    jobs = -1 if len(arguments[0]) >= WORTH_PROCESSES else 1
    yield from Parallel(n_jobs=jobs, return_as="generator")(
        delayed(work)(*each) for each in zip(*arguments, strict=True)
    )
