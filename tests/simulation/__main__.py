"""Run the engine through many worlds.

python -m tests.simulation --seeds 1000
python -m tests.simulation --seed 17 --without 2 5
python -m tests.simulation --planted --seeds 200
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="The engine in simulated worlds.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="replay this one, and tell its history")
    parser.add_argument("--without", type=int, nargs="*", default=[], help="parts of the world that are left out")
    parser.add_argument("--bug", help="plant a bug of tests/simulation/planted.py")
    parser.add_argument("--planted", action="store_true", help="find each of the planted bugs within so many seeds")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, tuple(options.without), options.bug)
    begun = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    if options.planted:
        return find_planted(seeds, options.processes)
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


def find_planted(seeds: range, processes: int) -> int:
    """Tell the first seed that finds each planted bug. A bug is planted in a process of its own."""
    prepare(None)
    from tests.simulation.planted import BUGS

    with ProcessPoolExecutor(processes, get_context("fork"), max_tasks_per_child=None) as pool:
        first = dict(zip(BUGS, pool.map(first_to_find, BUGS, [seeds] * len(BUGS)), strict=True))
    for bug, seed in first.items():
        print(f"{bug}: {'not found' if seed is None else f'seed {seed}'}")
    return 1 if None in first.values() else 0


def first_to_find(bug: str, seeds: range) -> int | None:
    """The first of `seeds` that finds a bug, which is planted in a child of this process."""
    from tests.simulation.planted import BUGS

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        BUGS[bug]()
        found = next((seed for seed in seeds if violation_of(seed) is not None), None)
        os.write(write, str(found).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    said = os.read(read, 100).decode()
    os.close(read)
    return None if said == "None" else int(said)


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
