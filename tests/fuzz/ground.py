"""Where cases are played: whole inputs to spoil, folders that a command is given, and a watch over all around them."""

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from joblib import parallel_config

from data_prep.corpora import read_manifest
from data_prep.prepare import prepare
from data_prep.synthetic import SyntheticCorpus, write_corpus
from ser_sweep.cli import main

MEMORY = 6 * 2**30  # bytes that the process may come to hold
SECONDS = 20.0  # of computing that a command may take: a hundred times what it does
WAIT_SECONDS = 240.0  # that it may take in all, on a machine that is busy
# How an error looks that nobody has thought of: in the message, or as the cause of a training that failed.
UNFORESEEN = re.compile(
    r"Traceback|ser-sweep: unexpected|\bArrow\w+: |"
    r"\b(Key|Type|Index|Attribute|Assertion|Value|Runtime|ZeroDivision|Overflow|Unicode\w*|Recursion|Memory|Unpickling)"
    r"Error: "
)
GRID: dict[str, Any] = {
    "corpora": ["synthetic"],
    "backbones": ["tiny"],
    "rules": ["bdsl"],
    "folds": 2,
    "training": {"epochs": 1, "every": 32},
    "weights": "all",
}


class TookTooLong(BaseException):
    """A command did not end."""


class UnforeseenError(AssertionError):
    """A command did what no command may."""


@dataclass(frozen=True)
class Outcome:
    status: int
    text: str
    seconds: float


class Ground:
    """Inputs that are whole below `root`, where nothing may change but in the folder of a case."""

    def __init__(self, root: Path, forests: bool = False) -> None:
        self.root = root
        self.whole = root / "deep" / "whole"
        self.case = root / "deep" / "case"
        (root / "outside").mkdir(parents=True)
        (root / "outside" / "stage.json").write_text("{}")
        (root / "outside.txt").write_text("outside")
        self.whole.mkdir(parents=True)
        manifest = write_corpus(self.whole / "audio", SyntheticCorpus(2, 1, ("anger", "neutral"), 4))
        prepare("synthetic", read_manifest(manifest), self.whole / "data", inline=True)
        self.grid = self.whole / "grid.yaml"
        self.grid.write_text(yaml.safe_dump(GRID), encoding="utf-8")
        place = [str(self.grid), "--data", str(self.whole / "data"), "--store", str(self.whole / "store")]
        trained = self._run(["run", *place, "--inline"])
        assert trained.status == 0, trained.text
        self.forests = forests  # whether there is time for decisions by forests
        if forests:
            assert self._run(["claims", *place]).status == 0
        self.recording = sorted((self.whole / "audio").rglob("*.wav"))[0]
        import librosa.core.audio  # noqa: F401 - it takes seconds, once

        self._before = self._seen()

    def fresh(self) -> Path:
        """An empty folder for the next case."""
        shutil.rmtree(self.case, ignore_errors=True)
        self.case.mkdir(parents=True)
        return self.case

    def copy(self, *names: str) -> Path:
        """A fresh folder that holds copies of some of what is whole."""
        self.fresh()
        for name in names:
            shutil.copytree(self.whole / name, self.case / name)
        return self.case

    def play(self, arguments: Sequence[str | Path], inputs: Sequence[Path] = ()) -> Outcome:
        """Run a command. Raises UnforeseenError where it does what none may; `inputs` may not be changed by it."""
        given = [seen(path) for path in inputs]
        try:
            outcome = self._run([str(argument) for argument in arguments])
        except TookTooLong as error:
            raise UnforeseenError(f"no end: {arguments}\n{''.join(traceback.format_tb(error.__traceback__))}") from None
        except BaseException as error:
            raise UnforeseenError(
                f"{type(error).__name__} came out of: {arguments}\n{traceback.format_exc()}"
            ) from error
        found = UNFORESEEN.search(outcome.text)
        if outcome.status not in (0, 1, 2) or found:
            raise UnforeseenError(f"status {outcome.status} of {arguments}:\n{outcome.text[-3000:]}")
        if outcome.status == 2 and not outcome.text.strip():
            raise UnforeseenError(f"no word why: {arguments}")
        after = self._seen()
        changed = {path for path in self._before.keys() | after.keys() if self._before.get(path) != after.get(path)}
        if changed:
            raise UnforeseenError(f"{arguments} changed {sorted(changed)[:5]}")
        for path, before in zip(inputs, given, strict=True):
            if seen(path) != before:
                raise UnforeseenError(f"{arguments} changed its input {path}")
        return outcome

    def _seen(self) -> dict[str, Any]:
        """All that is below the root, but the folder of a case."""
        return {name: about for name, about in seen(self.root).items() if not name.startswith("deep/case")}

    def _run(self, arguments: list[str]) -> Outcome:
        out = io.StringIO()
        begun = time.monotonic()
        with contextlib.redirect_stdout(Terminal(out)), contextlib.redirect_stderr(out), limits():
            try:
                with parallel_config(backend="sequential"):  # forests in processes of their own take seconds to begin
                    status = main(arguments)
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else 1
        return Outcome(status, out.getvalue(), time.monotonic() - begun)


class Terminal(io.TextIOBase):
    """A stream that takes what standard output in UTF-8 takes: no half characters, as the one for errors does."""

    def __init__(self, kept: io.StringIO) -> None:
        self._kept = kept

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode("utf-8")
        return self._kept.write(text)


def seen(path: Path) -> dict[str, Any]:
    """Every file below `path`, and what tells whether it has changed."""
    found: dict[str, Any] = {}
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            one = Path(folder) / name
            about = one.lstat()
            is_folder = one.is_dir() and not one.is_symlink()
            found[str(one.relative_to(path))] = None if is_folder else (about.st_size, about.st_mtime_ns, about.st_ino)
    return found


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """For a command: a time after which it is stopped, and a bound on memory, which is then MemoryError."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    memory = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, memory[1]))
    signal.setitimer(signal.ITIMER_REAL, WAIT_SECONDS)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_DATA, memory)
        for number, handler in handlers.items():
            signal.signal(number, handler)
