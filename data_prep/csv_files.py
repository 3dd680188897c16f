"""CSV files that people write: what is wrong with one is told by its line, with a remedy."""

import codecs
import csv
import io
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from data_prep.errors import UserError
from data_prep.text import skeleton

Rows = list[tuple[int, list[str]]]
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
QUOTED = "put a value that holds a comma in quotes"
NEAR = 0.8  # how alike two names are at least that may be meant for one another, as difflib has it


class CsvError(UserError):
    """What is wrong with a file, and the remedy: a sentence that lacks its subject."""


def read_csv(path: Path) -> tuple[list[str], Rows]:
    """The header of a file, and its further rows that are not empty, each with the number of the line it begins on.

    Raises CsvError where it is no CSV in UTF-8 with commas, and OSError.
    """
    text = decoded(path.read_bytes())
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows: Rows = []
    begins = 1
    try:
        for values in reader:
            rows += [(begins, values)] if values else []
            begins = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error) or "field limit" in str(error):
            raise CsvError(f"has a quote on line {begins} that is never closed; close it or take it out") from error
        raise CsvError(f"cannot be read from line {begins} on ({error}); write a quote in a value twice") from error
    header = rows[0][1] if rows else []
    for separator, name in SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise CsvError(f"has {name} between its values; save it as CSV with commas")
    return header, rows[1:]


def decoded(content: bytes, remedy: str = "save it as CSV") -> str:
    """The text of a file in UTF-8, with or without a byte order mark. Raises CsvError, with `remedy` before the
    encoding: `is UTF-16; save it as CSV in UTF-8`."""

    def line(place: int) -> int:
        return content.count(b"\n", 0, place) + 1

    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CsvError(f"is UTF-16; {remedy} in UTF-8")
    if b"\0" in content:
        where = line(content.index(b"\0"))
        raise CsvError(f"holds a NUL character on line {where}, as no text does; {remedy} in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"{content[error.start]:#04x}"
        raise CsvError(f"is not UTF-8 on line {line(error.start)} (byte {byte}); {remedy} in UTF-8") from error


def misnamed(
    header: Collection[str], known: Collection[str], also: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Columns of a header that are none of the `known`, and the name that each seems to be meant for: one that the
    header lacks and that is spelt nearly so, or that the column is called in `also`."""
    missing = [name for name in known if name not in header]
    found = {}
    for column in header:
        called = skeleton(column)
        meant = [also[called]] if also.get(called) in missing else get_close_matches(called, missing, 1, NEAR)
        if column not in known and meant:
            found[column] = meant[0]
    return found


def misnamed_text(found: Mapping[str, str]) -> str:
    """`split, which is not read: call it part, or take it out`."""
    return "; ".join(f"{column}, which is not read: call it {name}, or take it out" for column, name in found.items())
