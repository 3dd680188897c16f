"""What the tests know of the cluster files: where they are, the commands in their headers, and their shell commands."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
LAUNCHED = {name: ROOT / name for name in ("ray_cluster.yaml", "clusters/on_premises.yaml")}  # by `ray up`
RAYJOB = ROOT / "clusters/rayjob.yaml"
SLURM = ROOT / "clusters/slurm.sh"
MPS = ROOT / "clusters/mps.sh"
WITH_HEADERS = [*LAUNCHED.values(), RAYJOB, SLURM, ROOT / "clusters/Dockerfile", ROOT / "docs/clusters.md"]
COMMAND_LISTS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def documents(path: Path) -> dict[str, dict[str, Any]]:
    """Kind -> document."""
    return {one["kind"]: one for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))}


def commands_in(path: Path) -> list[list[str]]:
    """The words of every command that a file's header, or a page's indented blocks, tell people to type."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        lines = re.findall(r"^ {4}(.+)$", text, flags=re.MULTILINE)
    else:
        lines = re.findall(r"^# {3}(.+)$", text, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [shlex.split(line, comments=True) for line in joined.splitlines()]


def shell_commands(config: dict[str, Any]) -> dict[str, str]:
    """`setup_commands[0]` and so on -> the command."""
    return {f"{name}[{i}]": line for name in COMMAND_LISTS for i, line in enumerate(config.get(name, []))}


def after(words: list[str], program: str) -> list[str] | None:
    """The arguments of `program` in a command that may be wrapped in another one; None where it is not in it."""
    return words[words.index(program) + 1 :] if program in words else None
