"""Whether this machine can run a sweep: versions, devices, Ray, the store, room, clock. Each result has its remedy.

ser-sweep doctor --store STORE --data DATA
"""

import importlib
import os
import platform
import re
import resource
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from data_prep.cluster import try_runtime
from data_prep.data_folder import list_prepared
from data_prep.errors import UserError
from data_prep.folders import Folder
from data_prep.shards import PreparedCorpus, is_compared, shards_of_other_sound
from data_prep.text import counted, first_of
from ser_sweep.checks import CheckResult, State
from ser_sweep.nodes import examine_nodes, leaving_nothing
from sweep.storage.store import Store

PACKAGE = "ser-dsl-sweep"
LOCK = Path(__file__).parents[1] / "requirements.lock"  # in a checkout
MADE_FOR_ONE_ANOTHER = ("torch", "torchvision", "torchaudio")
GB = 1e9
LITTLE_DISK, TOO_LITTLE_DISK = 10 * GB, 1 * GB
LITTLE_SHARED_MEMORY = 1 * GB
FEW_FILES = 8192  # that may be open at once
SKEW, TOO_MUCH_SKEW = 5.0, 30.0  # seconds; a lease is over after 60


def examine(
    store: str | None = None,
    data: str | None = None,
    ray: bool = False,
    address: str | None = None,
    look: Callable[[str], None] = lambda what: None,
) -> Iterator[CheckResult]:
    """Everything that can be told; of the store and the data where they are given. With `ray`, a runtime is started;
    with `address`, every node of the cluster there is looked at.

    `look` is told what is looked at next.
    """
    checks: list[tuple[str, Callable[[], Iterator[CheckResult]]]] = [
        *(("Python", check_python), ("packages", check_packages), ("torch", check_torch), ("devices", check_devices)),
        *(("Ray", lambda: check_ray(ray)), ("threads", check_threads), ("open files", check_open_files)),
        *(("shared memory", check_shared_memory), ("temporary files", check_temporary)),
    ]
    if store is not None:
        checks.append(("store", lambda: check_store(store)))
    if data is not None:
        checks.append(("data", lambda: check_data(data)))
    if address is not None:
        checks.append(("nodes", lambda: examine_nodes(address, store, data)))
    for what, check in checks:
        look(what)
        yield from check()


def check_python() -> Iterator[CheckResult]:
    """Whether this Python is one that the package asks for."""
    wanted = metadata.metadata(PACKAGE)["Requires-Python"]
    here = platform.python_version()
    if Requirement(f"python{wanted}").specifier.contains(here):
        yield CheckResult("python", State.OK, here)
    else:
        yield CheckResult("python", State.PROBLEM, f"{here}, and {wanted} is needed", "make PYTHON=python3.11 setup")


def check_packages() -> Iterator[CheckResult]:
    """Against what the package asks for and, in a checkout, against its lock file."""
    wanted = [Requirement(line) for line in metadata.requires(PACKAGE) or ()]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [said for one in needed if (said := unmet(one)) is not None]
    if wrong:
        yield CheckResult("packages", State.PROBLEM, "; ".join(wrong), "make setup, or pip install ser-dsl-sweep")
    else:
        yield CheckResult("packages", State.OK, f"{len(needed)} as the package requires")
    if LOCK.is_file():
        other = [f"{name} {here}" for name, here in unlocked(LOCK.read_text(encoding="utf-8"))]
        if other:
            said = f"{counted(len(other), 'other version')}: {first_of(other, 8)}"
            yield CheckResult("lock file", State.WARNING, said, "make setup")
        else:
            yield CheckResult("lock file", State.OK, "the installed versions match")


def unmet(wanted: Requirement) -> str | None:
    """In which way a requirement is not met here; None where it is."""
    try:
        here = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"{wanted.name} is missing"
    return (
        None if wanted.specifier.contains(here, prereleases=True) else f"{wanted.name} {here} is not {wanted.specifier}"
    )


def unlocked(lock: str) -> Iterator[tuple[str, str]]:
    """What is installed in another version than any that a lock file has of it."""
    locked: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", lock, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), set()).add(Version(version))
    for name, versions in sorted(locked.items()):
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # for another machine, or of an extra that is not wanted
        if Version(Version(here).public) not in versions:
            yield name, here


