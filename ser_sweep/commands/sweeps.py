"""What commands open, from what was typed."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import UserError
from ser_sweep.commands.terminal import progress_bar
from ser_sweep.sweeps import Sweep, open_results, open_sweep

if TYPE_CHECKING:
    import pandas as pd

    from sweep.storage.store import Store


def opened(options: argparse.Namespace) -> Sweep:
    """The sweep of a command `of_grid` or `of_results`. Raises UserError where it is not given, or twice."""
    given = {"GRID.yaml": options.grid, "--data": options.data, "--store": options.store}
    return _showing(options, open_given(given, "--from", getattr(options, "results", None)))


def open_given(given: Mapping[str, str | Path | None], option: str, results: Path | None) -> Sweep:
    """The sweep of the grid, data and store that are `given`, by what they are called, or of the folder of results that
    `option` names. Raises UserError where neither is whole, or both are given."""
    if results is None:
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise UserError(f"missing: {', '.join(missing)}; give all of {', '.join(given)}, or {option} RESULTS")
        grid, data, store = (str(value) for value in given.values())
        return open_sweep(grid, data, store)
    beside = [name for name, value in given.items() if value is not None]
    if beside:
        raise UserError(f"{option} RESULTS replaces {', '.join(beside)}; give one or the other")
    return open_results(results)


def _showing(options: argparse.Namespace, sweep: Sweep) -> Sweep:
    """The sweep with the setting and the intervals that are asked for."""
    asked = values_by_field("--setting", getattr(options, "setting", []))
    shown = sweep.at(asked) if asked else sweep
    kind = getattr(options, "intervals", None)
    return shown.with_intervals(kind) if kind else shown


def values_by_field(option: str, given: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Field -> value, of what an option was given. Raises UserError where a field stands twice."""
    for number, (field, value) in enumerate(given):
        if field in dict(given[:number]):
            raise UserError(f"{option} {field}={value}: the field stands twice; give it one value")
    return dict(given)


def decided(options: argparse.Namespace, sweep: Sweep, forests: bool = True) -> "pd.DataFrame":
    """The decisions on utterances, with their progress in a terminal."""
    with progress_bar(options, "reading the store") as progress:
        return sweep.decisions(forests=forests, progress=progress)


def existing_store(options: argparse.Namespace) -> "Store":
    """The store that `--store` names. Raises UserError where there is none."""
    from sweep.storage.store import Store

    store = Store(options.store)
    if not store.exists:
        raise UserError(f"there is no store at {options.store}; ser-sweep run makes one")
    return store
