"""What a trial costs beside its training, on a grid of thousands: ours against plain Ray Tune `grid_search`.

python benchmarks/scale.py --chains 10000 --json benchmarks/results/scale.json

Both train the same trivial networks in one run, each launch in a process of its own: as many trainings as chains, on
two slots, with reused actors and Tune's loggers off (Tune's fastest set-up). The rival keeps nothing but its last
metrics; ours commits every stage, keeps the lease, the event log and the tally. Then what a user asks of such a store:
plan, status, tables (by mean pooling: forests are a work of their own), each as a command.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measured import report

ROOT = Path(__file__).parents[1]
RULES = ["none", "bdsl", "gsl", "hdl", {"wdsl": [0.2, 0.4, 0.6, 0.8]}]
CHAINS_PER_FOLD = 8
FOLDS = 10
SLOTS = 2


def prepare_corpus(data: Path) -> None:
    from data_prep.corpora import read_manifest
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, write_corpus

    manifest = write_corpus(data / "audio", SyntheticCorpus(speakers=2, texts=3, takes=2))
    prepare("synthetic", read_manifest(manifest), data, inline=True)


def write_grid(path: Path, chains: int) -> None:
    seeds = -(-chains // (CHAINS_PER_FOLD * FOLDS))
    path.write_text(
        json.dumps(
            {
                "corpora": ["synthetic"],
                "backbones": ["tiny"],
                "rules": RULES,
                "folds": FOLDS,
                "seeds": list(range(seeds)),
                "training": {"epochs": 1, "every": 512},
                "resources": {"max_failures": 0},
            }
        )
    )


def rival(grid: Path, data: Path) -> dict[str, Any]:
    """Plain Tune over as many trivial trainings: iteration 0 of every seed, fold and chain."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "3600"
    import torch
    from ray import tune

    from data_prep.cluster import ray_session
    from data_prep.shards import SegmentCorpus, load_corpus
    from dsl.chain import ChainMemory, StageResult
    from dsl.company import run_chain
    from dsl.settings import Step
    from dsl.training import Checkpoint
    from sweep.planning.grid import load_grid, resolve_corpora

    spec = load_grid(grid)
    prepared = resolve_corpora(spec, data)
    chains = spec.expand(prepared)
    baseline = [chain.last.at(0) for chain in chains]
    corpus = load_corpus(prepared["synthetic"])

    class Forgetful(Checkpoint):
        """Keeps nothing."""

        def read(self) -> bytes | None:
            return None

        def write(self, content: bytes) -> None: ...

    class Memory(ChainMemory):
        def key(self, step: Step) -> Step:
            return step

        def load(self, step: Step) -> None:
            return None

        def out_of_fold(self, iteration: int) -> None:
            return None

        def save(self, step: Step, result: StageResult) -> None:
            tune.report({"validation_wa": result.validation_wa, "seconds": result.seconds})

        def checkpoint(self, step: Step) -> Checkpoint:
            return Forgetful()

    def train(config: dict[str, Any], corpus: SegmentCorpus) -> None:
        torch.set_num_threads(1)
        run_chain(corpus.thinned(512), baseline_of(config), torch.device("cpu"), Memory())

    def baseline_of(config: dict[str, Any]) -> Any:
        from dataclasses import replace

        return replace(first, seed=config["seed"], fold=config["fold"])

    first = baseline[0]
    with ray_session(), tempfile.TemporaryDirectory() as scratch:
        begun = time.perf_counter()
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(train, corpus=corpus), {"cpu": 1}),
            param_space={
                "seed": tune.grid_search(list(spec.seeds)),
                "fold": tune.grid_search(list(range(FOLDS))),
                "chain": tune.grid_search(list(range(CHAINS_PER_FOLD))),
            },
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=scratch, name="rival", verbose=0),
        )
        results = tuner.fit()
        seconds = time.perf_counter() - begun
    assert len(results) == len(chains) and results.num_errors == 0
    return {"trials": len(results), "seconds": seconds}


def ours(grid: Path, data: Path, store: Path) -> dict[str, Any]:
    import sweep.running.launch  # noqa: F401  # imported before the clock starts, as the rival's modules are
    from data_prep.cluster import ray_session
    from ser_sweep.cli import main

    with ray_session():
        begun = time.perf_counter()
        assert main(["run", str(grid), "--data", str(data), "--store", str(store)]) == 0
        seconds = time.perf_counter() - begun
    done = len(list((store / "stages").glob("*/stage.json")))
    return {"trials": done, "seconds": seconds}


def in_a_process(what: str, *places: Path) -> dict[str, Any]:
    """A measurement in a process of its own, with the most memory that it had."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--only", what, *map(str, places)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    print(f"{what}: {found}", file=sys.stderr, flush=True)
    return found


def only(what: str, places: list[Path]) -> None:
    measured: dict[str, Callable[..., dict[str, Any]]] = {"rival": rival, "ours": ours}
    found = measured[what](*places)
    found["seconds_per_trial"] = found["seconds"] / found["trials"]
    found["driver_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def command_seconds(*arguments: str) -> float:
    print(" ".join(arguments[:2]), "...", file=sys.stderr, flush=True)
    begun = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "ser_sweep.cli", *arguments], check=True, stdout=subprocess.DEVNULL, env=environment
    )
    return time.perf_counter() - begun


def measure(chains: int, keep: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        work = keep or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        grid, data, store = work / "grid.json", work / "data", work / "store"
        prepare_corpus(data)
        write_grid(grid, chains)
        same = (str(grid), "--data", str(data), "--store", str(store))
        found: dict[str, Any] = {"plan_before_seconds": command_seconds("plan", *same)}
        found["rival"] = in_a_process("rival", grid, data)
        found["ours"] = in_a_process("ours", grid, data, store)
        found["ratio"] = found["rival"]["seconds_per_trial"] / found["ours"]["seconds_per_trial"]
        found["plan_seconds"] = command_seconds("plan", *same)
        found["status_seconds"] = command_seconds("status", *same)
        found["tables_first_seconds"] = command_seconds("tables", *same, "--no-forests")
        found["tables_seconds"] = command_seconds("tables", *same, "--no-forests")
    found["slots"] = SLOTS
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--keep", type=Path, help="folder to keep the data and the store in")
    parser.add_argument("--only", choices=["rival", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("places", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        only(options.only, options.places)
        return
    found = measure(options.chains, options.keep)
    report(found, options.json)
    print(f"plain Tune takes {found['ratio']:.2f} times as long a trial as ours")


if __name__ == "__main__":
    main()
