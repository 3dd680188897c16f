"""Puts measured figures from benchmarks/results/ into README.md and docs/: between <!-- name --> and <!-- end -->.

python docs/figures.py           # write
python docs/figures.py --check   # exit status 1 where a page is not up to date
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
EMODB_LITE = ROOT / "benchmarks" / "results" / "emodb_lite"
NEXT_TABLE = "\n**"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")


def fenced(text: str) -> str:
    return f"```\n{text.strip()}\n```"


def emodb_tables() -> str:
    return (EMODB_LITE / "tables.md").read_text(encoding="utf-8").strip()


def emodb_table_5() -> str:
    after = emodb_tables().partition("**Table V.")[2]
    return f"**Table V.{after.partition(NEXT_TABLE)[0]}".strip()


def emodb_run() -> str:
    run = json.loads((EMODB_LITE / "run.json").read_text(encoding="utf-8"))
    minutes = run["training_seconds"] / 60
    devices = ", ".join(run["devices"])
    rate = run["segments_per_second"]
    return (
        f"{run['stages']} stages of {run['segments']:,} segments, {run['epochs']} epochs in all, took {minutes:.0f} "
        f"minutes of training on {run['cores']} cores ({devices}), a stage on each, at a median of "
        f"{rate['median']:,} segments a second a stage and {rate['best']:,} at best. Of the test segments, "
        f"{run['baseline_test_segment_accuracy']:.2f}% were right at iteration 0. torch {run['versions']['torch']}."
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "prepare": lambda: fenced((EMODB_LITE / "prepare.txt").read_text(encoding="utf-8")),
    "emodb_table_5": emodb_table_5,
    "emodb_tables": emodb_tables,
    "emodb_run": emodb_run,
}


def filled(page: str) -> str:
    """`page` with every block as the results say. Raises KeyError for a block nobody makes."""
    return re.sub(
        r"<!-- (\w+) -->\n.*?<!-- end -->",
        lambda found: f"<!-- {found[1]} -->\n{BLOCKS[found[1]]()}\n<!-- end -->",
        page,
        flags=re.DOTALL,
    )


def main() -> int:
    stale = [page for page in PAGES if filled(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    if "--check" in sys.argv[1:]:
        print("\n".join(f"{page.name} is not up to date: python docs/figures.py" for page in stale))
        return int(bool(stale))
    for page in stale:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
