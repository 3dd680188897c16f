"""What of a machine a trial takes: CPUs, and a share of a GPU. `sweep.storage.shares` has what was learnt of that."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import UserError

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
