"""Whether everything shared is trained once, and slots are busy: a grid like the paper's with the smallest network.

python benchmarks/sharing.py --json benchmarks/results/sharing.json

Three synthetic corpora, ten folds, the paper's rules and weights, one iteration, with 2, 4 and 16 trials at a time on
one local Ray runtime. Counts trainings from the event log, and from the times that trials themselves tell how much of
the slots was busy from the first start of a trial to the last. What a slot loses is Tune's time between two trials.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from measured import report

CORPORA = ("one", "two", "three")
RULES = ["none", "bdsl", "gsl", "hdl", {"wdsl": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}]
FOLDS = 10
CONCURRENT = (2, 4, 16)


def prepare_corpora(work: Path) -> None:
    from data_prep.corpora import read_manifest
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, write_corpus

    for seed, name in enumerate(CORPORA):
        manifest = write_corpus(work / name, SyntheticCorpus(speakers=2, texts=3, takes=2, seed=seed))
        prepare(name, read_manifest(manifest), work / "data", inline=True)


def grid_of(work: Path, epochs: int) -> Path:
    path = work / "grid.json"
    path.write_text(
        json.dumps(
            {
                "corpora": list(CORPORA),
                "backbones": ["tiny"],
                "rules": RULES,
                "folds": FOLDS,
                "training": {"epochs": epochs, "patience": epochs},
            }
        )
    )
    return path


def measure(grid: Path, data: Path, store: Path, concurrent: int) -> dict[str, Any]:
    """Run the grid with so many trials at a time, and read from its event log what happened."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    from data_prep.folders import Folder
    from ser_sweep.cli import main
    from sweep.planning.grid import load_grid, resolve_corpora
    from sweep.planning.stages import Plan
    from sweep.storage.events import read_events

    spec = load_grid(grid)
    plan = Plan.of(spec.expand(resolve_corpora(spec, data)), (), {})
    ray.init("local", num_cpus=concurrent, include_dashboard=False, log_to_driver=False)
    try:
        began = time.perf_counter()
        assert main(["run", str(grid), "--data", str(data), "--store", str(store)]) == 0
        seconds = time.perf_counter() - began
    finally:
        ray.shutdown()
    (events,) = read_events(Folder(store)).values()
    trained = Counter(event["key"] for event in events if event["event"] == "trained")
    trials = [(event["began"], event["began"] + event["seconds"]) for event in events if event["event"] == "ended"]
    return {
        "concurrent": concurrent,
        "stages": len(plan.stages),
        "naive_stages": plan.naive_stages,
        "trainings": trained.total(),
        "ratio": trained.total() / len(plan.stages),
        "utilisation": utilisation(trials, concurrent),
        "trial_seconds": sum(end - start for start, end in trials) / len(trials),
        "seconds": seconds,
    }


def utilisation(trials: list[tuple[float, float]], slots: int) -> float:
    """The share of `slots` that is busy from the first start of a trial to the last."""
    first, last = min(start for start, _ in trials), max(start for start, _ in trials)
    return sum(min(end, last) - start for start, end in trials) / (slots * (last - first))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="of a training (default: 12, some seconds)")
    parser.add_argument("--concurrent", type=int, nargs="+", default=CONCURRENT)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare_corpora(work)
        grid = grid_of(work, options.epochs)
        runs = [measure(grid, work / "data", work / f"store{n}", n) for n in options.concurrent]
    report({"runs": runs}, options.json)


if __name__ == "__main__":
    main()
