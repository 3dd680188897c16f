"""What of a machine a trial takes: CPUs, a share of a GPU, and what running out of memory has taught about that."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import UserError
from sweep.storage.shares import LearntShares
from sweep.storage.store import Store

if TYPE_CHECKING:  # the processes of trials import this module, and have no use for pydantic
    from sweep.planning.grid_fields import Resources

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of CUDA, of CUDA under WSL, of ROCm
AUTO_GPU_SHARE = 0.25  # of a GPU for each trial: the networks are small


def trial_share(resources: "Resources", cluster: Mapping[str, float]) -> dict[str, float]:
    """CPU and GPU that one trial takes. Raises UserError where the cluster could never give that."""
    gpus = cluster.get("GPU", 0)
    gpu = (AUTO_GPU_SHARE if gpus else 0.0) if resources.gpu == "auto" else resources.gpu
    for name, asked, there in (("cpu", resources.cpu, cluster.get("CPU", 0)), ("gpu", gpu, gpus)):
        if asked > there:
            raise UserError(
                f"resources.{name}: the grid asks for {asked:g} a trial and the cluster has {there:g}; "
                f"lower it in the grid, or connect to a larger cluster with --address"
            )
    return {"cpu": resources.cpu, "gpu": gpu}


def slots(share: Mapping[str, float], cluster: Mapping[str, float], limit: int | None) -> int:
    """Trials that can run at once."""
    fits = min(int(cluster.get(name.upper(), 0) / amount + 1e-9) for name, amount in share.items() if amount)
    return max(1, min(fits, limit or fits))


class GpuShares:
    """The share of a GPU that a trial of each kind gets: `least`, or what one that ran out of memory has taught; and
    how many trainings of a kind a share holds side by side.

    What was learnt is kept in the store, for this launch and those after it.
    """

    def __init__(self, least: float, store: Store) -> None:
        self._least = least
        self._lessons = LearntShares(store)
        self._learnt: dict[str, float] = {}
        self._at_once: dict[tuple[str, float], int | None] = {}

    def of(self, kind: str) -> float:
        """The share for trainings of this kind; 0 where the sweep uses no GPU."""
        if not self._least:
            return 0.0
        if kind not in self._learnt:
            self._learnt[kind] = max(self._least, self._lessons.least(kind) or 0.0)
        return self._learnt[kind]

    def at_once(self, kind: str, chains: int) -> int:
        """How many of a trial's `chains` of this kind are to be trained side by side."""
        share = self.of(kind)
        if (kind, share) not in self._at_once:
            self._at_once[kind, share] = self._lessons.at_once(kind, share)
        return min(chains, self._at_once[kind, share] or chains)

    def held(self, kind: str, share: float, at_once: int) -> None:
        """Learn that `share` is enough for so many of this kind side by side, and not for more."""
        self._at_once[kind, share] = at_once
        self._lessons.learn_at_once(kind, share, at_once)

    def ran_out(self, kind: str, share: float) -> float | None:
        """Learn that `share` is too little for this kind; returns the next larger one, None after a whole GPU."""
        if not 0 < share < 1:
            return None
        larger = max(self.of(kind), min(1.0, 2 * share))
        self._learnt[kind] = larger
        self._lessons.learn_least(kind, larger)
        return larger


def gpus_here() -> int:
    """How many GPUs this machine has; torch, which takes long to import, is asked only where there is a driver."""
    if not any(Path(driver).exists() for driver in DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count()


def cap_memory(share: float) -> None:
    """Let this process have its share of the GPU's memory and no more: to Ray a share is only a number."""
    import torch

    if torch.cuda.is_available() and share:
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))
