"""Whole files or none: write under a temporary name, then rename."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to, in a folder that is made where it is not there; it takes the name
    `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8; the file appears whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_new(path: Path, text: str, another: Exception) -> bool:
    """Write a file that is not there yet; False where it is there already, and the same. Raises `another` where it is
    another one."""
    if path.exists():
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        raise another
    write_text(path, text)
    return True


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with sorted keys; the file appears whole, and is on the disk on return."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def canonical_hash(content: Any, length: int) -> str:
    """The first `length` hexadecimal digits of the sha256 of `content`'s canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
