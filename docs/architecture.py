"""Draws docs/architecture.svg: how data flows, and which room imports which, read from the modules themselves.

    python docs/figures.py           # writes it, with all else that is generated

A room is a package; the way in, ser_sweep, is drawn by itself. The positions are given here, boxes' contents
and dashed arrows are not.
"""

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ROOMS = ("data_prep", "dsl", "sweep", "analysis", "ser_sweep")
WAY_IN = "ser_sweep"
SIZE = (1080, 790)
SMALL, LETTER = 11.5, 6.1  # size of names, and how wide a letter of it is
INK, FAINT, PAPER, DATA_PAPER, ROOM_PAPER = "#1f2933", "#7b8794", "#ffffff", "#fdf3dc", "#e7eefb"


class Box(NamedTuple):
    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height


BOXES = {
    "data_prep": Box(20, 170, 210, 370),
    "dsl": Box(300, 170, 190, 370),
    "sweep": Box(560, 170, 210, 370),
    "analysis": Box(840, 170, 220, 370),
    WAY_IN: Box(20, 685, 1040, 90),
}
KEPT = {  # what lies on a disk, between the rooms
    "audio files": Box(20, 50, 110, 50),
    "DATA: segment shards": Box(300, 50, 190, 50),
    "STORE: stages": Box(660, 50, 170, 50),
    "tables, figures, report": Box(890, 50, 170, 50),
}
FLOWS = [  # from and to, as points
    ((75, 100), (75, 170)),
    ((180, 170), (300, 85)),
    ((490, 85), (600, 170)),
    ((700, 170), (730, 100)),
    ((800, 100), (880, 170)),
    ((975, 170), (975, 100)),
]


def room_of(module: str) -> str:
    """The box that a module is drawn in."""
    return module.partition(".")[0]


def modules() -> dict[str, Path]:
    """Every module of the rooms but the packages' own files, by its dotted name."""
    paths = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def imports_of(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Those of the `known` modules that the file at `path` imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in inside]
        yield from (name for name in names if name in known)


def edges() -> dict[tuple[str, str], list[str]]:
    """(room, room it imports) -> the modules it imports there, without their room's name."""
    known = modules()
    found: dict[tuple[str, str], set[str]] = {}
    for module, path in known.items():
        for imported in imports_of(path, known):
            edge = (room_of(module), room_of(imported))
            if edge[0] != edge[1]:
                found.setdefault(edge, set()).add(imported.partition(".")[2] or imported)
    return {edge: sorted(names) for edge, names in sorted(found.items())}


def drawing() -> str:
    """The whole drawing as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        "<title>How data flows through the rooms, and which room imports which</title>",
        f"<defs>{_head('flow', INK)}{_head('import', FAINT)}</defs>",
        f'<rect width="{SIZE[0]}" height="{SIZE[1]}" fill="{PAPER}"/>',
        *(_kept(name, box) for name, box in KEPT.items()),
        *(_room(name, box) for name, box in BOXES.items()),
        *(_line("flow", f"M {start[0]} {start[1]} L {end[0]} {end[1]}") for start, end in FLOWS),
        *(_import(edge, names) for edge, names in edges().items()),
        _text(20, 28, "solid: data flows", size=12),
        _text(140, 28, "dashed: imports, as the modules have them", FAINT, size=12),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _head(kind: str, colour: str) -> str:
    return (
        f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M 0 0 L 10 5 L 0 10 z" fill="{colour}"/></marker>'
    )


def _text(x: float, y: float, text: str, colour: str = INK, anchor: str = "start", size: float = 13) -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _kept(name: str, box: Box) -> str:
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="22" fill="{DATA_PAPER}" '
        f'stroke="{INK}"/>' + _text(box.x + box.width / 2, box.y + 30, name, anchor="middle")
    )


def _room(room: str, box: Box) -> str:
    """A box with its name, and its modules by the package within the room that they are in."""
    names = [name.partition(".")[2] for name in modules() if room_of(name) == room and "." in name]
    packages: dict[str, list[str]] = {}
    for name in names:
        package, _, module = name.rpartition(".")
        if name not in {other.rpartition(".")[0] for other in names}:
            packages.setdefault(package, []).append(module)
    width = int((box.width - 28) / LETTER)
    lines, y = [], box.y + 46
    for package, listed in packages.items():
        for number, text in enumerate(wrap(f"{package}: " * bool(package) + ", ".join(listed), width)):
            lines.append(_text(box.x + 14 + 10 * bool(number), y, text, size=SMALL))
            y += 15
        y += 4
    return (
        f'<g data-room="{room}" data-modules="{" ".join(names)}"><rect x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{box.height}" rx="6" fill="{ROOM_PAPER}" stroke="{INK}"/><text x="{box.x + 14}" y="{box.y + 24}" '
        f'fill="{INK}" font-size="15" font-weight="bold">{escape(room)}</text>{"".join(lines)}</g>'
    )


def _line(kind: str, path: str, extra: str = "") -> str:
    colour, dashes = (INK, "") if kind == "flow" else (FAINT, ' stroke-dasharray="5 4"')
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" marker-end="url(#{kind})"{dashes}{extra}/>'
    )


def _import(edge: tuple[str, str], names: list[str]) -> str:
    """A dashed arrow from a room to one it imports: straight to a neighbour, below the others to one further off."""
    start, end = (BOXES[room] for room in edge)
    order = list(BOXES)
    distance = order.index(edge[0]) - order.index(edge[1])
    label = ""
    if edge[0] == WAY_IN:
        x = end.x + 24
        path = f"M {x} {start.y} L {x} {end.bottom}"
    elif distance == 1:
        y = start.y + start.height / 2
        path = f"M {start.x} {y:g} L {end.right} {y:g}"
        if len(names) <= 3:
            middle = (start.x + end.right) / 2
            label = "".join(
                _text(middle, y + 17 + 15 * row, name.rpartition(".")[2], FAINT, "middle", 12)
                for row, name in enumerate(names)
            )
    else:
        low = start.bottom + 40 * (abs(distance) - 1) + (20 if edge[0] == "sweep" else 0)
        begin, finish = start.x + start.width / 2 + 18 * (distance - 2), end.x + end.width / 2 + 18 * (distance - 2)
        path = f"M {begin:g} {start.bottom} C {begin:g} {low + 60:g} {finish:g} {low + 60:g} {finish:g} {end.bottom}"
    about = f' data-from="{edge[0]}" data-to="{edge[1]}"'
    told = escape(f"{edge[0]} imports of {edge[1]}: {', '.join(names)}")
    return f"<g{about}><title>{told}</title>{_line('import', path)}{label}</g>"
