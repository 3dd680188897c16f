"""docs/troubleshooting.md has every message that a UserError may bring, and none that the code has not."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("data_prep", "dsl", "sweep", "analysis", "ser_sweep")
PAGE = ROOT / "docs" / "troubleshooting.md"
OTHERS = {"unexpected …: …", "No space left on device", "grid …: … problems"}  # not of UserErrors, or counted
NOT_SAID = 8  # characters of a message that is no more than another one's, passed on


@cache
def trees() -> tuple[ast.Module, ...]:
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in paths)


def names_of_errors() -> set[str]:
    """UserError and all that is derived from it, by name."""
    names: set[str] = set()
    found = {"UserError"}
    while found != names:
        names = set(found)
        for node in (node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            if any(isinstance(base, ast.Name) and base.id in names for base in node.bases):
                found.add(node.name)
    return names


def text_of(node: ast.expr) -> str:
    """A message as it is written, with … for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return "…"


@cache
def messages() -> tuple[str, ...]:
    errors = names_of_errors()
    calls = [node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    raised = [text_of(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id in errors]
    return tuple(sorted({text for text in raised if len(re.sub(r"[…\s]", "", text)) > NOT_SAID}))


@cache
def entries() -> tuple[str, ...]:
    """The code in the first column of the page's tables."""
    cells = re.findall(r"^\| (`.*?`) \| ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return tuple(entry for cell in cells for entry in re.findall(r"`([^`]+)`", cell))


def matches(entry: str, message: str) -> bool:
    """Whether the parts of `entry` between its … stand in `message`, in that order."""
    parts = [re.escape(part) for part in entry.split("…") if part.strip()]
    return re.search(".*".join(parts), message, flags=re.DOTALL) is not None


@pytest.mark.parametrize("message", messages())
def test_every_message_is_on_the_page(message: str) -> None:
    assert any(matches(entry, message) for entry in entries()), f"docs/troubleshooting.md does not have: {message}"


@pytest.mark.parametrize("entry", sorted(set(entries()) - OTHERS))
def test_every_entry_is_a_message_of_the_code(entry: str) -> None:
    assert any(matches(entry, message) for message in messages())


def test_no_entry_is_so_short_that_it_would_match_anything() -> None:
    assert all(len(re.sub(r"[…\s]", "", entry)) > NOT_SAID for entry in set(entries()) - OTHERS)
