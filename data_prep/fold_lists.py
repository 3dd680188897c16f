"""Folds that somebody lists: which utterances train, validate and test in each of them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from data_prep.errors import UserError
from data_prep.files import canonical_hash
from data_prep.text import counted

TEST, TRAIN, VALID, UNUSED = "t", "l", "v", "-"  # what an utterance is for in a fold


class FoldListError(UserError):
    """A list of folds that cannot be read, or is not one of the corpus."""


@dataclass(frozen=True)
class FoldList:
    """What each utterance of a corpus is for in each fold: ids in their order, and a letter for each fold.

    `name` is what people call the list: `folds.csv`. It is no part of the `digest`.
    """

    name: str
    parts: tuple[tuple[str, str], ...]

    @cached_property
    def digest(self) -> str:
        """A hash of who is for what, whatever the order of lines: 16 hexadecimal digits."""
        return canonical_hash(dict(self.parts), 16)

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return len(self.parts[0][1])

    @property
    def validates(self) -> bool:
        """Whether the list says who validates; it does in all folds, or in none."""
        return any(VALID in letters for _, letters in self.parts)

    @property
    def is_partition(self) -> bool:
        """Whether every utterance is tested once, and trains in all other folds."""
        return all(letters.count(TEST) == 1 and letters.count(TRAIN) == self.folds - 1 for _, letters in self.parts)

    @property
    def untested(self) -> list[str]:
        """The ids of utterances that no fold tests."""
        return [one for one, letters in self.parts if TEST not in letters]

    @property
    def tested_text(self) -> str:
        """`48 of 96 utterances are tested`."""
        return tested_text(len(self.parts) - len(self.untested), len(self.parts))

    def as_json(self) -> bytes:
        """The list as a store keeps it."""
        return json.dumps({"name": self.name, "parts": dict(self.parts)}, ensure_ascii=False, indent=0).encode() + b"\n"

    @classmethod
    def of_json(cls, content: bytes | None, digest: str | None = None) -> "FoldList":
        """What `as_json` made of the list with this digest, if one is given. Raises ValueError where it is not that."""
        try:
            about = json.loads(content or b"null")
            found = cls(str(about["name"]), tuple((str(one), str(letters)) for one, letters in about["parts"].items()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no list of folds: {error}") from error
        if not found.parts or (digest is not None and found.digest != digest):
            raise ValueError("other folds than when it was written")
        return found


def tested_text(tested: int, utterances: int) -> str:
    """`48 of 96 utterances are tested`."""
    return f"{tested:,} of {counted(utterances, 'utterance')} are tested"


def column_of(digest: str) -> str:
    """The column of utterances that holds the letters of the list with this digest."""
    return f"folds {digest}"


def tested_by(utterances: pd.DataFrame, digest: str) -> pd.DataFrame:
    """Those of `utterances`, which have its column, that the list with this digest tests."""
    return utterances[utterances[column_of(digest)].str.contains(TEST)]


def with_lists(utterances: pd.DataFrame, lists: Iterable[FoldList]) -> pd.DataFrame:
    """`utterances`, with a column for each list."""
    return utterances.assign(**{column_of(one.digest): utterances["id"].map(dict(one.parts)) for one in lists})
