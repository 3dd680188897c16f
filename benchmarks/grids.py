"""One of the grids in configs/ through the commands, and what came of it, as data.

    python benchmarks/grids.py emodb_lite --emodb EMODB --work DIR       # a quarter of an hour on two cores
    python benchmarks/grids.py label_sources --emodb EMODB --work DIR    # about three hours
    python benchmarks/grids.py leakage_audit --emodb EMODB --work DIR    # a quarter of an hour
    python benchmarks/grids.py exact_audit --emodb EMODB --work DIR      # half an hour
    python benchmarks/grids.py label_correction --work DIR               # minutes, on synthetic speech
    python benchmarks/grids.py emodb_networks --emodb EMODB --work DIR   # a quarter of an hour on a GPU, days without
    python benchmarks/grids.py emodb_densenet --emodb EMODB --work DIR   # ten hours
    python benchmarks/grids.py thinning --emodb EMODB --work DIR         # two hours
    python benchmarks/grids.py remaining_gap --emodb EMODB --work DIR    # three quarters of an hour
    python docs/figures.py

The stages of emodb_networks can come from a GPU elsewhere (docs/rented_gpu.md): unpack them into DIR/store, and
say --as-is.

Writes benchmarks/results/GRID/; the results of all stages are in its folder sweep, which ser-sweep tables --from takes.
Repeated with the same DIR it goes on, or only writes the files again; grids find in DIR what they share.

    python benchmarks/grids.py emodb_densenet --redraw

makes tables, claims and figures anew from that folder, and nothing else: what analysis shows has changed, or the way.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from sweep.planning.grid import load_grid, resolve_corpora

ROOT = Path(__file__).parents[1]
GRIDS = {
    "emodb_lite": "emodb",
    "label_sources": "emodb",
    "leakage_audit": "emodb",
    "exact_audit": "emodb",
    "label_correction": "synthetic",
    "emodb_networks": "emodb",
    "emodb_densenet": "emodb",
    "thinning": "emodb",
    "remaining_gap": "emodb",
}

SHOWN_FIGURES = ("label-sources", "label-correction", "thinning")  # of all that there are, those that pages show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=GRIDS)
    parser.add_argument("--emodb", type=Path, help="the folder of Emo-DB's wav files")
    parser.add_argument("--work", type=Path, help="a folder for data and store")
    parser.add_argument("--as-is", action="store_true", help="train nothing: write what the store has of the grid")
    parser.add_argument("--redraw", action="store_true", help="only tables, claims and figures, of results there are")
    options = parser.parse_args()
    results = ROOT / "benchmarks" / "results" / options.grid
    if options.redraw:
        with tempfile.TemporaryDirectory() as drawn:
            show(options.grid, ["--from", str(results / "sweep")], results, Path(drawn))
        return
    if options.work is None:
        parser.error(f"{options.grid} needs --work, or --redraw")
    if GRIDS[options.grid] == "emodb" and options.emodb is None:
        parser.error(f"{options.grid} needs --emodb")
    grid = f"configs/{options.grid}.yaml"
    results.mkdir(parents=True, exist_ok=True)
    work = options.work.absolute()
    data, store = work / "data", work / "store"
    place = [grid, "--data", str(data), "--store", str(store)]
    corpus = GRIDS[options.grid]
    source = ["--source", str(options.emodb.absolute())] if corpus == "emodb" else []
    said = ser_sweep("prepare", corpus, *source, "--out", str(data))
    (results / "prepare.txt").write_text(said.replace(str(work), "work"), encoding="utf-8")
    if options.grid == "exact_audit":
        said = ser_sweep("audit", *place, "--exact", "--folds", "1", "--json", allowed=(0, 1))
        (results / "audit.json").write_text(said, encoding="utf-8")
        return
    if not options.as_is:
        ser_sweep("run", *place)
    show(options.grid, place, results, work / "figures" / options.grid)
    shutil.rmtree(results / "sweep", ignore_errors=True)
    ser_sweep("store", "export", *place, "--decisions", "--out", str(results / "sweep"))
    facts = (
        json.dumps(run_facts(ROOT / grid, data, store) | {"launches": launches(options.grid, store)}, indent=2) + "\n"
    )
    (results / "run.json").write_text(facts, encoding="utf-8")


def show(grid: str, place: list[str], results: Path, drawn: Path) -> None:
    """Tables, claims and figures of a grid, or the audit of one with permuted labels."""
    if load_grid(ROOT / f"configs/{grid}.yaml").labels == "permuted":
        for name, flags in (("audit.md", []), ("audit.json", ["--json"])):
            # Status 1 says that a label source leaks which should not: a result like any other.
            (results / name).write_text(ser_sweep("audit", *place, *flags, allowed=(0, 1)), encoding="utf-8")
        return
    for form in ("md", "csv"):
        ser_sweep("tables", *place, "--format", form, "--out", str(results / f"tables.{form}"))
    for name, flags in (("claims.txt", []), ("claims.json", ["--json"])):
        (results / name).write_text(ser_sweep("claims", *place, *flags), encoding="utf-8")
    ser_sweep("figures", *place, "--out", str(drawn), "--format", "svg")
    for path in (path for kind in SHOWN_FIGURES for path in drawn.glob(f"{kind}-*.svg")):
        shutil.copy(path, results / path.name)


def ser_sweep(*arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
    """What a command prints; its progress goes to the terminal. Raises CalledProcessError for any other status."""
    command = [sys.executable, "-m", "ser_sweep.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in allowed:
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


def launches(grid: str, store: Path) -> list[dict[str, Any]]:
    """What the store's event log says of each launch of a grid."""
    said = json.loads(ser_sweep("launches", "--store", str(store), "--json"))
    told = ("time", "trained", "failed", "seconds", "device_seconds", "finished", "interrupted")
    return [{name: one[name] for name in told} for one in said if one["grid"] == grid]


