"""The files of a store that may be damaged: JSON objects, and contents with their checksum before them.

One that is damaged reads like one that is missing: None.
"""

import hashlib
import json
from typing import Any

from data_prep.checked import parsed
from data_prep.folders import Folder

DIGEST_BYTES = 32
ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_json(folder: Folder, name: str) -> dict[str, Any] | None:
    """A JSON object; None where there is none."""
    return parsed(folder.read(name))


def write_json(folder: Folder, name: str, content: dict[str, Any]) -> None:
    """Write a JSON object."""
    folder.write(name, as_json(content))


def read_checked(folder: Folder, name: str) -> bytes | None:
    """What `write_checked` wrote."""
    written = folder.read(name) or b""
    digest, content = written[:DIGEST_BYTES], written[DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


def write_checked(folder: Folder, name: str, content: bytes) -> None:
    """Write `content` behind its SHA-256, for `read_checked`."""
    folder.write(name, hashlib.sha256(content).digest() + content)


def as_json(content: dict[str, Any]) -> bytes:
    """A line for each field: to be read by people, and fast to write."""
    lines = ",\n".join(f"{ENCODER.encode(name)}: {ENCODER.encode(content[name])}" for name in sorted(content))
    return f"{{\n{lines}\n}}\n".encode()