def check_torch() -> Iterator[CheckResult]:
    """Releases of torch and its companions are made for one another; others fail when they are loaded."""
    try:
        for name in MADE_FOR_ONE_ANOTHER:
            importlib.import_module(name)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        said = f"{', '.join(MADE_FOR_ONE_ANOTHER)} do not load together: {str(error).splitlines()[0]}"
        yield CheckResult("torch", State.PROBLEM, said, "make setup: it installs releases made for one another")
        return
    versions = {name: metadata.version(name) for name in MADE_FOR_ONE_ANOTHER}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    if Version(versions["torch"]).release[:2] != Version(versions["torchaudio"]).release[:2]:
        yield CheckResult("torch", State.PROBLEM, f"{told} are not made for one another", "make setup")
    else:
        yield CheckResult("torch", State.OK, told)


def check_devices() -> Iterator[CheckResult]:
    """The GPUs that torch finds, and whether a driver has one that it does not."""
    import torch

    driver = nvidia_driver()
    if not torch.cuda.is_available():
        if driver is not None:
            said = f"the driver {driver} has a GPU, and torch {torch.__version__} (CUDA {torch.version.cuda}) none"
            yield CheckResult("devices", State.PROBLEM, said, "update the driver, or install a torch for its CUDA")
        else:
            yield CheckResult("devices", State.OK, f"no GPU: trainings run on {os.cpu_count()} CPU cores")
        return
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        said = f"{torch.cuda.get_device_name(number)}, driver {driver}, {free / GB:.1f} of {total / GB:.1f} GB free"
        if free < total / 4:
            yield CheckResult(f"GPU {number}", State.WARNING, said, "something else uses it: see nvidia-smi")
        else:
            yield CheckResult(f"GPU {number}", State.OK, said)
    pipes = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    if (pipes / "control").exists():
        yield CheckResult("MPS", State.OK, "its daemon runs: trials that share a GPU run side by side")
    else:
        said = "no MPS daemon: trials that share a GPU take turns"
        yield CheckResult("MPS", State.WARNING, said, "nvidia-cuda-mps-control -d, before ser-sweep run")


def nvidia_driver() -> str | None:
    """The version of the driver of the first GPU; None where there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


def check_ray(start: bool) -> Iterator[CheckResult]:
    """Whether Ray is installed and, with `start`, whether it starts here."""
    try:
        importlib.import_module("ray")
    except ImportError as error:
        yield CheckResult("ray", State.PROBLEM, str(error), "make setup, or run with --inline")
        return
    version = metadata.version("ray")
    if not start:
        yield CheckResult("ray", State.OK, f"{version}; --ray starts a runtime to try it")
        return
    begun = time.monotonic()
    try:
        cpus = try_runtime()
    except (UserError, OSError, RuntimeError) as error:
        yield CheckResult("ray", State.PROBLEM, str(error), "see its logs, or run with --inline")
    else:
        said = f"{version}; a runtime with {cpus:g} CPUs started and stopped in {time.monotonic() - begun:.0f} s"
        yield CheckResult("ray", State.OK, said)


def check_threads() -> Iterator[CheckResult]:
    """How many cores there are, and whether OMP_NUM_THREADS asks for more."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > here:
        said = f"OMP_NUM_THREADS is {asked}, and {counted(here, 'core')} may be used"
        yield CheckResult("threads", State.WARNING, said, "unset OMP_NUM_THREADS; resources.cpu of a grid sets it")
    else:
        yield CheckResult("threads", State.OK, f"{counted(here, 'core')} may be used")


def check_open_files() -> Iterator[CheckResult]:
    """How many files may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = [("no limit" if limit == resource.RLIM_INFINITY else f"{limit:,}") for limit in (soft, hard)]
    if hard != resource.RLIM_INFINITY and hard < FEW_FILES:
        said = f"{told[1]} files may be open at once; Ray needs more with many workers"
        yield CheckResult(
            "open files", State.WARNING, said, "raise the hard limit (ulimit -Hn, /etc/security/limits.conf)"
        )
    else:
        yield CheckResult("open files", State.OK, f"{told[0]}, up to {told[1]}")


def check_shared_memory() -> Iterator[CheckResult]:
    """Whether /dev/shm has room for corpora."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return
    size = shutil.disk_usage(place).total
    if size < LITTLE_SHARED_MEMORY:
        said = f"{size / GB:.2f} GB: Ray then keeps corpora on the disk"
        yield CheckResult("/dev/shm", State.WARNING, said, "in a container: docker run --shm-size=4g")
    else:
        yield CheckResult("/dev/shm", State.OK, f"{size / GB:.1f} GB")


def check_temporary() -> Iterator[CheckResult]:
    """The room on the disk of temporary files."""
    yield _room("disk of /tmp", Path(os.environ.get("TMPDIR", "/tmp")))


def _room(what: str, path: Path) -> CheckResult:
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / GB:,.1f} GB free"
    if free < LITTLE_DISK:
        state = State.PROBLEM if free < TOO_LITTLE_DISK else State.WARNING
        return CheckResult(what, state, said, "make room: ser-sweep store gc lists what no grid needs")
    return CheckResult(what, State.OK, said)


