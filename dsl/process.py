"""What a process that trains asks of its libraries, and what it gives back between trainings."""

import contextlib
import ctypes
import time

import torch

SECONDS_BETWEEN_TRIMS = 10.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)

_given_back = 0.0


def settle(threads: int) -> None:
    """Train on `threads` CPU threads, to the same bits each time.

    glibc is to keep what is freed: a step's activations would otherwise be mapped, and their pages zeroed, anew each
    time.
    """
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
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if time.monotonic() - _given_back < SECONDS_BETWEEN_TRIMS:
        return
    _given_back = time.monotonic()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
