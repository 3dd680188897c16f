"""What blocks of the pages are made with: the measured results, and tables in Markdown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NAMES = {
    "densenet22": "DenseNet22",
    "mobilenetv2": "MobileNetV2",
    "efficientnet_b0": "EfficientNet-B0",
    "vgg19": "VGG19",
}


def results_of(benchmark: str) -> Any:
    """What a benchmark has written."""
    return json.loads((RESULTS / f"{benchmark}.json").read_text(encoding="utf-8"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], columns: str = "") -> str:
    """A table of these `columns`: l for those that are flush left, r for flush right; by default all but the first."""
    sides = columns or "l" + "r" * (len(head) - 1)
    rule = [":---" if side == "l" else "---:" for side in sides]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def table_by(columns: Mapping[str, str], records: Iterable[Mapping[str, Any]]) -> str:
    """A line for each record, flush right; `columns` maps a heading to the format of what stands below it."""
    rows = [[text.format(**record) for text in columns.values()] for record in records]
    return table(list(columns), rows, "r" * len(columns))
