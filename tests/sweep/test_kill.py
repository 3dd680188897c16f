"""Kill a run at its worst moment and go on: nothing is lost, nothing is trained twice, the bits are the same."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

WriteGrid = Callable[..., Path]
# A stage must outlast the seconds in which Ray's workers notice that their driver is gone.
TRAINING = {"epochs": 16, "every": 1, "patience": 16}
GRID = {"rules": ["none", "bdsl"], "training": TRAINING, "resources": {"checkpoint_seconds": 0}}
FOLDS = 2
SECONDS = 180
TRIAL = "ray::ImplicitFunc"  # what Ray calls the processes of trials


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> dict[str, str]:
    """Key -> checksum of the predictions of an uninterrupted run of GRID."""
    folder = tmp_path_factory.mktemp("undisturbed")
    grid = {"corpora": ["synthetic"], "backbones": ["tiny"], "folds": FOLDS, **GRID}
    (folder / "grid.yaml").write_text(json.dumps(grid))
    command = [*SER_SWEEP, "run", str(folder / "grid.yaml"), "--data", str(small_data), "--store", str(folder / "s")]
    subprocess.run([*command, "--inline"], check=True, timeout=SECONDS, capture_output=True)
    return checksums(folder / "s")


SER_SWEEP = [sys.executable, "-m", "sweep.cli"]


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a `ser-sweep` process in a session of its own; whatever is left of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, before: Sequence[str] = (), **environment: str) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": os.environ | environment}
        command = [*before, *SER_SWEEP, *arguments]
        started.append(subprocess.Popen(command, start_new_session=True, preexec_fn=heed_ctrl_c, **pipes))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=SECONDS)


def heed_ctrl_c() -> None:
    """What a shell starts in the background inherits a deaf ear."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def checksums(store: Path) -> dict[str, str]:
    stages = [json.loads(path.read_text()) for path in (store / "stages").glob("*/stage.json")]
    return {stage["key"]: stage["predictions"]["sha256"] for stage in stages}


def committed(store: Path) -> dict[str, int]:
    """stage.json of every committed stage, with the time it was written: rewritten means trained again."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (store / "stages").glob("*/stage.json")}


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def in_the_middle(store: Path) -> Callable[[], bool]:
    """Iteration 0 is committed in all folds, and an iteration 1 has done its first epochs."""
    return lambda: len(committed(store)) >= FOLDS and any((store / "checkpoints").glob("[!.]*"))


def resumed_epochs(store: Path) -> list[int]:
    stages = [json.loads(path.read_text()) for path in (store / "stages").glob("*/stage.json")]
    return [stage["timing"]["resumed_at_epoch"] for stage in stages]


def descendants(pid: int) -> dict[int, str]:
    """Command lines of all processes below `pid`."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):  # it has ended meanwhile
            continue
    found: dict[int, str] = {}
    below = {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= {child: lines.get(child, "") for child in below}
    return found


def kernels_kept(where: str, folder: Path) -> dict[str, str]:
    """The environment of a process whose kernels are compiled by another one before, by itself, or kept nowhere."""
    if where == "full":
        return {}  # the cache that the undisturbed run has filled
    (folder / "file").touch()
    return {"NUMBA_CACHE_DIR": str(folder / where if where == "empty" else folder / "file" / where)}


@pytest.mark.parametrize(
    ("before", "after"), [("empty", "full"), ("full", "unwritable"), ("unwritable", "empty")], ids=lambda where: where
)
@pytest.mark.parametrize("flags", [["--inline"], []], ids=["inline", "ray"])
def test_a_killed_driver_loses_and_repeats_nothing_wherever_kernels_are_kept(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
    flags: list[str],
    before: str,
    after: str,
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), *flags]
    process = start(*command, **kernels_kept(before, tmp_path))
    wait_for(in_the_middle(store), process)
    process.send_signal(signal.SIGSTOP)  # so that the training is not over before its children are known
    below = descendants(process.pid)
    process.kill()
    process.wait()
    clear_away(below)
    there = committed(store)
    assert any((store / "checkpoints").glob("[!.]*"))

    again = start(*command, **kernels_kept(after, tmp_path))
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert f"{len(undisturbed) - len(there)} trained, {len(there)} were there before" in said
    assert there.items() <= committed(store).items(), "a committed stage was trained again"
    assert max(resumed_epochs(store)) >= 1, "the interrupted training began anew"
    assert checksums(store) == undisturbed
    assert not list((store / "checkpoints").iterdir())


