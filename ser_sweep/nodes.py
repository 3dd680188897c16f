"""Whether the machines of a cluster are fit to train: they answer, run this code, and see this store and this data.

ser-sweep doctor --address ADDRESS --store STORE --data DATA
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep.cluster import Node, ask_each_node, ray_session
from data_prep.data_folder import list_prepared
from data_prep.errors import UserError
from data_prep.files import canonical_hash
from data_prep.folders import Folder
from data_prep.shards import shard_problem
from data_prep.text import first_of
from ser_sweep.checks import CheckResult, State
from sweep.storage.provenance import versions

SECONDS = 120.0  # in which a node is to answer; it may have much data to read
ROOMS = ("data_prep", "dsl", "sweep")


@dataclass(frozen=True)
class Surroundings:
    """What a machine is and sees. `data` maps prepared corpora to a hash of what they are said to hold; `damaged` are
    shards that are not that. Nothing is known of a store or data that was not asked for."""

    code: str
    versions: dict[str, str]
    cpus: int
    gpus: int
    store_problem: str
    data: dict[str, str]
    damaged: tuple[str, ...]
    data_problem: str


def examine_nodes(
    address: str, store: str | None = None, data: str | None = None, seconds: float = SECONDS
) -> Iterator[CheckResult]:
    """What is to be said of each node of the cluster at `address`, beside this machine. None is waited for longer than
    `seconds`."""
    token = f"doctor-{uuid.uuid4().hex}"
    try:
        with _lying_in(store, token), ray_session(address):
            here, nodes = look(store, data, token), ask_each_node(look, (store, data, token), seconds)
    except (UserError, OSError) as error:
        yield CheckResult("cluster", State.PROBLEM, str(error), "check --address, and that its head runs")
        return
    yield CheckResult("cluster", State.OK, f"{len(nodes)} nodes")
    for node in nodes:
        problems = list(_problems(node, here, store, data))
        yield from problems
        if not problems:
            has = f"{node.answer.cpus} CPUs, {node.answer.gpus} GPUs"
            yield CheckResult(f"node {node.name}", State.OK, f"{has}, this code, this store and this data")


@contextmanager
def leaving_nothing(folder: Folder, name: str) -> Iterator[None]:
    """A block that may write a file `name` to a folder: neither that nor folders that were made for it stay."""
    path = folder.local_path("") if folder.is_local else None
    made = [one for one in (path, *path.parents) if not one.exists()] if path else []  # the innermost first
    try:
        yield
    finally:
        folder.delete(name)
        for one in made:
            one.rmdir()


@contextmanager
def _lying_in(store: str | None, token: str) -> Iterator[None]:
    """A block in which a file `token` lies in the store, where there is one to look at."""
    if store is None:
        yield
        return
    folder = Folder(store)
    with leaving_nothing(folder, token):
        folder.write(token, token.encode())
        yield


def look(store: str | None, data: str | None, token: str) -> Surroundings:
    """What the machine is and sees that this is called on. `token` is a file that lies in the store."""
    import torch

    held, damaged, data_problem = _data_here(data)
    return Surroundings(
        code=code_hash(),
        versions=versions(),
        cpus=os.cpu_count() or 1,
        gpus=torch.cuda.device_count(),
        store_problem="" if store is None else _store_problem(Folder(store), token),
        data=held,
        damaged=tuple(damaged),
        data_problem=data_problem,
    )


def code_hash() -> str:
    """Of the code of the rooms that trials run, as it lies on this machine."""
    root = Path(__file__).parents[1]
    files = sorted(path for room in ROOMS for path in (root / room).rglob("*.py"))
    found = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return canonical_hash(found, 12)


def _store_problem(folder: Folder, token: str) -> str:
    """What keeps trials here from the store that `token` was written to; nothing where nothing does."""
    own = f"{token}-{uuid.uuid4().hex}"
    try:
        if folder.read(token) != token.encode():
            return "it is another here: a file that was written to it is missing"
        folder.write(own, b"")
        folder.delete(own)
    except (UserError, OSError) as error:
        return str(error)
    return ""


def _data_here(data: str | None) -> tuple[dict[str, str], list[str], str]:
    """Corpora, damaged shards, and why there are none."""
    if data is None:
        return {}, [], ""
    held: dict[str, str] = {}
    damaged: list[str] = []
    try:
        for one in list_prepared(data)[0]:
            held[one.name] = canonical_hash(one.manifest, 12)
            folder = Folder(one.folder) / "shards"
            problems = (shard_problem(shard, folder.read(shard["file"])) for shard in one.manifest["shards"])
            damaged += [f"{one.name}: {problem}" for problem in problems if problem]
    except (UserError, OSError) as error:
        return held, damaged, str(error)
    return held, damaged, ""


def _problems(node: Node, here: Surroundings, store: str | None, data: str | None) -> Iterator[CheckResult]:
    what = f"node {node.name}"
    there: Surroundings | None = node.answer
    if there is None:
        remedy = "check that it is up, and that this version of the code is installed there"
        yield CheckResult(what, State.PROBLEM, f"it cannot be asked: {node.cause}", remedy)
        return
    if there.code != here.code:
        said = f"its code ({there.code}) is not that of this machine ({here.code})"
        yield CheckResult(what, State.PROBLEM, said, "install the same version of ser-dsl-sweep on all nodes")
    unlike = [
        f"{name} {there.versions.get(name, 'missing')}, here {here.versions.get(name, 'missing')}"
        for name in sorted({*there.versions, *here.versions})
        if there.versions.get(name) != here.versions.get(name)
    ]
    if unlike:
        remedy = "install the same on all nodes: last bits may differ"
        yield CheckResult(what, State.WARNING, "; ".join(unlike), remedy)
    if there.gpus < node.resources.get("GPU", 0):
        said = f"Ray counts {node.resources['GPU']:g} GPUs and torch finds {there.gpus}"
        yield CheckResult(what, State.PROBLEM, said, "check its driver with ser-sweep doctor there, and --num-gpus")
    if there.store_problem:
        remedy = "mount the same folder at the same path on all nodes, or use a store in S3"
        yield CheckResult(what, State.PROBLEM, f"store {store}: {there.store_problem}", remedy)
    yield from _data_problems(what, there, here, data)


def _data_problems(what: str, there: Surroundings, here: Surroundings, data: str | None) -> Iterator[CheckResult]:
    if there.data_problem and not here.data_problem:
        said = f"data {data}: {there.data_problem}"
        remedy = "trials get the data from the machine that launches them; only ser-sweep prepare needs it there"
        yield CheckResult(what, State.WARNING, said, remedy)
        return
    other = sorted(name for name, content in here.data.items() if there.data.get(name) != content)
    if other:
        said = f"data {data}: {', '.join(other)} is not what it is on this machine"
        yield CheckResult(what, State.PROBLEM, said, "copy it again, or mount the same folder on all nodes")
    if there.damaged:
        said = f"data {data}: {first_of(there.damaged)}"
        yield CheckResult(what, State.PROBLEM, said, "copy it again, or prepare it again")
