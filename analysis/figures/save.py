"""Figures to files: PNG and SVG under names that any file system takes, and an index with captions and alt text."""

import hashlib
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.figures.fonts import use_installed_fonts
from analysis.figures.style import in_style
from data_prep.files import atomic_path, write_json

FORMATS = ("png", "svg")
INDEX = "index.json"
LONGEST_SLUG = 40
# Neither the day nor the version of matplotlib: a figure of the same data is the same file.
METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


@dataclass(frozen=True)
class Drawing:
    """A figure and what a page says of it.

    `kind` and `about` name its files, such as `class-recall` and (`emodb`, `densenet22`), of which the corpus is the
    first; `alt` is for readers who do not see the figure.
    """

    kind: str
    about: tuple[str, ...]
    caption: str
    alt: str
    figure: Figure

    @property
    def name(self) -> str:
        """The name of its file, without a suffix."""
        return "-".join([self.kind, *map(slug, self.about)])


def slug(text: str) -> str:
    """`text` in lower-case ASCII letters, digits, underscores and single dots inside, which any file system takes.

    Where that is not the text itself, a hash of it follows: two texts never have the same slug.
    """
    kept = re.sub(r"[^a-z0-9_.]+", "-", text.lower())
    kept = re.sub(r"\.{2,}", ".", kept).strip("-.")[:LONGEST_SLUG]
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return kept if kept == text != "" else f"{kept}-{digest}".strip("-")


def save_figures(drawings: Iterable[Drawing], folder: Path, formats: Sequence[str] = FORMATS) -> list[dict[str, Any]]:
    """Write each drawing in each of `formats` (png, svg), then index.json; returns what the index lists.

    The index is an object {figures: [{name, kind, corpus, caption, alt, files}]} in the order of `drawings`, its files
    relative to `folder`. It replaces an older one as a whole and comes last: what it lists is there. Raises ValueError
    where two drawings have one name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed: dict[str, dict[str, Any]] = {}
    for drawing in drawings:
        if drawing.name in listed:
            raise ValueError(f"two figures are called {drawing.name}")
        files = [f"{drawing.name}.{extension}" for extension in dict.fromkeys(formats)]
        for file in files:
            save_figure(drawing.figure, folder / file)
        listed[drawing.name] = {
            "name": drawing.name,
            "kind": drawing.kind,
            "corpus": drawing.about[0],
            "caption": drawing.caption,
            "alt": drawing.alt,
            "files": files,
        }
    write_json(folder / INDEX, {"figures": list(listed.values())})
    return list(listed.values())


@in_style
def save_figure(figure: Figure, path: Path) -> None:
    """Write one figure whole, as PNG or SVG by the extension of `path`: the same bytes for the same figure."""
    kind = path.suffix[1:]
    use_installed_fonts(figure)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # told by name
        figure.savefig(temporary, format=kind, metadata=METADATA[kind])
