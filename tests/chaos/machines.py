"""A Ray cluster of several nodes on this machine, whose workers and nodes can be killed."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRIAL = "ray::ImplicitFunc"  # what Ray calls the processes of trials
NODE = {"num_cpus": 2, "num_gpus": 1}  # pretended: a machine has as many as one says


class Machines:
    """The nodes of a cluster: a head that computes nothing and is never lost, and others that come and go."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._nodes: list[Any] = []

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    @property
    def count(self) -> int:
        return len(self._nodes)

    def add(self) -> None:
        self._nodes.append(self._cluster.add_node(**NODE))

    def remove(self, place: int) -> None:
        """Lose a machine with all that runs on it, without a word."""
        node = self._nodes.pop(place)
        below = [pid for pid, _ in self._below(node)]
        self._cluster.remove_node(node, allow_graceful=False)
        for pid in below:
            kill(pid)

    def trials(self) -> list[int]:
        """The processes that train, on all nodes."""
        return [pid for node in self._nodes for pid, line in self._below(node) if line.startswith(TRIAL)]

    @staticmethod
    def _below(node: Any) -> list[tuple[int, str]]:
        """Process and command line of what a node has started."""
        roots = {process.process.pid for listed in node.all_processes.values() for process in listed}
        return [(pid, line) for pid, line in descendants(roots).items() if pid not in roots]


@contextmanager
def cluster_of(nodes: int) -> Iterator[Machines]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        machines = Machines(cluster)
        for _ in range(nodes):
            machines.add()
        yield machines
    finally:
        below = descendants({os.getpid()})
        cluster.shutdown()
        for pid, line in below.items():
            if line.startswith("ray::"):
                kill(pid)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(roots: set[int]) -> dict[int, str]:
    """Command lines of all processes below `roots`."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):  # it has ended meanwhile
            continue
    found: dict[int, str] = {}
    below = set(roots)
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= {child: lines.get(child, "") for child in below}
    return found
