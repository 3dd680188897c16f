"""One Ray runtime for as long as a block runs."""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.scratch import PREFIX, Scratch, end_holders, scratch_folder
from data_prep.signals import handlers_kept, heard_in_the_end, set_again

# glibc keeps what a process has freed, in one heap: a step of a training would otherwise have its pages zeroed anew.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
}
DIED = 2  # of Ray's reasons why a node is not alive: UNEXPECTED_TERMINATION
LOOK_SECONDS, LOOKS = 2.0, 3  # at Ray's own processes: one that does not answer so many times in a row is gone
CONNECT_SECONDS = 10.0
NOT_STARTED = ("start_api_server", "start_monitor", "start_log_monitor")  # of a local runtime, by Ray's names
SOCKET = f"{PREFIX}12345678/session_2026-01-01_00-00-00_000000_{2**22}/sockets/plasma_store"  # the longest
LONGEST_SOCKET = (104 if sys.platform == "darwin" else 108) - 1  # bytes, as unix(7) has it
SHORT_PLACES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
SOCKETS = Path("/proc/net/unix")  # of Linux
SIGTERM_TRACE = b"*** SIGTERM received"
GROWS_TO = "SER_SWEEP_GROWS_TO"  # set by a cluster's file on its head: "CPU=32,GPU=8"


@contextmanager
def ray_session(address: str | None = None, preload: str = "") -> Iterator[None]:
    """Connect to the cluster at `address` ("auto" for the one this machine is part of), or start a local one, whose
    processes, one for each CPU, import the module `preload` while they wait for work.

    A runtime that is already up in this process is used and left as it is. Raises UserError where the cluster
    cannot be reached.
    """
    # Ray's own words would stand between the lines of the progress display.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    for name, value in ALLOCATOR.items():
        os.environ.setdefault(name, value)  # of the processes of a local runtime
    if address is None:
        # Nobody reads its metrics, and their exporter's thread stays when a second runtime starts in this process: it
        # then crashes, now and then, as the process ends.
        os.environ.setdefault("RAY_enable_open_telemetry", "0")
        if preload:
            os.environ.update(RAY_preload_python_modules=preload)
            # From when a trial is given its CPUs until it has a process, those that wait for it are one too many.
            os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # `uv run` would have the working folder packed
    import ray

    if ray.is_initialized():
        yield
        return
    with scratch_folder(None if address else _place_for_sockets()) as scratch:
        folder, lock = scratch
        # Ray's workers import from the folder it is started in before any other: the user's may hold a `sweep.py`.
        empty = folder / "empty"
        empty.mkdir()
        local: dict[str, Any] = {"include_dashboard": False, "_temp_dir": str(folder)} if address is None else {}
        try:
            if address is not None:
                _check_listening(address)
            with heard_in_the_end(), _started_as_we_need_it(lock), contextlib.chdir(empty):
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
        except (KeyboardInterrupt, SystemExit) as error:  # the latter is what Ray makes of SIGTERM
            _shut_down(scratch)
            raise KeyboardInterrupt from error
        except Exception as error:  # a runtime that does not start raises no kind of its own
            _shut_down(scratch)
            if address is None:
                raise UserError(
                    f"Ray does not start on this machine ({error}); its logs stay in {folder}/session_latest/logs "
                    "until the next start. --inline works without Ray"
                ) from error
            raise UserError(
                f"no Ray cluster at address {address!r} ({error}); start one with: ray start --head"
            ) from error
        try:
            yield
        finally:
            with handlers_kept():
                _shut_down(scratch)


def _shut_down(scratch: Scratch) -> None:
    """End the runtime, and its processes that would outlive it: a raylet that is still starting, or has much to do, is
    killed before it has ended those that it started, and they miss it only seconds later."""
    import ray

    ray.shutdown()
    end_holders(scratch)


@contextmanager
def _started_as_we_need_it(lock: int) -> Iterator[None]:
    """A block in which Ray's processes are started outside this process's group: what is sent to all of that, as by a
    terminal that closes, leaves them to be ended in order. They hold the `lock` on their folder, too.

    Those that nobody here asks for anything are not started: ray.init waits for the dashboard's, and all of them keep
    the cores from the trials. The dashboard's agent comes without the server of ray[default], which waits for a port
    where a second runtime is on the machine.
    """
    from ray._private import node, services, utils, worker

    started = partial(services.ConsolePopen, process_group=0, pass_fds=(lock,))
    replaced: dict[tuple[Any, str], Any] = {(services, "ConsolePopen"): started}
    replaced |= {(node.Node, name): _start_nothing for name in NOT_STARTED}
    replaced[utils, "set_sigterm_handler"] = _start_nothing  # ours stay
    replaced[worker, "connect"] = partial(_connected, worker.connect)
    replaced[utils, "get_dashboard_dependency_error"] = partial(ImportError, "not wanted")
    before = {place: getattr(*place) for place in replaced}
    for place, value in replaced.items():
        setattr(*place, value)
    try:
        yield
    finally:
        for place, value in before.items():
            setattr(*place, value)


