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
    """A temporary path beside `path` to write to; it takes the name `path` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole, in a folder that is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def as_json(content: Any) -> bytes:
    """`content` as JSON with sorted keys, which ends with a new line."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON; the file appears whole, and is on the disk on return."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(as_json(content))
        file.flush()
        os.fsync(file.fileno())


def canonical_hash(content: Any, length: int) -> str:
    """The first `length` hexadecimal digits of the sha256 of `content`'s canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
