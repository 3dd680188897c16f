"""The jobs of benchmarks/rented_gpu.py: each finds something out in a process of its own.

python benchmarks/gpu_jobs.py '{"what": "rates", "backbone": "tiny", "data": "DATA", "corpus": "emodb", ...}'

What a job has found it prints as JSON, a line as soon as it knows something. A part that fails is a line with an
`error`, and the next one begins.
"""

import contextlib
import json
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_ground import (
    say,
)
from gpu_right import drill, parity, shared, versions
from gpu_speed import compiled, layers, layouts, processes, rates

from dsl.process import configure_process

PARTS = (("none", ""), ("bdsl", ""), ("wdsl", "0.2"), ("gsl", ""), ("hdl", ""))  # of a grid, the cheapest answer first

# Stages of the grid


def stages(ask: Namespace) -> None:
    """Train a grid's stages of a backbone through the sweep itself, into the store, until there are no more or it is
    interrupted."""
    from sweep.planning.grid import load_grid, resolve_corpora
    from sweep.planning.stages import Plan
    from sweep.running.launch import launch
    from sweep.storage.store import Store

    grid = load_grid(Path(ask.grid)).model_copy(update={"fuse": ask.fuse})
    prepared = resolve_corpora(grid, ask.data)
    store = Store(ask.store)
    chains = [one for one in grid.expand(prepared) if one.last.backbone == ask.backbone]
    for rule, alpha in PARTS[: getattr(ask, "parts", len(PARTS))]:
        wanted = first_iterations(chains, rule, alpha, getattr(ask, "folds", None))
        plan = Plan.of(wanted, store.done_keys(), store.failures())
        outcome = launch(plan, prepared, store, grid, inline=True, quiet=True)
        say(
            part=f"{rule} {alpha}".strip(),
            trained=outcome.trained,
            interrupted=outcome.interrupted,
            failures=outcome.failures,
            training_seconds=outcome.seconds,
        )
        if outcome.interrupted:
            return


def first_iterations(chains: Sequence[Any], rule: str, alpha: str, folds: int | None) -> list[Any]:
    """The stages that tell of a rule first: iteration 0 without one, else iteration 1; of the first `folds` folds."""
    from sweep.planning.stages import ChainSpec, distinct

    lasts = [one.last.at(0 if rule == "none" else 1) for one in chains if one.last.iteration or rule == "none"]
    return distinct(
        ChainSpec(last)
        for last in lasts
        if (last.rule, last.alpha) == (rule, alpha) and (folds is None or last.fold < folds)
    )


# To try the program out


def fail(ask: Namespace) -> None:
    raise RuntimeError("this job fails")


def hang(ask: Namespace) -> None:
    time.sleep(1000)


def run_on(ask: Namespace) -> None:
    """Finds something out, and then has no end, whoever asks for it."""
    say(found=1)
    print("not JSON", flush=True)
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            subprocess.run(["sleep", "1000"], check=False)


WHAT = (versions, layers, parity, drill, shared, layouts, rates, processes, compiled, stages, fail, hang, run_on)


def main() -> None:
    ask = Namespace(**json.loads(sys.argv[1]))
    configure_process(ask.threads)  # before CUDA starts
    try:
        {each.__name__: each for each in WHAT}[ask.what](ask)
    except KeyboardInterrupt:
        sys.exit("interrupted: its time is up")


if __name__ == "__main__":
    main()
