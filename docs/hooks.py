"""MkDocs hooks: what pages link to outside docs/, such as a grid or a module, becomes part of the site.

In docs/ a link is one that works in the repository too, `../configs/demo.yaml`. A site has no files above its own, so
they are copied to `repository/` in it, and links follow. A link to a folder becomes its name.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = re.compile(r"\[(?P<text>[^\]]*)\]\(\.\./(?P<path>[^)#\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for found in OUTSIDE.finditer(page.read_text(encoding="utf-8")):
            source = ROOT / found["path"]
            if source.is_file() and files.get_file_from_path(f"repository/{found['path']}") is None:
                files.append(File.generated(config, f"repository/{found['path']}", abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    return OUTSIDE.sub(_inside, markdown)


def _inside(found: re.Match[str]) -> str:
    text, path = found["text"], found["path"]
    return f"`{text}`" if (ROOT / path).is_dir() else f"[{text}](repository/{path})"
