"""How numbers look as text, in the parts that formats set apart."""

import math
from dataclasses import dataclass

MISSING = "—"
INCOMPLETE = "(incomplete)"  # of a difference with folds missing
MINUS = "−"
LEVEL = 0.05  # of tests

_PLAIN = "0123456789abcdefghijklmnop"  # iterations, and marks of footnotes
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"
_SUPERSCRIPT = str.maketrans(_PLAIN, _RAISED)


@dataclass(frozen=True)
class Printed:
    """A value as text: the number it begins with and the rest of it, a footnote's mark, and details.

    `details` are an interval with its p, and what is missing: where there is room, they stand below the value.
    """

    number: str = ""
    rest: str = ""
    mark: str = ""
    details: tuple[str, ...] = ()
    has_interval: bool = False

    @property
    def value(self) -> str:
        """What stands before the mark and the details."""
        return f"{self.number}{self.rest}"

    @property
    def text(self) -> str:
        """All of it in a line."""
        return joined(f"{self.value}{raised(self.mark)}", *self.details)

    @property
    def after_number(self) -> str:
        """What follows the number in that line."""
        return f"{self.rest}{raised(self.mark)}" + "".join(f" {detail}" for detail in self.details)

    @property
    def is_missing(self) -> bool:
        """Whether there is no value to show."""
        return self.text in ("", MISSING)


NOTHING = Printed(rest=MISSING)


def joined(*parts: str) -> str:
    """The parts that are there, with a space between them."""
    return " ".join(filter(None, parts))


def raised(text: str) -> str:
    """Iterations and marks of footnotes as superscripts."""
    return text.translate(_SUPERSCRIPT)


def deviation_text(deviation: float) -> str:
    """`± 0.24`, or nothing where it is not known."""
    return "" if math.isnan(deviation) else f"± {deviation:.2f}"


def interval_text(low: float, high: float) -> str:
    """`[71.2, 78.5]`, or `[—]` where it is not known."""
    return f"[{MISSING}]" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def speaker_interval_text(low: float, high: float) -> str:
    """`{68.0, 80.1}`: an interval over whole speakers, in braces as everywhere; nothing where it is not known."""
    return "" if math.isnan(low) else f"{{{number(low)}, {number(high)}}}"


def folds_text(done: int, folds: int) -> str:
    """`(7/10 folds)`, or nothing where all are done."""
    return "" if done >= folds else f"({done}/{folds} folds)"


def number(value: float, digits: int = 1) -> str:
    """With a minus that is one, and no negative zero."""
    return f"{value:z.{digits}f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A difference in points: `+0.69`, `−5.37`, `0.00`."""
    return number(value, 2) if round(value, 2) <= 0 else f"+{value:.2f}"


def p_text(p: float) -> str:
    """`p 0.04` or `p < 0.001`, or nothing where there is no test."""
    return "" if math.isnan(p) else f"p {p_value(p)}"


def p_value(p: float) -> str:
    """`0.04` or `< 0.001`, with as many digits as it takes to tell which side of the level it is on. NaN is nothing."""
    if math.isnan(p):
        return ""
    if p < 0.001:
        return "< 0.001"
    digits = next((d for d in range(2, 7) if (float(f"{p:.{d}g}") < LEVEL) == (p < LEVEL)), 7)
    return f"{p:.{digits}g}" if p < 0.1 else f"{p:.2f}"
