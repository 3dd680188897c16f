"""Run the engine through many worlds.

python -m tests.simulation --seeds 1000
python -m tests.simulation --seed 17 --without 2 5
python -m tests.simulation --planted --seeds 200
"""

import argparse
import gc
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

WORLDS_OF_A_PROCESS = 500
FOR_PLANTED = 1000  # worlds at most that look for a planted bug


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="The engine in simulated worlds.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="replay this one, and tell its history")
    parser.add_argument("--without", type=int, nargs="*", default=[], help="parts of the world that are left out")
    parser.add_argument("--bug", help="plant a bug of tests/simulation/planted.py")
    parser.add_argument("--planted", action="store_true", help="find each of the planted bugs within so many seeds")
    parser.add_argument("--json", type=Path, help="write what was found to this file, with the planted bugs")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, tuple(options.without), options.bug)
    seeds = range(options.first, options.first + options.seeds)
    if options.planted:
        found = find_planted(seeds, options.processes)
        for bug, seed in found.items():
            print(f"{bug}: {'not found' if seed is None else f'seed {seed}'}")
        return 1 if None in found.values() else 0
    begun = time.monotonic()
    prepare(options.bug)
    failed = violations(seeds, options.processes)
    seconds = time.monotonic() - begun
    print(f"{options.seeds} seeds, {len(failed)} violations, {seconds:.1f} s")
    if failed:
        tell(failed[0][0], options.bug)
    if options.json is not None:
        about = {"seeds": options.seeds, "violations": len(failed), "seconds": seconds, "processes": options.processes}
        first = find_planted(range(FOR_PLANTED), options.processes)
        options.json.write_text(json.dumps({**about, "first_seed_that_finds": first}, indent=2) + "\n")
    return 1 if failed else 0


def violations(seeds: range, processes: int) -> list[tuple[int, str]]:
    """The seeds whose worlds break a promise, and which; they are told as they are found.

    Each process is left with what its worlds took up, which is less work than to take cycles of it apart.
    """
    failed: list[tuple[int, str]] = []
    with get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
        length = min(WORLDS_OF_A_PROCESS, -(-len(seeds) // processes))
        for found in pool.imap(violations_of, batched(seeds, length)):
            for seed, what in found:
                failed.append((seed, what))
                if len(failed) <= 20:
                    print(f"seed {seed}: {what}", flush=True)
    return failed


def batched(seeds: range, length: int) -> list[range]:
    return [seeds[start : start + length] for start in range(0, len(seeds), length)]


def prepare(bug: str | None) -> None:
    """Import everything, plant a bug, and leave what is there by now to itself."""
    from tests.simulation.planted import BUGS
    from tests.simulation.stages import remember

    remember()
    if bug is not None:
        BUGS[bug]()
    for seed in range(30):  # so that what they come to is remembered
        violation_of(seed)
    gc.disable()
    gc.freeze()


def violations_of(seeds: range) -> list[tuple[int, str]]:
    found = [(seed, violation_of(seed)) for seed in seeds]
    return [(seed, what) for seed, what in found if what is not None]


def violation_of(seed: int) -> str | None:
    from tests.simulation.scenario import scenario_of
    from tests.simulation.simulate import run

    try:
        found = run(scenario_of(seed)).world.violation
    except Exception as error:
        return f"crashed: {error!r}"
    return None if found is None else str(found)


def find_planted(seeds: range, processes: int) -> dict[str, int | None]:
    """The first seed that finds each planted bug. A bug is planted in a process of its own."""
    prepare(None)
    from tests.simulation.planted import BUGS

    with ProcessPoolExecutor(processes, get_context("fork"), max_tasks_per_child=None) as pool:
        return dict(zip(BUGS, pool.map(first_to_find, BUGS, [seeds] * len(BUGS)), strict=True))


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

    short = shortened(scenario_of(seed))
    simulation = run(short, told=True)
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
    simulation = run(scenario_of(seed, without), told=True)
    print("\n".join(simulation.world.history))
    print(simulation.world.violation or "nothing went wrong")
    return 1 if simulation.world.violation else 0


if __name__ == "__main__":
    sys.exit(main())
