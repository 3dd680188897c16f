"""Run the engine through many worlds.

python -m tests.simulation --seeds 1000
python -m tests.simulation --seed 17 --without 2 5
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="The engine in simulated worlds.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="replay this one, and tell its history")
    parser.add_argument("--without", type=int, nargs="*", default=[], help="parts of the world that are left out")
    parser.add_argument("--bug", help="plant a bug of tests/simulation/planted.py")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, tuple(options.without), options.bug)
    begun = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    failed: list[tuple[int, str]] = []
    with ProcessPoolExecutor(options.processes, initializer=prepare, initargs=(options.bug,)) as pool:
        for number, found in enumerate(pool.map(violation_of, seeds, chunksize=50)):
            if found is not None:
                failed.append((seeds[number], found))
                if len(failed) <= 20:
                    print(f"seed {seeds[number]}: {found}", flush=True)
    print(f"{options.seeds} seeds, {len(failed)} violations, {time.monotonic() - begun:.1f} s")
    if failed:
        tell(failed[0][0], options.bug)
    return 1 if failed else 0


def prepare(bug: str | None) -> None:
    from tests.simulation.stages import remember

    remember()
    if bug is not None:
        from tests.simulation.planted import BUGS

        BUGS[bug]()


def violation_of(seed: int) -> str | None:
    from tests.simulation.scenario import scenario_of
    from tests.simulation.simulate import run

    found = run(scenario_of(seed)).world.violation
    return None if found is None else str(found)


def tell(seed: int, bug: str | None) -> None:
    """The shortened history of a seed that failed, and how to replay it."""
    from tests.simulation.scenario import scenario_of
    from tests.simulation.simulate import run, shortened

    prepare(bug)
    short = shortened(scenario_of(seed))
    simulation = run(short)
    launches, faults = short.left()
    for number, one in launches:
        print(f"launch {number}: {one}")
    for fault in faults:
        print(f"fault: {fault}")
    print("\n".join(simulation.world.history[-60:]))
    planted = f" --bug {bug}" if bug is not None else ""
    without = f" --without {' '.join(map(str, short.without))}" if short.without else ""
    print(f"to replay it: python -m tests.simulation --seed {seed}{without}{planted}")


def replay(seed: int, without: tuple[int, ...], bug: str | None) -> int:
    from tests.simulation.scenario import scenario_of
    from tests.simulation.simulate import run

    prepare(bug)
    simulation = run(scenario_of(seed, without))
    print("\n".join(simulation.world.history))
    print(simulation.world.violation or "nothing went wrong")
    return 1 if simulation.world.violation else 0


if __name__ == "__main__":
    sys.exit(main())
