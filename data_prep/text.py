"""Text from files and commands: which texts are the same, which look the same, and how they are shown."""

import re
import shlex
import unicodedata
from collections.abc import Sequence

# What nobody sees: control characters that are no white space, and what Unicode calls default ignorable.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Joiners shape the letters of scripts from Arabic on, and signs that are made of several; elsewhere nobody sees them.
_JOINED = "[\u0600-\u1fff\u2100-\U0010ffff]"
_LONE_JOINER = re.compile(f"(?<!{_JOINED})[\u200c\u200d]|[\u200c\u200d](?!{_JOINED})")
# Letters of other scripts, dashes and quotes, and the ASCII that some fonts draw alike in one case or the other.
_DRAWN_ALIKE = str.maketrans(
    "авекмнорстухіјѕԁһԛԝαβεζηικμνορτυχı‐‑‒–—―−‘’‛′ʼ`“”„″",
    "abekmhopctyxijsdhqwabezhikmnoptyxi-------''''''\"\"\"\"",
    "\u200c\u200d\u2800",
)
_FORMULA = re.compile(r'="?([^"]*)"?')
_NUMBER = re.compile(r"'?0*([0-9]+)(?:[.,]0+)?")


def plain(text: object, keep: str = "") -> str:
    """A name from a file as one line that any format can hold: what cannot be printed becomes U+FFFD.

    `keep` are characters that stay although they cannot be printed.
    """
    return "".join(char if char.isprintable() or char in keep else "\ufffd" for char in str(text))


def clean(text: str) -> str:
    """The one way in which a text is kept: in Unicode's form NFC, without what nobody sees, and with one plain space
    for any white space between words."""
    seen = _LONE_JOINER.sub("", _INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", " ".join(seen.split()))


def skeleton(text: str) -> str:
    """What two texts have in common that look the same, or differ as spreadsheets and tables make them differ.

    Case, width, white space, letters of other scripts, dashes and quotes do not tell here; nor do leading zeros, a
    fraction of zero and the formula `="03"` of a whole number.
    """
    spelt = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).lower().translate(_DRAWN_ALIKE)
    spelt = "".join(str(unicodedata.decimal(char, char)) for char in spelt if not char.isspace())
    formula = _FORMULA.fullmatch(spelt)
    spelt = formula[1] if formula else spelt
    number = _NUMBER.fullmatch(spelt)
    return number[1] if number else spelt


def quoted(text: str) -> str:
    """A text in quotes and, where it is not all ASCII, once more with the numbers of its characters."""
    return repr(text) if text.isascii() else f"{text!r} ({text!a})"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 stage`, `1,234 stages`; `plural` is that of a noun that takes more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def some(ids: Sequence[str], noun: str = "utterance") -> str:
    """How many these are, and the first of them: `5 utterances (a, b, c, …)`."""
    return f"{counted(len(ids), noun)} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"


def first_of(texts: Sequence[str], most: int = 3) -> str:
    """The first of these, and how many more there are: `a, b, c and 2 more`."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def command(*words: object) -> str:
    """The command line `ser-sweep WORDS...` as it can be pasted into a shell."""
    return shlex.join(["ser-sweep", *map(str, words)])
