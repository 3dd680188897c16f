"""The rooms and who may enter which: data_prep <- dsl <- sweep, and analysis reads the store."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "data_prep": {"data_prep"},
    "dsl": {"dsl", "data_prep"},
    "sweep": {"sweep", "dsl", "data_prep"},
    "analysis": {"analysis", "sweep", "dsl", "data_prep"},
    "ser_sweep": {"ser_sweep", "analysis", "sweep", "dsl", "data_prep"},
}
KNOW_RAY = {"data_prep/cluster.py", "data_prep/prepare.py", "sweep/running/ray_tune.py"}
READ_BY_ANALYSIS = {"sweep.storage.events", "sweep.planning.stages", "sweep.storage.store"}


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
    allowed = MAY_IMPORT[room]
    for module in imports(path):
        top = module.partition(".")[0]
        assert top not in MAY_IMPORT or top in allowed, f"{name} imports {module}"
        assert top != "ray" or name in KNOW_RAY, f"{name} imports {module}"
        assert room != "analysis" or top != "sweep" or module in READ_BY_ANALYSIS, f"{name} imports {module}"


def test_a_launch_that_leaves_training_to_others_starts_without_torch() -> None:
    said = (
        "import sys, ser_sweep.cli, sweep.running.launch; print({'torch', 'ray', 'timm', 'librosa'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# The drawing of docs/architecture.md


def drawn_room(name: str) -> str:
    """The box of a file: that of its package."""
    return name.partition("/")[0]


def test_the_drawing_has_an_arrow_for_every_import_between_rooms_and_no_other() -> None:
    drawing = ElementTree.parse(ROOT / "docs" / "architecture.svg")
    drawn = {(node.get("data-from"), node.get("data-to")) for node in drawing.iter() if node.get("data-from")}
    real = set()
    for path in modules:
        room = drawn_room(str(path.relative_to(ROOT)))
        for module in imports(path):
            if module.partition(".")[0] in MAY_IMPORT:
                real.add((room, drawn_room(module.replace(".", "/") + (".py" if "." in module else "/"))))
    assert drawn == {(one, other) for one, other in real if one != other}


def test_the_drawing_names_every_module() -> None:
    drawing = ElementTree.parse(ROOT / "docs" / "architecture.svg")
    named = {node.get("data-room"): set((node.get("data-modules") or "").split()) for node in drawing.iter()}
    for path in modules:
        name = str(path.relative_to(ROOT))
        dotted = name.removesuffix(".py").removesuffix("/__init__").partition("/")[2].replace("/", ".")
        assert not dotted or dotted in named[drawn_room(name)], name


def test_nothing_imports_the_command_line() -> None:
    for path in modules:
        if drawn_room(str(path.relative_to(ROOT))) != "ser_sweep":
            assert not any(module.startswith("ser_sweep") for module in imports(path)), path
