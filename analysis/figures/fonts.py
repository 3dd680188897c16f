"""Fonts for names in any script: matplotlib's own where it has the characters, else one that is installed."""

import warnings
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

OWN = "DejaVu Sans"  # comes with matplotlib: the same on every machine


class NoFontWarning(UserWarning):
    """Characters of a figure that no font has."""


def use_installed_fonts(figure: Figure) -> None:
    """Let each text of a figure be drawn in the fonts that have its characters; warns of those that none has."""
    lacking: set[str] = set()
    for text in figure.findobj(Text):
        families, missing = _fonts_for(frozenset(text.get_text()))
        lacking |= missing
        if families:
            text.set_fontfamily([OWN, *families])
    if lacking:
        named = ", ".join(f"{one} (U+{ord(one):04X})" for one in sorted(lacking))
        warnings.warn(
            f"no installed font has {named}: figures show a box instead; install a font of that script, such as "
            "Debian's fonts-noto-cjk or fonts-noto-core",
            NoFontWarning,
            stacklevel=2,
        )


@cache
def _fonts_for(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The families beside OWN that have most of the characters, as few as it takes, and the characters none has."""
    own = _charmap(str(fontManager.findfont(OWN)))
    missing = frozenset(one for one in characters if one.isprintable() and ord(one) not in own)
    families: list[str] = []
    for file in _installed() if missing else ():
        found = {one for one in missing if ord(one) in _charmap(file)}
        if found:
            fontManager.addfont(file)
            families.append(FT2Font(file).family_name)
            missing -= found
        if not missing:
            break
    return tuple(families), missing


@cache
def _installed() -> tuple[str, ...]:
    """The files of installed fonts, those in regular weight and sans serif first."""
    return tuple(sorted(findSystemFonts(), key=lambda file: ("Regular" not in file, "Sans" not in file, file)))


@cache
def _charmap(file: str) -> frozenset[int]:
    """The characters that a font has; none of a file that cannot be read."""
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
