"""A grid like Table IV's by `ser-sweep run`, by plain Ray Tune, and by Optuna with joblib, in turn.

python benchmarks/grid_search.py --json benchmarks/results/grid_search.json

Eleven weights alpha, six folds (--rivals-at), one iteration after the first: 66 chains, two trainings each, all of one
size. All three train by the same function, each training on one thread, as many at a time as there are cores, and by
the whole clock, from nothing running to everything done. The rivals are used as their documentations say: `grid_search`
with a function that trains a chain, and a study with a GridSampler whose workers joblib starts. Beside ours stands the
ideal: the seconds of its own trainings, divided by the slots. Grids that double (--folds) show how its cost grows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import report

ROOT = Path(__file__).parents[1]
ALPHAS = [round(0.1 * n, 1) for n in range(11)]
FOLDS = (3, 6, 12)
RIVALS_AT = 6
EPOCHS = 6
EVERY = 72
SLOTS = os.cpu_count() or 1


def prepare_corpus(work: Path) -> None:
    from data_prep.corpora import read_manifest
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, write_corpus

    manifest = write_corpus(work / "audio", SyntheticCorpus(speakers=8, texts=6, takes=4))
    prepare("synthetic", read_manifest(manifest), work / "data", inline=True)


def write_grid(work: Path, folds: int, every: int) -> Path:
    grid = {
        "corpora": ["synthetic"],
        "backbones": ["densenet22"],
        "rules": [{"wdsl": ALPHAS}],
        "iterations": 1,
        "folds": folds,
        "training": {"epochs": EPOCHS, "early_stopping": False, "every": every},
    }
    path = work / f"grid-{folds}.json"
    path.write_text(json.dumps(grid))
    return path


def chain_trainer(work: Path, grid: Path) -> Any:
    """A function that trains the chain of an alpha and a fold, all of it, and returns its last validation WA."""
    from data_prep.shards import SegmentCorpus, load_corpus
    from dsl.chain import ChainMemory, StageResult
    from dsl.company import run_chain
    from dsl.settings import Step
    from dsl.training import Checkpoint
    from sweep.planning.grid import load_grid, resolve_corpora

    spec = load_grid(grid)
    prepared = resolve_corpora(spec, work / "data")
    chains = spec.expand(prepared)
    places = [(alpha, fold) for fold in range(chains[0].last.folds) for alpha in ALPHAS]
    by_place = {(float(chain.last.alpha or 0), chain.last.fold): chain.last for chain in chains}
    assert sorted(by_place) == sorted(places)
    corpus: SegmentCorpus = load_corpus(prepared["synthetic"]).thinned(chains[0].last.training.every)

    class Forgetful(Checkpoint):
        def read(self) -> bytes | None:
            return None

        def write(self, content: bytes) -> None: ...

    class Memory(ChainMemory):
        def __init__(self) -> None:
            self.last: float | None = 0.0

        def key(self, step: Step) -> Step:
            return step

        def load(self, step: Step) -> None:
            return None

        def out_of_fold(self, iteration: int) -> None:
            return None

        def save(self, step: Step, result: StageResult) -> None:
            self.last = result.validation_wa

        def checkpoint(self, step: Step) -> Checkpoint:
            return Forgetful()

    def train(alpha: float, fold: int) -> float:
        import torch

        from dsl.process import configure_process

        configure_process(1)
        memory = Memory()
        run_chain(corpus, by_place[alpha, fold], torch.device("cpu"), memory)
        assert memory.last is not None
        return memory.last

    return train


def plain_tune(work: Path, grid: Path, folds: int) -> dict[str, Any]:
    from ray import tune

    from data_prep.cluster import ray_session

    train = chain_trainer(work, grid)

    def trainable(config: dict[str, Any], train: Any) -> None:
        tune.report({"validation_wa": train(config["alpha"], config["fold"])})

    with ray_session(), tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, train=train), {"cpu": 1}),
            param_space={"alpha": tune.grid_search(ALPHAS), "fold": tune.grid_search(list(range(folds)))},
            run_config=tune.RunConfig(storage_path=scratch, name="rival", verbose=0),
        )
        results = tuner.fit()
    assert results.num_errors == 0
    return {"chains": len(results)}


def optuna_with_joblib(work: Path, grid: Path, folds: int) -> dict[str, Any]:
    import optuna
    from joblib import Parallel, delayed

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train = chain_trainer(work, grid)
    storage = f"sqlite:///{work}/optuna-{folds}.db"
    places: dict[str, list[Any]] = {"alpha": list(ALPHAS), "fold": list(range(folds))}
    optuna.create_study(storage=storage, study_name="grid", direction="maximize")

    def worker(seed: int) -> None:
        sampler = optuna.samplers.GridSampler(places, seed=seed)
        study = optuna.load_study(storage=storage, study_name="grid", sampler=sampler)
        study.optimize(
            lambda trial: train(
                trial.suggest_categorical("alpha", places["alpha"]), trial.suggest_categorical("fold", places["fold"])
            )
        )  # the sampler ends it when the grid is done

    Parallel(n_jobs=SLOTS)(delayed(worker)(seed) for seed in range(SLOTS))
    trials = optuna.load_study(storage=storage, study_name="grid").trials
    return {"chains": sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)}


def ser_sweep(work: Path, grid: Path, folds: int) -> dict[str, Any]:
    from ser_sweep.cli import main
    from sweep.storage.store import Store

    store = work / f"store-{folds}"
    assert main(["run", str(grid), "--data", str(work / "data"), "--store", str(store)]) == 0
    seconds = [record["timing"]["seconds"] for record in Store(store).records()]
    return {
        "chains": len(ALPHAS) * folds,
        "trainings": len(seconds),
        "median_training_seconds": sorted(seconds)[len(seconds) // 2],
        "ideal_seconds": sum(seconds) / SLOTS,
    }


WAYS = {"ours": ser_sweep, "plain_tune": plain_tune, "optuna_with_joblib": optuna_with_joblib}


def timed(what: str, work: Path, grid: Path, folds: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--only", what, str(work), str(grid), str(folds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    seconds = time.perf_counter() - began
    print(what, folds, f"{seconds:.1f} s", said.splitlines()[-1], file=sys.stderr, flush=True)
    return {"seconds": seconds, **json.loads(said.splitlines()[-1])}


def measure(work: Path, folds: int, every: int, rivals: bool) -> dict[str, Any]:
    grid = write_grid(work, folds, every)
    found = {what: timed(what, work, grid, folds) for what in WAYS if rivals or what == "ours"}
    ours = found["ours"]["seconds"]
    run = {"folds": folds, **found, "times_ideal": ours / found["ours"]["ideal_seconds"]}
    if not rivals:
        return run
    assert found["plain_tune"]["chains"] == len(ALPHAS) * folds <= found["optuna_with_joblib"]["chains"]
    ratios = {
        "plain_tune_ratio": found["plain_tune"]["seconds"] / ours,
        "optuna_ratio": found["optuna_with_joblib"]["seconds"] / ours,
    }
    return run | ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, nargs="+", default=list(FOLDS))
    parser.add_argument("--rivals-at", type=int, default=RIVALS_AT, help="folds of the grid that the rivals do as well")
    parser.add_argument("--every", type=int, default=EVERY, help="every which segment is trained with")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        work, grid, folds = options.arguments
        print(json.dumps(WAYS[options.only](Path(work), Path(grid), int(folds))))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare_corpus(Path(folder))
        runs = [
            measure(Path(folder), folds, options.every, rivals=folds == options.rivals_at) for folds in options.folds
        ]
    report({"slots": SLOTS, "epochs": EPOCHS, "runs": runs}, options.json)


if __name__ == "__main__":
    main()
