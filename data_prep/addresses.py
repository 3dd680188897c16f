"""What a user gives as a place: a path on this machine, or an address such as s3://bucket/folder."""

import re
from pathlib import Path

from data_prep.errors import FolderError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_MISTYPED = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/|(?P<known>s3|gs|gcs|abfss?|hdfs|file|https?)(?::|//)", re.I
)


def is_address(text: str) -> bool:
    """Whether `text` begins as an address does, with a scheme and ://."""
    return _ADDRESS.match(text) is not None


def local_path(text: str) -> Path:
    """The path that `text` means on this machine, where a leading ~ is a home as in a shell.

    Raises FolderError for what looks like a mistyped address, and for a home that nobody has.
    """
    mistyped = _MISTYPED.match(text)
    if mistyped and not is_address(text):
        scheme = mistyped["scheme"] or mistyped["known"]
        raise FolderError(
            f"{text} is not an address, and would be a folder here; write {scheme}://... for an address, "
            f"./{text} for the folder"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise FolderError(f"{text}: no user here has such a home; write ./{text} for a folder of that name") from error


def without_secrets(uri: str) -> str:
    """An address as it may be shown: without keys before a host, and without the values of options."""
    address, options = without_options(uri)
    if not is_address(uri):
        return uri
    scheme, _, place = address.partition("://")
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{options and '?...'}"


def without_options(uri: str) -> tuple[str, str]:
    """An address, and its options with the ? before them; a path has none."""
    address, mark, options = uri.partition("?") if is_address(uri) else (uri, "", "")
    return address, mark + options