def clear_away(processes: dict[int, str]) -> None:
    """Wait for a killed driver's trials to end by themselves, then end what else is left of its Ray runtime."""
    deadline = time.monotonic() + SECONDS
    while any(is_alive(pid) for pid, line in processes.items() if line.startswith(TRIAL)):
        assert time.monotonic() < deadline, "trials outlive their driver"
        time.sleep(0.1)
    for pid in filter(is_alive, processes):
        os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def test_a_killed_worker_is_replaced_and_its_training_goes_on(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
) -> None:
    store = tmp_path / "store"
    process = start("run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store))
    wait_for(in_the_middle(store), process)
    workers = [pid for pid, line in descendants(process.pid).items() if line.startswith(TRIAL)]
    assert workers, descendants(process.pid)
    before = committed(store)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert before.items() <= committed(store).items()
    assert max(resumed_epochs(store)) >= 1
    assert checksums(store) == undisturbed


def test_trials_that_ray_ends_for_want_of_memory_fail_and_the_store_is_good(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    grid = write_grid(**{**GRID, "resources": {"max_failures": 0}})
    command = ["run", str(grid), "--data", str(small_data), "--store", str(store)]
    with monkeypatch.context() as full:  # any machine counts as full, and is looked at every two seconds
        full.setenv("RAY_memory_usage_threshold", "0.01")
        full.setenv("RAY_memory_monitor_refresh_ms", "2000")
        process = start(*command)
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, said
    assert "FAILED" in said
    again = start(*command)
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert checksums(store) == undisturbed


# Ctrl-C, and what else a terminal sends, goes to every process in the foreground; SIGTERM mostly to one.
@pytest.mark.parametrize(
    ("number", "flags"),
    [
        (signal.SIGINT, ["--inline"]),
        (signal.SIGINT, []),
        (signal.SIGTERM, ["--inline"]),
        (signal.SIGTERM, []),
        (signal.SIGHUP, []),
    ],
    ids=["INT, inline", "INT, ray", "TERM, inline", "TERM, ray", "HUP, ray"],
)
def test_a_signal_stops_cleanly_and_says_how_to_go_on(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    undisturbed: dict[str, str],
    number: signal.Signals,
    flags: list[str],
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), *flags]
    process = start(*command)
    wait_for(in_the_middle(store), process)
    below = descendants(process.pid)
    (os.kill if number == signal.SIGTERM else os.killpg)(process.pid, number)
    assert_it_was_interrupted(process, store, command)
    assert not [line for pid, line in below.items() if is_alive(pid)]
    again = start(*command)
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert checksums(store) == undisturbed


def assert_it_was_interrupted(process: "subprocess.Popen[str]", store: Path, command: list[str]) -> None:
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert f"ser-sweep {' '.join(command)}" in said
    assert "Traceback" not in said and "***" not in said, "a trace of Ray's own"
    assert last_event(store)["interrupted"] is True
    assert not list((store / "leases").iterdir())


def last_event(store: Path) -> dict[str, Any]:
    """That of the only launch."""
    (log,) = (store / "events").iterdir()
    event: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    assert event["event"] == "finished", event
    return event


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as number 1")
def test_sigterm_stops_a_container_s_only_process(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), "--inline"]
    process = start(*command, before=["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
    wait_for(in_the_middle(store), process)
    (number_1,) = (pid for pid, line in descendants(process.pid).items() if "sweep.cli" in line)
    os.kill(number_1, signal.SIGTERM)
    assert_it_was_interrupted(process, store, command)


def test_a_terminal_that_closes_stops_a_run_in_it(small_data: Path, write_grid: WriteGrid, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store), "--inline"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*SER_SWEEP, *command])
    deadline = time.monotonic() + SECONDS
    while not in_the_middle(store)():
        assert time.monotonic() < deadline, "nothing happened"
        os.read(terminal, 1 << 16)  # it is stopped where nobody does
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert last_event(store)["interrupted"] is True


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_ray_s_own_processes_are_missed_in_our_words(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"], name: str
) -> None:
    store = tmp_path / "store"
    command = ["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", str(store)]
    process = start(*command)
    wait_for(in_the_middle(store), process)
    below = descendants(process.pid)
    (victim,) = (pid for pid, line in below.items() if line.partition(" ")[0].endswith(f"/{name}"))
    os.kill(victim, signal.SIGKILL)
    said, _ = process.communicate(timeout=SECONDS)
    clear_away(below)
    assert process.returncode == 1, said
    assert f"Ray's {name} at" in said and "does not answer any more" in said
    assert name in last_event(store)["cause"]
    assert not list((store / "leases").iterdir())
