"""Signals to a sweep at random moments, from its first second on: whether all of them end it in the same way.

    python benchmarks/signals.py --json benchmarks/results/signals.json
    python docs/figures.py

SIGINT, SIGTERM and SIGHUP go to the driver alone, to its whole process group, and to the driver as process number 1 of
a container (which needs root); on Ray and inline. What is looked at: exit status 130, how to go on, `interrupted` in
the event log, no lease and no process left. A signal in the first moments finds Python not up yet: what ends by the
signal itself, or while Python starts, and before anything was written is counted as `before it began`.

With `--way`, `--to` or `--signals` only these are tried, and replace their like in the file.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from measured import report

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANDLERS_SET = 1.0  # seconds after which Python has set its handlers: Linux drops what comes earlier to number 1
NUMBERED = "number 1"  # whom only root can send a signal
WHOM = ("driver", "group", NUMBERED)
WAYS = ("inline", "ray")
LENGTH = {"inline": 8.0, "ray": 20.0}  # seconds from a launch in which signals come
AS_IT_SHOULD, BEFORE = FINE = "as it should", "before it began"
PYTHON_STARTS = "Fatal Python error: init_"  # what Python says of itself where a signal comes before it is up
SAID = 4_000  # characters of what a run said, where something was wrong
SECONDS = 120.0  # after which a run that does not end is killed
GRID = {
    "corpora": ["synthetic"],
    "backbones": ["tiny"],
    "rules": ["none", "bdsl"],
    "folds": 4,
    "training": {"epochs": 60, "every": 1, "early_stopping": False},
}
NUMBER_1 = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@dataclass(frozen=True)
class Place:
    """Where it is tried: a prepared corpus, and a grid that outlasts every signal."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path) -> "Place":
        place = cls(folder)
        place.grid.write_text(json.dumps(GRID))
        subprocess.run([*ser_sweep("prepare", "synthetic"), "--out", str(place.data)], check=True, capture_output=True)
        return place

    @property
    def grid(self) -> Path:
        return self.folder / "grid.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data"


def ser_sweep(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ser_sweep.cli", *arguments]


def heed_all() -> None:
    """What a shell starts in the background inherits a deaf ear."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def tried(place: Place, number: signal.Signals, whom: str, way: str, moment: float) -> str:
    """What became of a run that got a signal after `moment` seconds: `as it should`, or what was wrong, which is told
    with the last that the run said."""
    store = Path(tempfile.mkdtemp(dir=place.folder))
    command = ser_sweep("run", str(place.grid), "--data", str(place.data), "--store", str(store))
    command += ["--inline"] if way == "inline" else []
    process = subprocess.Popen(
        [*(NUMBER_1 if whom == NUMBERED else []), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_all,
    )
    time.sleep(moment)
    below = psutil.Process(process.pid).children(recursive=True)
    if whom == "group":
        os.killpg(process.pid, number)
    elif whom == "driver":
        process.send_signal(number)
    elif below:
        below[0].send_signal(number)
    try:
        said, _ = process.communicate(timeout=SECONDS)
        left = [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        outcome = judged(process.returncode, number, said, store, bool(left))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        outcome = f"not over after {SECONDS:.0f} s"
    if outcome not in FINE:
        print(f"{number.name} to {whom}, {way}, after {moment:.2f} s: {outcome}\n{said[-SAID:]}", file=sys.stderr)
    return outcome


def judged(status: int, number: signal.Signals, said: str, store: Path, left: bool) -> str:
    files = [path.relative_to(store) for path in store.rglob("*") if path.is_file()]
    by_signal = status in (-number, 128 + number) and "interrupted" not in said
    if (by_signal or PYTHON_STARTS in said) and not files:
        return BEFORE
    events = [json.loads(line) for path in (store / "events").glob("*") for line in path.read_text().splitlines()]
    ended = [event for event in events if event["event"] == "finished"]
    wrong = {
        f"exit status {status}": status != 130,
        "how to go on is not said": "Go on with the same command:" not in said,
        "a trace": "Traceback" in said or "***" in said,
        "event log without an interrupted end": bool(events) and not (ended and ended[-1]["interrupted"]),
        "a lease is left": bool(list((store / "leases").glob("*.json"))),
        "a process is left": left,
    }
    return ", ".join(what for what, is_so in wrong.items() if is_so) or AS_IT_SHOULD


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20, help="random moments for each (default: 20)")
    parser.add_argument("--way", choices=WAYS, nargs="+", default=WAYS)
    parser.add_argument("--to", choices=WHOM, nargs="+", default=WHOM)
    parser.add_argument("--signals", choices=[one.name for one in SIGNALS], nargs="+", help="(default: all three)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="signals-") as folder:
        place = Place.prepare(Path(folder))
        chosen = [one for one in SIGNALS if options.signals is None or one.name in options.signals]
        for way in options.way:
            for whom in options.to if os.geteuid() == 0 else [one for one in options.to if one != NUMBERED]:
                for number in chosen:
                    first = HANDLERS_SET if whom == NUMBERED else 0
                    moments = [draw.uniform(first, LENGTH[way]) for _ in range(options.moments)]
                    outcomes = Counter(tried(place, number, whom, way, moment) for moment in moments)
                    found.append({"signal": number.name, "to": whom, "way": way, "outcomes": dict(outcomes)})
                    print(found[-1], file=sys.stderr, flush=True)
    kept = json.loads(options.json.read_text())["found"] if options.json and options.json.exists() else []
    tried_now = {cell_of(one) for one in found}
    found = sorted([one for one in kept if cell_of(one) not in tried_now] + found, key=cell_of)
    report({"moments": options.moments, "seconds": LENGTH, "found": found}, options.json)


def cell_of(one: dict[str, Any]) -> tuple[int, int, int]:
    """Where a result stands among all."""
    names = [number.name for number in SIGNALS]
    return WAYS.index(one["way"]), WHOM.index(one["to"]), names.index(one["signal"])


if __name__ == "__main__":
    main()
