"""What a process that trains asks of its libraries, and what it gives back between trainings."""

import contextlib
import ctypes
import os
import platform
import time
from functools import cache
from pathlib import Path

import torch

from data_prep.surroundings import installed

SECONDS_BETWEEN_TRIMS = 10.0
STREAMS_AT_ONCE = 32  # that a GPU takes work of: as many as CUDA knows of
# Under a limit, cuDNN finds no engine whose workspace it could have.
MEMORY_WORDS = ("out of memory", "alloc_failed", "cudaerrormemoryallocation", "unable to find an engine")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)

_given_back = 0.0


def configure_process(threads: int) -> None:
    """Train on `threads` CPU threads, to the same bits each time.

    glibc is to keep what is freed: a step's activations would otherwise be mapped, and their pages zeroed, anew each
    time.
    """
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", str(STREAMS_AT_ONCE))  # read when CUDA starts
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def give_memory_back() -> None:
    """What trials have freed, to the device and, now and then, to the machine: the same process runs the next one.

    Tune runs each trial in a new thread, and glibc keeps what each of them freed: several GB after a day.
    """
    global _given_back
    free_device_memory(idle=True)
    if time.monotonic() - _given_back < SECONDS_BETWEEN_TRIMS:
        return
    _given_back = time.monotonic()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def free_device_memory(idle: bool) -> None:
    """Give the device what torch keeps of its memory for later, where it can. With `idle` no recorded step is there any
    more: what products have used as work space, for each stream that there was, may go, too."""
    if not torch.cuda.is_initialized():
        return
    for give_back in ([torch._C._cuda_clearCublasWorkspaces] if idle else []) + [torch.cuda.empty_cache]:
        with contextlib.suppress(RuntimeError):  # after a recording that broke off, say
            give_back()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory, or this process's share of it, is used up."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(one in words for one in MEMORY_WORDS)


def float32_means(device: torch.device) -> str:
    """What convolutions and products of float32 are computed with."""
    if device.type != "cuda":
        return "float32"
    convolutions = "TF32" if torch.backends.cudnn.allow_tf32 else "float32"
    products = "TF32" if torch.backends.cuda.matmul.allow_tf32 else "float32"
    return convolutions if convolutions == products else f"{convolutions} convolutions, {products} products"


def bits_depend_on(device: torch.device) -> dict[str, str]:
    """What the last bits of a training depend on, beside its settings: they are the same wherever this is."""
    found = {"processor": _processor(), "instructions": torch.backends.cpu.get_cpu_capability()}
    if device.type == "cuda":
        found = {"gpu": torch.cuda.get_device_name(device), "cudnn": str(torch.backends.cudnn.version())}
    else:
        found["threads"] = str(torch.get_num_threads())
    return found | installed("torch", "timm", "triton" if device.type == "cuda" else "numba")


@cache
def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
