"""One Ray runtime for as long as a block runs."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from data_prep.errors import UserError

# glibc keeps what a process has freed, in one heap: a step of a training would otherwise have its pages zeroed anew.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
}
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
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        if address is not None:
            _check_listening(address)
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        raise UserError(f"no Ray cluster at address {address!r} ({error}); start one with: ray start --head") from error
    try:
        yield
    finally:
        ray.shutdown()


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


def _check_listening(address: str) -> None:
    """Raise ConnectionError where nothing listens at `address` (host:port): ray.init would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.rpartition("//")[2].strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def try_runtime() -> float:
    """Start a runtime here and stop it; returns the CPUs it had. Raises UserError, OSError or RuntimeError."""
    with ray_session():
        import ray

        return float(ray.cluster_resources().get("CPU", 0))
