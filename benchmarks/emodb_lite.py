"""Emo-DB through the four commands, and what came of it, as data under benchmarks/results/emodb_lite/.

    python benchmarks/emodb_lite.py --source EMODB --work DIR
    python docs/figures.py

Half an hour on two cores; repeated with the same DIR it goes on, or only writes the files again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "emodb_lite"
GRID = "configs/emodb_lite.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="the folder of Emo-DB's wav files")
    parser.add_argument("--work", type=Path, required=True, help="a folder for data and store")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    work = options.work.absolute()
    place = ["--data", str(work / "data"), "--store", str(work / "store")]
    said = ser_sweep("prepare", "emodb", "--source", str(options.source.absolute()), "--out", str(work / "data"))
    (RESULTS / "prepare.txt").write_text(said.replace(str(work), "work"), encoding="utf-8")
    ser_sweep("run", GRID, *place)
    for form in ("md", "csv"):
        ser_sweep("tables", GRID, *place, "--format", form, "--out", str(RESULTS / f"tables.{form}"))
    facts = json.dumps(run_facts(work / "store"), indent=2) + "\n"
    (RESULTS / "run.json").write_text(facts, encoding="utf-8")


def ser_sweep(*arguments: str) -> str:
    """What a command prints; its progress goes to the terminal."""
    command = [sys.executable, "-m", "sweep.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def run_facts(store: Path) -> dict[str, Any]:
    """What the store's stages say of how they were trained."""
    stages = [json.loads(path.read_text(encoding="utf-8")) for path in (store / "stages").glob("*/stage.json")]
    rates = [stage["timing"]["segments_per_second"] for stage in stages]
    baseline = [stage["metrics"]["test_segment_accuracy"] for stage in stages if stage["iteration"] == 0]
    return {
        "stages": len(stages),
        "training_seconds": round(sum(stage["timing"]["seconds"] for stage in stages)),
        "segments_per_second": {"median": round(statistics.median(rates)), "best": round(max(rates))},
        "epochs": sum(stage["metrics"]["epochs"] for stage in stages),
        "resumed_stages": sum(stage["timing"]["resumed_at_epoch"] > 0 for stage in stages),
        "segments": stages[0]["segments"],
        "baseline_test_segment_accuracy": round(100 * sum(baseline) / len(baseline), 2),
        "devices": dict(Counter(f"{s['device']['type']} {s['device']['name']}" for s in stages)),
        "threads": stages[0]["device"]["threads"],
        "cores": os.cpu_count(),
        "versions": stages[0]["versions"],
        "revisions": dict(Counter(str(stage["revision"]) for stage in stages)),
    }


if __name__ == "__main__":
    main()
