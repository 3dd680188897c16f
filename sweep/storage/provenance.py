"""What a stage was trained by: the versions of packages, and the revision of this code."""

import hashlib
import platform
import subprocess
from functools import cache
from pathlib import Path

from data_prep.files import canonical_hash
from data_prep.surroundings import installed

VERSIONS_OF = ("torch", "torchaudio", "timm", "triton", "numba", "numpy", "pyarrow", "scikit-learn", "cleanlab")
TRAINED_BY = ("dsl", "data_prep", "sweep")  # packages of this code that decide what a training comes to
ROOT = Path(__file__).parents[2]


def versions() -> dict[str, str]:
    """The versions of what a training depends on, where it is installed."""
    return {"python": platform.python_version(), **installed(*VERSIONS_OF)}


@cache
def code_revision() -> str | None:
    """The git commit this code is of, with a `+` where it was changed since; None outside a checkout."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:  # no git here
        return None


def code_digest(root: Path = ROOT) -> str:
    """A hash of what decides the bits of a training: the source files of TRAINED_BY in `root`, and `versions`. 16
    hexadecimal digits."""
    paths = sorted(path for package in TRAINED_BY for path in (root / package).rglob("*.py"))
    sources = {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return canonical_hash({"sources": sources, "versions": versions()}, 16)
