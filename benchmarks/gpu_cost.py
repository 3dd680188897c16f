"""What a grid costs on the GPU that was measured: hours of its epochs at the best rate of each backbone and precision.

python benchmarks/gpu_cost.py benchmarks/results/rented_gpu_2.jsonl --data DATA --grid configs/emodb_paper.yaml \\
    --json benchmarks/results/gpu_cost.json

All epochs are counted that early stopping may spare.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from measured import report

from sweep.planning.cost import TrainingSpeed, estimate
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import ChainSpec, Plan, kind_of

Best = dict[str, dict[str, dict[str, float]]]  # backbone -> precision -> its best rate, and networks side by side


def best_rates(lines: Iterable[dict[str, Any]]) -> Best:
    best: Best = defaultdict(dict)
    for line in lines:
        if line["job"].startswith("rates") and line.get("networks") and "rate" in line:
            known = best[line["backbone"]].get(line["precision"], {"rate": 0.0})
            if line["rate"] > known["rate"]:
                best[line["backbone"]][line["precision"]] = {name: line[name] for name in ("rate", "networks")}
    return dict(best)


def cost_of(grid: Path, data: Path, best: Best) -> dict[str, Any]:
    """Stages and segment updates of a grid, and hours on the device by backbone and precision."""
    spec = load_grid(grid)
    prepared = resolve_corpora(spec, data)
    whole = spec.expand(prepared)
    updates: dict[str, float] = {}
    hours: dict[str, dict[str, float]] = {}
    for backbone, rates in best.items():
        for precision, found in rates.items():
            chains = [with_precision(one, precision) for one in whole if one.last.backbone == backbone]
            if not chains:
                continue
            rate = TrainingSpeed(1 / found["rate"], None, "measured", on_gpu=True)
            cost = estimate(Plan.of(chains, (), {}), prepared.values(), {kind_of(chains[0].last): rate}, gpu_share=1.0)
            updates[backbone] = cost.updates
            hours.setdefault(backbone, {})[precision] = cost.seconds / 3600
    stages = len(Plan.of(whole, (), {}).stages)
    return {"grid": spec.name, "stages": stages, "segment_updates": updates, "device_hours": hours}


def with_precision(chain: ChainSpec, precision: Any) -> ChainSpec:
    return ChainSpec(replace(chain.last, training=replace(chain.last.training, precision=precision)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="results.jsonl of benchmarks/rented_gpu.py")
    parser.add_argument("--data", type=Path, required=True, help="the folder of prepared corpora")
    parser.add_argument("--grid", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    lines = [json.loads(line) for path in options.results for line in path.read_text().splitlines()]
    best = best_rates(lines)
    report({"best": best, **cost_of(options.grid, options.data, best)}, options.json)


if __name__ == "__main__":
    main()
