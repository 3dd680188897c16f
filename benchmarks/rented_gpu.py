"""All that is to be known from a GPU that is rented by the minute, in two calls that end in time whatever happens.

python benchmarks/rented_gpu.py 1 --data DATA --out OUT
python benchmarks/rented_gpu.py 2 --data DATA --out OUT --take-up PACKS
python benchmarks/rented_gpu.py unpack PACKS/*.tar --store STORE
python benchmarks/rented_gpu.py fetch STORE --out OUT --seconds 200 --stages 10

The first call asks whether what is trained is right, the second how fast, and both train stages of the grid. A call is
a list of jobs, the most valuable first. Each is a process of its own (`gpu_jobs.py`) with its own limit: one that
fails, hangs or is out of time is a line among the results, and stops nothing. What a job has found stands in
OUT/results.jsonl as soon as it says so, what it complains of in OUT/log.txt. Stages come to OUT as they are finished
(`stage_packs.py`). docs/rented_gpu.md tells the rest. `--device cpu --backbones tiny` tries it all out.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any

STARTED = time.monotonic()
ROOT = Path(__file__).parents[1]
JOBS = Path(__file__).with_name("gpu_jobs.py")
PAPER = ("efficientnet_b0", "mobilenetv2", "densenet22", "vgg19")  # the one whose stages are trained comes first
FAULTS = ("capture_raises", "capture_out_of_memory", "other_bits", "empty_cache_raises", "little_memory")
RESERVE = 6.0  # seconds before the deadline at which no job runs any more
SHORTEST = 5.0  # seconds without which no job is started
BETWEEN_PACKS = 15.0  # seconds

Facts = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A process that is to find something out: function `what` of gpu_jobs.py with `arguments`, for at most `limit`
    seconds. Those of one `group` that follow one another run at the same time. When its time is up, it is interrupted,
    and killed `grace` seconds later."""

    what: str
    limit: float
    arguments: Facts = field(default_factory=dict)
    group: str | None = None
    grace: float = 1.0

    @property
    def name(self) -> str:
        return " ".join([self.what, *(self.arguments[one] for one in ("backbone", "fault") if one in self.arguments)])


def first_call(backbones: Sequence[str]) -> list[Job]:
    """Whether the same bits come out. Bits do not depend on what else a GPU does: these jobs run at the same time."""
    first, bits = backbones[0], "bits"
    return [
        Job("versions", 60, group=bits),
        Job("layers", 100, {"backbone": first, "timed": False}, bits),
        *(Job("parity", 110, {"backbone": one}, bits) for one in backbones),
        *(Job("drill", 90, {"backbone": first, "fault": one}, bits) for one in FAULTS),
        Job("shared", 110, {"backbone": first}, bits),
        Job("layouts", 50, {"backbone": first}),
        Job("stages", 150, {"backbone": first, "parts": 1, "folds": 1, "fuse": 1}, grace=8.0),
        *(Job("layouts", 40, {"backbone": one}) for one in backbones[1:]),
    ]


def second_call(backbones: Sequence[str], fuse: int) -> list[Job]:
    """How fast it is: each measurement has the GPU to itself. What time is left goes to stages of the grid, while the
    compiler has the CPU."""
    first, rest = backbones[0], "rest"
    return [
        Job("versions", 60),
        Job("layers", 100, {"backbone": first, "timed": True}),  # compiles the kernels, for all jobs that follow
        Job("rates", 110, {"backbone": first, "at_once": [1, 4, 8, 11, 2]}),
        *(Job("rates", 50, {"backbone": one, "at_once": [1, 8, 4]}) for one in backbones[1:]),
        Job("processes", 80, {"backbone": first}),
        Job("stages", 300, {"backbone": first, "fuse": fuse}, rest, grace=8.0),
        Job("compiled", 300, {"backbone": first}, rest),
    ]


class Results:
    """What was found, line by line on disk; and what jobs complained of."""

    def __init__(self, out: Path, call: str) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._call = call
        self._lock = threading.Lock()
        self._results = (out / "results.jsonl").open("a", encoding="utf-8")
        self._log = (out / "log.txt").open("a", encoding="utf-8")
        self.errors = 0

    def say(self, job: str, **facts: Any) -> None:
        with self._lock:
            self.errors += "error" in facts
            line = {"call": self._call, "job": job, "at": round(time.monotonic() - STARTED, 2), **facts}
            self._results.write(json.dumps(line) + "\n")
            self._results.flush()

    def log(self, job: str, line: str) -> None:
        with self._lock:
            self._log.write(f"{job}: {line.rstrip()}\n")
            self._log.flush()


