"""Chaos: a sweep on several nodes, under faults. Nothing may be lost, trained twice, or come out otherwise.

python -m tests.chaos --seed 0 1 --faults 40 --store-kind disk s3 --out benchmarks/results/chaos.json

Every seed and kind of store is a run; its report replaces the one of the same seed, store and number of faults in
`--out`, and the others stay. Exit status: 0 where every run ended with nothing lost, nothing repeated and the same
predictions and tables as without faults.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from data_prep.corpora import read_manifest
from data_prep.files import write_json
from data_prep.prepare import prepare
from data_prep.synthetic import SyntheticCorpus, write_corpus
from tests.chaos.experiment import Limits, in_peace, under_chaos, write_grid
from tests.chaos.places import PLACES

SMALL_GAP = (0.5, 4.0)


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    passed = True
    with contextlib.ExitStack() as stack:
        folder = options.work
        if folder is None:
            scratch = tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(scratch))
        manifest = write_corpus(folder / "audio", SyntheticCorpus(speakers=2, texts=2, takes=2))
        prepare("synthetic", read_manifest(manifest), folder / "data", inline=True)
        write_grid(folder / "grid.yaml", seeds=options.grid_seeds, small=options.small)
        say("a run in peace")
        peace = in_peace(folder / "grid.yaml", folder / "data", folder / "peace")
        limits = Limits(options.faults, **({"gap": SMALL_GAP} if options.small else {}))
        for kind, seed in product(options.store_kind, options.seed):
            say(f"chaos {kind} {seed}: {len(peace.predictions)} stages, {options.faults} faults")
            report = under_chaos(peace, kind, seed, limits, folder / f"{kind}-{seed}", say)
            report["asked"] = options.faults
            print(json.dumps({name: value for name, value in report.items() if name != "versions"}))
            passed &= is_flawless(report)
            if options.out is not None:
                add_report(options.out, report)
    return 0 if passed else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="A sweep under faults.")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="of the faults; a run for each (default: 0)")
    parser.add_argument("--faults", type=int, default=40, help="in each run (default: 40)")
    parser.add_argument("--store-kind", nargs="+", choices=list(PLACES), default=["disk"], help="(default: disk)")
    parser.add_argument("--grid-seeds", type=int, default=2, help="of the grid: its size (default: 2)")
    parser.add_argument("--small", action="store_true", help="a grid of few stages, and faults close together")
    parser.add_argument(
        "--work",
        type=Path,
        help="a folder to work in and to keep, with what launches said; its path must be short, because Ray makes "
        "sockets in it (default: one in /tmp that is taken away)",
    )
    parser.add_argument("--out", type=Path, help="JSON file to which the reports are added")
    return parser.parse_args()


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def is_flawless(report: dict[str, Any]) -> bool:
    same = report["same_predictions"] and report["same_tables"]
    return bool(report["finished"] and same and report["lost"] == report["repeated"] == 0)


def add_report(path: Path, report: dict[str, Any]) -> None:
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    which = ("store", "seed", "asked")
    runs = [run for run in runs if [run[name] for name in which] != [report[name] for name in which]]
    write_json(path, {"runs": sorted([*runs, report], key=lambda run: [run[name] for name in which])})


if __name__ == "__main__":
    sys.exit(main())
