"""Everything once, on synthetic speech.

ser-sweep demo
"""

import argparse
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from data_prep.text import command
from ser_sweep.commands.arguments import DONE, add_command, path, quietly
from ser_sweep.commands.terminal import notice


def add(commands: Any) -> None:
    demo = add_command(
        commands,
        "demo",
        run_demo,
        "try prepare, run and tables on synthetic speech, in minutes",
        quietly,
    )
    demo.add_argument("--out", type=path, default=Path("demo-output"), help="folder (default: demo-output)")


def run_demo(options: argparse.Namespace) -> int:
    """Prepare, run and tables on the synthetic corpus, as a user would call them."""
    data, store = str(options.out / "data"), str(options.out / "store")
    with as_file(files("configs") / "demo.yaml") as grid:
        steps = [
            ["prepare", "synthetic", "--out", data],
            ["run", str(grid), "--data", data, "--store", store],
            ["tables", str(grid), "--data", data, "--store", store],
        ]
        for step in steps:
            notice(options, f"\n$ {command(*step)}")
            flags = [f"--{name}" for name in ("debug", "quiet") if getattr(options, name)]
            status: int = options.main([*step, *flags])
            if status != DONE:
                return status
    return DONE