class Running:
    """A job at work."""

    def __init__(self, job: Job, common: Facts, until: float, results: Results) -> None:
        self.job = job
        self._results = results
        self._began = time.monotonic()
        self._ends = min(self._began + job.limit, until - job.grace)
        self._told = False  # that its time is up
        self._complaint = ""
        asked = {**common, **job.arguments, "what": job.what}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, str(JOBS), json.dumps(asked)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, take), daemon=True)
            for stream, take in ((self._process.stdout, self._take), (self._process.stderr, self._complain))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def over(self) -> bool:
        """Whether it has ended; one whose time is up is brought to its end."""
        if self._process.poll() is not None:
            return True
        now = time.monotonic()
        if now > self._ends + self.job.grace:
            self._signal(signal.SIGKILL)
            self._process.wait()
            return True
        if now > self._ends and not self._told:
            self._told = True
            self._signal(signal.SIGINT)
        return False

    def close(self) -> str:
        """End what it has left behind, and say how it ended: `ok` or `failed`."""
        self._signal(signal.SIGKILL)
        for reader in self._readers:
            reader.join(timeout=2.0)
        status, seconds = self._process.returncode, round(time.monotonic() - self._began, 2)
        if status == 0:
            self._results.say(self.job.name, ended="ok", seconds=seconds)
            return "ok"
        cause = f"not within {self._ends - self._began:.0f} s" if self._told else self._complaint or "no word"
        self._results.say(self.job.name, ended="failed", error=cause, exit=status, seconds=seconds)
        return "failed"

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self, stream: IO[str], take: Callable[[str], None]) -> None:
        for line in stream:
            take(line)

    def _take(self, line: str) -> None:
        try:
            found = json.loads(line)
            self._results.say(self.job.name, **{**self.job.arguments, **found})
        except (ValueError, TypeError):
            self._results.log(self.job.name, line)

    def _complain(self, line: str) -> None:
        self._complaint = line.strip() or self._complaint
        self._results.log(self.job.name, line)


class Call:
    """One call of the program, from its first job to its last."""

    def __init__(self, options: argparse.Namespace, results: Results, scratch: Path) -> None:
        self._results = results
        self._until = STARTED + options.deadline - RESERVE
        self._alone = scratch / "alone"  # is there while one job has the GPU to itself
        self._common = {
            **{name: getattr(options, name) for name in ("corpus", "device", "window", "threads", "batches")},
            **{name: str(getattr(options, name).resolve()) for name in ("data", "grid")},
            "store": str(options.store),
            "alone": str(self._alone),
        }
        self._out, self._store = options.out, options.store
        self._packer: Any = None
        self._packed = time.monotonic()
        self.outcomes: list[tuple[str, str]] = []

    def begin(self, packs: Path | None) -> None:
        """Take up the stages of an earlier call. What is in the store now has come home before."""
        try:
            from stage_packs import Packer, unpack

            if packs is not None:
                keys, problems = unpack(sorted(packs.glob("*.tar")), self._store)
                self._results.say("take up", stages=len(keys), **({"error": "; ".join(problems)} if problems else {}))
            if self._store.exists():
                self._packer = Packer(self._store, self._out)
                self._packer.leave_out()
        except Exception as error:  # the jobs are run all the same
            self._results.say("take up", error=f"{type(error).__name__}: {error}")

    def run(self, jobs: Sequence[Job]) -> None:
        for _, together in groupby(enumerate(jobs), key=lambda item: item[1].group or item[0]):
            self._run_together([job for _, job in together])
        self.pack()

    def _run_together(self, jobs: Sequence[Job]) -> None:
        if self._until - time.monotonic() < SHORTEST + max(job.grace for job in jobs):
            for job in jobs:
                self._results.say(job.name, **job.arguments, skipped="no time left")
                self.outcomes.append((job.name, "skipped"))
            return
        self._alone.unlink(missing_ok=True)
        running = [Running(job, self._common, self._until, self._results) for job in jobs]
        while running:
            if len(running) == 1:
                self._alone.touch()
            for one in [one for one in running if one.over]:
                running.remove(one)
                self.outcomes.append((one.job.name, one.close()))
            if time.monotonic() - self._packed > BETWEEN_PACKS:
                self.pack()
            time.sleep(0.05)

    def pack(self) -> None:
        """Bring stages home that are new."""
        self._packed = time.monotonic()
        try:
            if self._packer is None:
                from stage_packs import Packer

                self._packer = Packer(self._store, self._out)
            for facts in self._packer.pack():
                self._results.say("pack", **facts)
            self._packer.write()
        except Exception as error:  # the jobs go on
            self._results.say("pack", error=f"{type(error).__name__}: {error}")


