"""One Ray runtime for as long as a block runs."""

import contextlib
import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.signals import handlers_kept

# glibc keeps what a process has freed, in one heap: a step of a training would otherwise have its pages zeroed anew.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
}
LOOK_SECONDS, LOOKS = 2.0, 3  # at Ray's own processes: one that does not answer so many times in a row is gone
CONNECT_SECONDS = 10.0
SOCKETS = Path("/proc/net/unix")  # of Linux
GROWS_TO = "SER_SWEEP_GROWS_TO"  # set by a cluster's file on its head: "CPU=32,GPU=8"


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Connect to the cluster at `address` ("auto" for the one this machine is part of), or start a local one.

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
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # `uv run` would have the working folder packed
    import ray

    if ray.is_initialized():
        yield
        return
    # Ray's workers import from the folder it is started in before any other: the user's may hold a `sweep.py`.
    with tempfile.TemporaryDirectory(prefix="ser-sweep-") as empty:
        try:
            if address is not None:
                _check_listening(address)
            with handlers_kept(), _in_process_groups_of_their_own(), contextlib.chdir(empty):
                ray.init(
                    address=address or "local",
                    include_dashboard=False if address is None else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"no Ray cluster at address {address!r} ({error}); start one with: ray start --head"
            ) from error
        except (KeyboardInterrupt, SystemExit) as error:  # the latter is what Ray makes of SIGTERM
            ray.shutdown()
            raise KeyboardInterrupt from error
        try:
            yield
        finally:
            with handlers_kept():
                ray.shutdown()


@contextmanager
def _in_process_groups_of_their_own() -> Iterator[None]:
    """A block in which Ray's processes are started outside this process's group: what is sent to all of that, as by a
    terminal that closes, leaves them to be ended in order."""
    from ray._private import services

    before = services.ConsolePopen
    setattr(services, before.__name__, partial(before, process_group=0))
    try:
        yield
    finally:
        setattr(services, before.__name__, before)


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
