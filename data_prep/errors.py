"""The errors a user can act on. Each message names the thing, the value and the remedy."""

from collections.abc import Sequence


class UserError(Exception):
    """Base of every error caused by input, data or environment: shown as one message, without a traceback."""


class FolderError(UserError):
    """An address that cannot be used as a folder."""


class CorpusError(UserError):
    """A corpus on disk, or its manifest, is not what its reader documents; `problems` are listed below the message."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__("\n".join(filter(None, (message, bulleted(problems)))))
        self.problems = tuple(problems)


class SettingError(UserError):
    """A setting of how segments are cut has a value it cannot have."""


class FetchError(UserError):
    """A corpus cannot be downloaded, or what was downloaded is not the corpus."""


class AudioError(UserError):
    """An audio file cannot be used."""


class ShardError(UserError):
    """A prepared corpus is missing, damaged, ambiguous or made with other settings."""


def bulleted(lines: Sequence[str], limit: int = 20) -> str:
    """`lines` as an indented list, at most `limit` of them, with a count of the rest."""
    shown = [f"  - {line}" for line in lines[:limit]]
    if len(lines) > limit:
        shown.append(f"  … and {len(lines) - limit} more")
    return "\n".join(shown)


def describe_error(error: BaseException) -> str:
    """An error in one line, such as a list of failures has room for."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
