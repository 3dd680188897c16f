"""The rooms and who may enter which: data_prep <- dsl <- sweep, and analysis reads the store."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "data_prep": {"data_prep"},
    "dsl": {"dsl", "data_prep"},
    "sweep": {"sweep", "dsl", "data_prep"},
    "analysis": {"analysis", "sweep", "dsl", "data_prep"},
}
KNOW_RAY = {"data_prep/cluster.py", "data_prep/prepare.py", "sweep/launch.py"}
READ_BY_ANALYSIS = {"sweep.events", "sweep.stages", "sweep.store"}


def imports(path: Path) -> Iterator[str]:
    """Every module that `path` imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


modules = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", modules, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    room = name.partition("/")[0]
    allowed = MAY_IMPORT[room] | ({"analysis"} if name.startswith("sweep/commands/") else set())
    for module in imports(path):
        top = module.partition(".")[0]
        assert top not in MAY_IMPORT or top in allowed, f"{name} imports {module}"
        assert top != "ray" or name in KNOW_RAY, f"{name} imports {module}"
        assert room != "analysis" or top != "sweep" or module in READ_BY_ANALYSIS, f"{name} imports {module}"
