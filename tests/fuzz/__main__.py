"""Fuzzing: whatever is wrong with a file that a command reads, it ends with one message.

python -m tests.fuzz --examples 6000 --seed 0 --out benchmarks/results/fuzz.json

Exit status: 0 where no case made a command fail in a way that nobody has thought of, hang, or write where it may not.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure

from data_prep.files import write_json
from sweep.storage.provenance import code_revision, versions
from tests.fuzz.cases import KINDS
from tests.fuzz.ground import SECONDS, Ground, Outcome, UnforeseenError


def main() -> int:
    options = parse()
    random.seed(options.seed)
    found: dict[str, Any] = {}
    if options.out is not None and options.out.exists():  # kinds that are not played again stay in the report
        found = json.loads(options.out.read_text(encoding="utf-8"))["kinds"]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.chdir(folder)
        ground = Ground(Path(folder) / "ground", forests=True)
        for kind in options.kind:
            found[kind] = fuzz(kind, options, ground)
            if options.out is not None:
                write_json(options.out, report_of(found))
    print(json.dumps(report_of(found), indent=2))
    return 1 if any(found[kind]["failures"] for kind in options.kind) else 0


def report_of(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "cases": sum(one["cases"] for one in found.values()),
        "failures": sum(len(one["failures"]) for one in found.values()),
        "seconds_allowed": SECONDS,
        "kinds": found,
        "versions": versions(),
    }


def fuzz(kind: str, options: argparse.Namespace, ground: Ground) -> dict[str, Any]:
    """Play cases of a kind; a failure ends a round, and the next one begins."""
    statuses: Counter[int] = Counter()
    slowest = 0.0
    cases = 0
    failures: list[str] = []
    original = Ground.play

    def counted(*arguments: Any, **more: Any) -> Outcome:
        nonlocal slowest, cases
        cases += 1
        outcome = original(ground, *arguments, **more)
        statuses[outcome.status] += 1
        slowest = max(slowest, outcome.seconds)
        return outcome

    ground.play = counted  # type: ignore[method-assign]
    share = options.examples * WEIGHTS[kind] // sum(WEIGHTS[one] for one in options.kind) + 1
    begun = time.monotonic()
    rounds = 0
    while cases < share and len(failures) < options.failures:

        @seed(options.seed * 1000 + rounds)
        @settings(
            max_examples=share - cases,
            report_multiple_bugs=False,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if options.shrink else [Phase.generate],
        )
        @given(st.data())
        def play(data: st.DataObject) -> None:
            KINDS[kind](ground, data)

        rounds += 1
        try:
            play()
        except (UnforeseenError, FlakyFailure) as error:
            inside = error.exceptions if isinstance(error, FlakyFailure) else (error,)
            failures += map(str, inside)
            print(f"{kind}: {failures[-1]}", file=sys.stderr, flush=True)
    print(
        f"{kind}: {cases} cases, {len(failures)} failures, {time.monotonic() - begun:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return {
        "cases": cases,
        "seed": options.seed,
        "revision": code_revision(),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "slowest_seconds": round(slowest, 3),
        "seconds": round(time.monotonic() - begun, 1),
        "failures": failures,
    }


WEIGHTS = {
    "grids": 25,
    "manifests": 12,
    "recordings": 12,
    "prepared corpora": 13,
    "stage folders": 16,
    "stores": 16,
    "arguments": 6,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Commands that meet spoilt input.")
    parser.add_argument("--examples", type=int, default=6000, help="cases in all (default: 6000)")
    parser.add_argument("--seed", type=int, default=0, help="of the cases (default: 0)")
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS), help="only these kinds")
    parser.add_argument("--failures", type=int, default=20, help="of a kind, after which it ends (default: 20)")
    parser.add_argument("--shrink", action="store_true", help="look for the smallest case of a failure")
    parser.add_argument("--out", type=lambda text: Path(text).absolute(), help="write the report to this file, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