def _connected(connect: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What `connect` does, without the trace with which Ray's C++ meets SIGTERM until Python's handler is set again."""
    with tempfile.TemporaryFile() as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            return connect(*given, **named)
        finally:
            set_again(signal.SIGTERM)
            os.dup2(stderr, 2)
            os.close(stderr)
            said.seek(0)
            words = said.read()
            if SIGTERM_TRACE not in words:
                os.write(2, words)


def _start_nothing(*_: Any, **__: Any) -> None: ...


def _place_for_sockets() -> Path:
    """Where temporary files are kept, by Ray's rules, or else a place whose paths are short enough for its sockets.

    Raises UserError where there is none.
    """
    asked = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    if len(os.fsencode(asked / SOCKET)) <= LONGEST_SOCKET:
        asked.mkdir(parents=True, exist_ok=True)
        return asked
    for place in SHORT_PLACES:
        if os.access(place, os.W_OK | os.X_OK):
            print(f"notice: {asked} is too long a path for Ray's sockets: its files go to {place}", file=sys.stderr)
            return place
    raise UserError(
        f"Ray cannot be started with its files in {asked}: it would have a socket at {asked}/{SOCKET}, whose path "
        f"may have at most {LONGEST_SOCKET} bytes. Set RAY_TMPDIR to a writable folder with a path of at "
        f"most {LONGEST_SOCKET - len(SOCKET) - 1} bytes, or run with --inline"
    )


def cluster_resources(address: str | None = None) -> dict[str, float]:
    """What the connected cluster has; of one at an `address`, what it will have with all that GROWS_TO names.

    Ray does not tell a driver what the autoscaler could add, and a cluster that starts from no worker has no GPU yet.
    Raises UserError where GROWS_TO cannot be read.
    """
    import ray

    resources = dict(ray.cluster_resources())
    if address is None:  # a runtime of this process's own has no autoscaler
        return resources
    for part in filter(None, os.environ.get(GROWS_TO, "").split(",")):
        name, _, amount = part.strip().partition("=")
        try:
            resources[name] = max(resources.get(name, 0.0), float(amount))
        except ValueError as error:
            raise UserError(f"{GROWS_TO}: {part!r} is not of the form GPU=8") from error
    return resources


@contextmanager
def breaks_off_without_ray(last_words: Callable[[str], object]) -> Iterator[None]:
    """A block within a session after which this process ends when Ray's own processes do, having said why.

    Ray would end it too, later and without a word. `last_words` is called first, in another thread, with the cause.
    """
    over = threading.Event()
    watching = threading.Thread(target=_watch, args=(over, last_words), name="ray", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _watch(over: threading.Event, last_words: Callable[[str], object]) -> None:
    import ray

    node: Any = ray._private.worker.global_worker.node
    processes = {"raylet": node.raylet_socket_name, "gcs_server": ray.get_runtime_context().gcs_address}
    missed = dict.fromkeys(processes, 0)
    while not over.wait(LOOK_SECONDS):
        for name, address in processes.items():
            missed[name] = 0 if _listens(address) else missed[name] + 1
        for name in (name for name, times in missed.items() if times >= LOOKS):
            cause = f"Ray's {name} at {processes[name]} does not answer any more: it was killed, or ran out of memory"
            with contextlib.suppress(Exception):
                last_words(cause)
            print(f"ser-sweep: {cause}. What is finished is kept; repeat the command to go on.", file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)


def _listens(address: str) -> bool:
    """Whether something listens at host:port, or at a socket of this machine."""
    with contextlib.suppress(OSError):  # a look that the raylet does not note in its log, as it does a connection
        if address.startswith("/") and address in SOCKETS.read_text():
            return True
    try:
        _connect(address)
    except OSError:
        return False
    return True


def _connect(address: str) -> None:
    if address.startswith("/"):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(CONNECT_SECONDS)
            one.connect(address)
        return
    host, _, port = address.rpartition("//")[2].rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _check_listening(address: str) -> None:
    """Raise ConnectionError where nothing listens at `address` (host:port, or what "auto" stands for): ray.init would
    wait for minutes."""
    from ray._private import services

    found = services.canonicalize_bootstrap_address("auto") if address == "auto" else address
    if found is None:
        raise ConnectionError("no runtime is known on this machine")
    if not found.rpartition(":")[2].isdigit():
        return
    try:
        _connect(found)
    except OSError as error:
        raise ConnectionError(f"{found}: {error}") from error


def try_runtime() -> float:
    """Start a runtime here and stop it; returns the CPUs it had. Raises UserError, OSError or RuntimeError."""
    with ray_session():
        import ray

        return float(ray.cluster_resources().get("CPU", 0))


@dataclass(frozen=True)
class Node:
    """A machine of the connected cluster: its name, or address where it was given none, what Ray says it has, and what
    became of what it was asked: an `answer`, or the `cause` of there being none."""

    name: str
    resources: dict[str, float]
    answer: Any = None
    cause: str = ""


def ask_each_node(question: Callable[..., Any], arguments: Sequence[Any], seconds: float) -> list[Node]:
    """Call the function `question` on every machine of the cluster, all at a time. One that does not answer within
    `seconds` is not waited for; one that left the cluster in an orderly way is none of it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked, gone = {}, []
    for one in ray.nodes():
        node = Node(one["NodeName"] or one["NodeManagerAddress"], one["Resources"])
        if one["Alive"]:
            there = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
            task = ray.remote(question).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
            asked[task.remote(*arguments)] = node
        elif one["DeathReason"] == DIED:
            gone.append(replace(node, cause=f"it died: {one['DeathReasonMessage']}"))
    ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
    told = [_answered(asked[one], one) for one in ready]
    return [*told, *(replace(asked[one], cause=f"no answer within {seconds:g} s") for one in silent), *gone]


def _answered(node: Node, reply: Any) -> Node:
    import ray
    from ray.exceptions import RayError

    try:
        return replace(node, answer=ray.get(reply))
    except RayError as error:
        return replace(node, cause=str(getattr(error, "cause", None) or error).strip().splitlines()[-1])
