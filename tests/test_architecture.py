"""The rooms and who may enter which: data_prep <- dsl <- sweep, and analysis reads the store."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("ser_sweep", "analysis", "sweep", "dsl", "data_prep")
MOST_LINES, MOST_OF_A_FUNCTION, MOST_ARGUMENTS = 400, 60, 6


def imports(path: Path) -> Iterator[str]:
    """Every module that `path` imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


modules = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def test_modules_import_only_what_their_layer_may() -> None:
    """The contracts of pyproject.toml: layers without exemptions, no cycles, and who knows Ray."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert ", 0 broken" in done.stdout


@pytest.mark.parametrize("path", modules, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_can_be_read_in_one_go(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_OF_A_FUNCTION, node.name
            assert node.name != "__init__" or len(node.args.args + node.args.kwonlyargs) <= MOST_ARGUMENTS + 1


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
            if module.partition(".")[0] in ROOMS:
                real.add((room, drawn_room(module.replace(".", "/") + (".py" if "." in module else "/"))))
    assert drawn == {(one, other) for one, other in real if one != other}


def test_the_drawing_names_every_module() -> None:
    drawing = ElementTree.parse(ROOT / "docs" / "architecture.svg")
    named = {node.get("data-room"): set((node.get("data-modules") or "").split()) for node in drawing.iter()}
    for path in modules:
        name = str(path.relative_to(ROOT))
        dotted = name.removesuffix(".py").removesuffix("/__init__").partition("/")[2].replace("/", ".")
        assert not dotted or dotted in named[drawn_room(name)], name
