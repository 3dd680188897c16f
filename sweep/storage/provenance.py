"""What a stage was trained by: the versions of packages, and the revision of this code."""

import contextlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VERSIONS_OF = ("torch", "torchaudio", "timm", "triton", "numba", "numpy", "pyarrow", "scikit-learn", "cleanlab")


@cache
def versions() -> dict[str, str]:
    """The versions of what a training depends on, where it is installed."""
    found = {"python": platform.python_version()}
    for name in VERSIONS_OF:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def code_revision() -> str | None:
    """The git commit this code is of, with a `+` where it was changed since; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:  # no git here
        return None
