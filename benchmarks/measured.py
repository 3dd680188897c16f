"""What a benchmark has measured, to the terminal and to a file."""

import json
import os
import platform
from pathlib import Path
from typing import Any


def report(found: dict[str, Any], path: Path | None) -> None:
    """Print what was found with the machine it was found on, and write it to `path`, where one is given."""
    text = json.dumps({**found, "cores": os.cpu_count(), "machine": platform.machine()}, indent=2)
    if path is not None:
        path.write_text(text + "\n")
    print(text)
