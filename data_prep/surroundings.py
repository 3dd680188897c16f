"""What a process expects of its surroundings, where they lack it: a user's name and a home, which `docker run --user`
does not give, an output that any character can be printed to, and packages."""

import codecs
import contextlib
import os
import pwd
import sys
import tempfile
from functools import cache
from pathlib import Path

IN_ASCII = {  # what messages and tables print beyond ASCII, for terminals that know no more
    "−": "-",
    "–": "-",
    "—": "-",
    "±": "+/-",
    "×": "x",
    "·": "*",
    "…": "...",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "α": "alpha",
    "β": "beta",
    "§": "section ",
    "²": "^2",
    "⁰": "^0",
    "¹": "^1",
    "ᵃ": "(a)",
    "ᵇ": "(b)",
    "µ": "u",
}


@cache
def installed(*packages: str) -> dict[str, str]:
    """The versions of those of these packages that are there. They are looked up once a process: reading them takes as
    long as a short training."""
    from importlib.metadata import PackageNotFoundError, version  # a command without trainings starts without it

    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def settle_in() -> None:
    """To be called before anything that asks for the user or the home, in each process."""
    have_a_name()
    have_a_home()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where another object stands for it
            stream.reconfigure(errors=ERRORS)


def have_a_name() -> None:
    """A user without an entry among the system's has a number for a name: torch and Ray's tools ask for one."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        for variable in ("LOGNAME", "USER"):
            os.environ.setdefault(variable, str(os.getuid()))


def have_a_home() -> None:
    """A home that can be written to: Ray, torch, Triton, numba and matplotlib keep files there. Without one, it is a
    folder of the user's own among the temporary ones, the same each time."""
    with contextlib.suppress(OSError, RuntimeError):
        home = Path.home()
        if home.is_absolute():
            tempfile.TemporaryFile(dir=home).close()
            return
    made = Path(tempfile.gettempdir()) / f"ser-sweep-home-{os.getuid()}"
    made.mkdir(mode=0o700, exist_ok=True)
    about = made.lstat()
    if made.is_symlink() or about.st_uid != os.getuid():  # another user's
        made = Path(tempfile.mkdtemp(prefix="ser-sweep-home-"))
    os.environ["HOME"] = str(made)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    said = "".join(IN_ASCII.get(one, "?") for one in error.object[error.start : error.end])
    return said, error.end


ERRORS = "ser-sweep-in-ascii"
codecs.register_error(ERRORS, _in_ascii)
