"""Fills the generated blocks of README.md and docs/, between <!-- name --> and <!-- end -->.

Measured figures come from benchmarks/results/, and the fields of a grid from their schema. The drawing of the
architecture and the JSON Schema of a grid are written as whole files.

python docs/figures.py           # write
python docs/figures.py --check   # exit status 1 where something is not up to date
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from architecture import drawing
from benchmark_figures import BENCHMARK_BLOCKS
from coverage_figures import coverage_by_kind, coverage_of_differences, coverage_of_rates
from field_tables import FIELD_BLOCKS
from from_results import ROOT
from gpu_figures import GPU_BLOCKS
from reliability_figures import RELIABILITY_BLOCKS
from sweep_figures import SWEEP_BLOCKS

from sweep.planning.grid import grid_schema

PAGES = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("grids", "method", "results", "reliability", "performance", "statistics")
    ),
)

BLOCKS: dict[str, Callable[[], str]] = {
    **FIELD_BLOCKS,
    **BENCHMARK_BLOCKS,
    **GPU_BLOCKS,
    **SWEEP_BLOCKS,
    **RELIABILITY_BLOCKS,
    "coverage_by_kind": coverage_by_kind,
    "coverage_of_rates": coverage_of_rates,
    "coverage_of_differences": coverage_of_differences,
}


def filled(page: str) -> str:
    """`page` with every block as the results say. Raises KeyError for a block nobody makes."""
    return re.sub(
        r"<!-- (\w+) -->\n.*?<!-- end -->",
        lambda found: f"<!-- {found[1]} -->\n{BLOCKS[found[1]]()}\n<!-- end -->",
        page,
        flags=re.DOTALL,
    )


FILES: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "architecture.svg": drawing,
    ROOT / "configs" / "grid.schema.json": lambda: json.dumps(grid_schema(), indent=2) + "\n",
}


def main() -> int:
    made = {page: filled(page.read_text(encoding="utf-8")) for page in PAGES}
    made |= {path: make() for path, make in FILES.items()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        print("\n".join(f"{path.name} is not up to date: python docs/figures.py" for path in stale))
        return int(bool(stale))
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
