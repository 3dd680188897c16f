"""MkDocs hooks: what pages link to and MkDocs would not show becomes part of the site.

In docs/ a link is one that works in the repository too, `../configs/demo.yaml`. A site has no files above its own, so
they are copied to `repository/` in it, and links follow. A link to a folder becomes its name. Notebooks become pages,
with the outputs that they were saved with.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = re.compile(r"\[(?P<text>[^\]]*)\]\(\.\./(?P<path>[^)#\s]+)\)")


NOTEBOOK = re.compile(r"\]\((?P<path>notebooks/\w+)\.ipynb\)")


def on_files(files: Files, config: Any) -> Files:
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=_page_of(notebook)))
    for page in sorted((ROOT / "docs").glob("*.md")):
        for found in OUTSIDE.finditer(page.read_text(encoding="utf-8")):
            source = ROOT / found["path"]
            if source.is_file() and files.get_file_from_path(f"repository/{found['path']}") is None:
                files.append(File.generated(config, f"repository/{found['path']}", abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.file.generated_by is not None:
        return markdown.replace("](docs/", "](../")  # CONTRIBUTING.md's links
    return OUTSIDE.sub(_inside, NOTEBOOK.sub(r"](\g<path>.md)", markdown))


def _page_of(notebook: Path) -> str:
    parts = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        outputs = [output.get("text") or output.data["text/plain"] for output in cell.get("outputs", [])]
        parts += [f"```text\n{output.rstrip()}\n```" for output in outputs]
    return "\n\n".join([*parts, f"The notebook: [{notebook.name}]({notebook.name})"])


def _inside(found: re.Match[str]) -> str:
    text, path = found["text"], found["path"]
    return f"`{text}`" if (ROOT / path).is_dir() else f"[{text}](repository/{path})"
