"""What a check of the doctor comes to."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How well what was checked is: WARNING where it works, but not as it could, PROBLEM where it does not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class CheckResult:
    """What is known of one thing, and what to do about it unless it is as it should be."""

    what: str
    state: State
    said: str
    remedy: str = ""