def run_facts(grid: Path, data: Path, store: Path) -> dict[str, Any]:
    """What the stages of a grid say of how they were trained."""
    spec = load_grid(grid)
    keys = sorted({stage.key for chain in spec.expand(resolve_corpora(spec, data)) for stage in chain.stages})
    paths = [store / "stages" / key / "stage.json" for key in keys]
    stages = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    rates = [stage["timing"]["segments_per_second"] for stage in stages]
    outer = [stage for stage in stages if stage["iteration"] == 0 and "inner_fold" not in stage["identity"]]
    baseline = [stage["metrics"]["test_segment_accuracy"] for stage in outer]
    segments = sorted({stage["segments"] for stage in stages})
    return {
        "stages": len(stages),
        "stages_of_grid": len(keys),
        "training_seconds": round(sum(stage["timing"]["seconds"] for stage in stages)),
        "segments_per_second": {"median": round(statistics.median(rates)), "best": round(max(rates))},
        "epochs": sum(stage["metrics"]["epochs"] for stage in stages),
        "resumed_stages": sum(stage["timing"]["resumed_at_epoch"] > 0 for stage in stages),
        "segments": segments[0] if len(segments) == 1 else [segments[0], segments[-1]],  # alike, or from and to
        "baseline_test_segment_accuracy": round(100 * sum(baseline) / len(baseline), 2),
        "devices": dict(Counter(f"{s['device']['type']} {s['device']['name']}" for s in stages)),
        "recorded": dict(Counter(stage["device"]["recorded"] for stage in stages if "recorded" in stage["device"])),
        "side_by_side": max(stage["device"].get("fused", 1) for stage in stages),
        "threads": stages[0]["device"]["threads"],
        "cores": os.cpu_count(),
        "versions": stages[0]["versions"],
        "revisions": dict(Counter(str(stage["revision"]) for stage in stages)),
    }


if __name__ == "__main__":
    main()