def chosen(jobs: Sequence[Job], names: Sequence[str]) -> list[Job]:
    """The jobs whose names begin with one of `names`, in the order of those."""
    return list({job.name: job for name in names for job in jobs if job.name.startswith(name)}.values())


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """The jobs of a call. Raises ValueError for options that name none."""
    jobs = first_call(options.backbones) if options.what == "1" else second_call(options.backbones, options.fuse)
    names = [job.name for job in jobs]
    for name in options.jobs or ():
        if not any(one.startswith(name) for one in names):
            raise ValueError(f"--jobs: no job's name begins with {name!r}; there are {', '.join(names)}")
    limits: dict[str, float] = {}
    for limit in options.limit:
        name, _, seconds = limit.rpartition("=")
        if name not in names or not seconds.replace(".", "", 1).isdigit():
            raise ValueError(f"--limit {limit!r} is not NAME=SECONDS of one of {', '.join(names)}")
        limits[name] = float(seconds)
    if options.take_up is not None and not any(options.take_up.glob("*.tar")):
        raise ValueError(f"--take-up {options.take_up} holds no pack of stages (*.tar)")
    jobs = [Job(**one) for one in options.also] + (chosen(jobs, options.jobs) if options.jobs is not None else jobs)
    return [replace(job, limit=limits.get(job.name, job.limit)) for job in jobs]


def call(options: argparse.Namespace) -> None:
    try:
        jobs = jobs_of(options)
    except ValueError as error:
        sys.exit(str(error))
    results = Results(options.out, options.what)
    with tempfile.TemporaryDirectory(prefix="rented-gpu-", ignore_cleanup_errors=True) as scratch:
        options.store = (options.store or Path(scratch) / "store").resolve()
        one = Call(options, results, Path(scratch))
        one.begin(options.take_up)
        one.run(jobs)
    counts = Counter(outcome for _, outcome in one.outcomes)
    ended = {name: counts[name] for name in ("ok", "failed", "skipped")}
    results.say("end", **ended, errors=results.errors, seconds=round(time.monotonic() - STARTED, 1))
    for name, outcome in one.outcomes:
        print(f"{outcome:8} {name}")
    print(json.dumps(ended))


def unpack_here(options: argparse.Namespace) -> None:
    from stage_packs import note_fetched, unpack

    keys, problems = unpack(options.packs, options.store)
    print(f"{len(keys)} stages unpacked into {options.store}")
    if options.fetched:
        note_fetched(options.store, keys)
    if problems:
        sys.exit("\n".join(problems))


def fetch_here(options: argparse.Namespace) -> None:
    from stage_packs import fetch

    told = fetch(options.stores, options.out, options.seconds, options.stages)
    with (options.out / "packs.jsonl").open("a", encoding="utf-8") as log:
        log.writelines(json.dumps(facts) + "\n" for facts in told)
    packed = sum(facts["pack"] is not None for facts in told)
    print(f"{packed} stages in {options.out}, {len(told) - packed} for which it has no room left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", metavar="1 | 2 | fetch | unpack", required=True)
    for what, help in (("1", "whether it is right"), ("2", "how fast it is")):
        one = commands.add_parser(what, help=help)
        one.set_defaults(run=call)
        one.add_argument("--data", type=Path, required=True, help="the folder of prepared corpora")
        one.add_argument("--out", type=Path, required=True, help="the folder that comes home")
        one.add_argument("--corpus", default="emodb")
        one.add_argument("--grid", type=Path, default=ROOT / "configs" / "emodb_paper.yaml")
        one.add_argument("--backbones", nargs="+", default=list(PAPER), help="stages are those of the first")
        one.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
        one.add_argument("--deadline", type=float, default=330.0, help="seconds from the first line to the last")
        one.add_argument("--window", type=float, default=3.0, help="seconds over which a rate is measured")
        one.add_argument("--batches", type=int, default=40, help="of an epoch in which bits are compared")
        one.add_argument("--threads", type=int, default=4)
        one.add_argument("--fuse", type=int, default=10, help="networks side by side in the second call's stages")
        one.add_argument("--store", type=Path, help="store of the stages (default: one that goes with the program)")
        one.add_argument("--take-up", type=Path, help="folder of packs of an earlier call")
        one.add_argument("--jobs", nargs="*", metavar="NAME", help="only those whose names begin so, in this order")
        one.add_argument("--limit", nargs="+", default=[], metavar="NAME=SECONDS", help="of a job")
        one.add_argument("--also", type=json.loads, default=[], help=argparse.SUPPRESS)  # jobs before the others
    one = commands.add_parser("unpack", help="take stages that came home into a store")
    one.set_defaults(run=unpack_here)
    one.add_argument("packs", type=Path, nargs="+")
    one.add_argument("--store", type=Path, required=True)
    one.add_argument("--fetched", action="store_true", help="on the rented machine: fetch is not to bring them home")
    one = commands.add_parser("fetch", help="wait for finished stages of stores that are trained into, and pack them")
    one.set_defaults(run=fetch_here)
    one.add_argument("stores", type=Path, nargs="+")
    one.add_argument("--out", type=Path, required=True, help="the folder that comes home: a new one for each call")
    one.add_argument("--seconds", type=float, default=200.0, help="after which what there is is packed")
    one.add_argument("--stages", type=int, default=16, help="at which it is packed at once")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # where the project is not installed
    main()