def check_store(uri: str) -> Iterator[CheckResult]:
    """What is there, whether it can be used, and whether its clock is this machine's. Nothing of the trial stays."""
    try:
        store = Store(uri)
        held = counted(len(store.keys_like("")), "stage") if store.exists else "not there yet: ser-sweep run makes it"
        store.require_predictions()  # nothing is tried where results are kept
        yield CheckResult("store", State.OK, held)
        yield from _try_folder(store.folder)
        if store.exists:
            store.check_writable()
    except (UserError, OSError) as error:
        remedy = "give another --store, or check the rights on it and, of an object store, keys, region and endpoint"
        yield CheckResult("store", State.PROBLEM, str(error), remedy)
        return
    if store.folder.is_local:
        yield _room("disk of the store", store.folder.local_path(""))


def _try_folder(folder: Folder) -> Iterator[CheckResult]:
    """Write, read, list and delete a file, and look at its age."""
    name, content = f"doctor-{uuid.uuid4().hex}", os.urandom(64)
    failed = ""
    skew = 0.0
    with leaving_nothing(folder, name):
        before = time.time()
        folder.write(name, content)
        after = time.time()
        modified = folder.modified(name)
        if folder.read(name) != content:
            failed = "what was written is not what is read"
        elif name not in {str(entry.path) for entry in folder.entries()} or modified is None:
            failed = "what was written is not listed"
        else:  # an object store may tell whole seconds
            skew = max(before - 1 - modified, modified - after, 0.0)
    if not failed and folder.modified(name) is not None:
        failed = "what was deleted is still there"
    if failed:
        yield CheckResult(
            "store access", State.PROBLEM, failed, "use a store on a disk, a mount or in S3 that is consistent"
        )
    else:
        yield CheckResult("store access", State.OK, "a file was written, renamed, read, listed and deleted")
    yield clock_result(skew)


def clock_result(skew: float) -> CheckResult:
    """What it means that the storage's clock and this machine's are `skew` seconds apart."""
    if skew < SKEW:
        return CheckResult("clock", State.OK, "as the store's")
    state = State.PROBLEM if skew >= TOO_MUCH_SKEW else State.WARNING
    said = f"{skew:.0f} s apart from the store's: launches may take running ones for ended"
    return CheckResult("clock", state, said, "let both follow a time server (timedatectl set-ntp true)")


def check_data(uri: str) -> Iterator[CheckResult]:
    """The corpora in a data folder, and those in it that cannot be read."""
    try:
        found, unreadable = list_prepared(uri)
    except (UserError, OSError) as error:
        yield CheckResult("data", State.PROBLEM, str(error), "prepare the corpus: ser-sweep prepare --help")
        return
    for why in unreadable.values():
        yield CheckResult("data", State.PROBLEM, str(why), "do what it says, or move it away; other corpora are read")
    if not found:
        yield CheckResult("data", State.WARNING, "no prepared corpus", "ser-sweep prepare CORPUS --out DATA")
    yield from map(_examine_corpus, found)


def _examine_corpus(one: PreparedCorpus) -> CheckResult:
    """Whether shards are there, and of the audio that they should be of."""
    shards = one.manifest["shards"]
    if not one.has_sound:
        said = f"{one.name}: results alone, without sound"
        return CheckResult("data", State.PROBLEM, said, "give the data folder that ser-sweep prepare made")
    remedy = "repeat the ser-sweep prepare command that made it"
    try:
        sizes = {entry.path.name: entry.size for entry in (Folder(one.folder) / "shards").entries()}
        other = shards_of_other_sound(one, one.utterances())
    except (UserError, OSError) as error:
        return CheckResult("data", State.PROBLEM, str(error), remedy)
    wrong = [shard["file"] for shard in shards if sizes.get(shard["file"]) != shard["bytes"]]
    if wrong:
        said = f"{one.name}: {len(wrong)} of {counted(len(shards), 'shard')} missing or damaged"
        return CheckResult("data", State.PROBLEM, said, remedy)
    if other:
        said = f"{one.name}: other audio than in utterances.parquet in {len(other)} of {counted(len(shards), 'shard')}"
        return CheckResult("data", State.PROBLEM, said, remedy)
    said = f"{one.name}: {counted(one.manifest['segments'], 'segment')}"
    if not is_compared(one):
        said += "; an older ser-sweep made them and did not record their audio files"
        return CheckResult(
            "data", State.WARNING, said, f"{remedy}, to be sure that they are those of utterances.parquet"
        )
    return CheckResult("data", State.OK, said)
