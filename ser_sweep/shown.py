"""Which setting of a grid is told of where only one is, and why it is that one.

All differences to a setting with missing folds would rest on the folds that it has. So a setting that has all folds is
shown as soon as there is one. Folds that halving leaves out are missing, too: what it has stopped early does not stand
for its grid.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweep.planning.settings import Setting, Settings


@dataclass(frozen=True)
class Progress:
    """How many stages of a setting are done, of all that the grid asks for; inner folds go uncounted."""

    done: int
    stages: int

    @property
    def share(self) -> float:
        """From 0 to 1, which is all folds of all chains."""
        return self.done / self.stages

    @property
    def text(self) -> str:
        """`4 of 6 stages`."""
        return f"{self.done:,} of {self.stages:,} stages"


@dataclass(frozen=True)
class Shown:
    """A setting, and `why` it is shown, in words that follow it in parentheses."""

    setting: Setting
    why: str


def progress_of(settings: Settings, done: Iterable[str]) -> dict[Setting, Progress]:
    """How far each setting is, where the stages with the keys `done` are."""
    there = frozenset(done)
    found = {}
    for setting, chains in settings.chains.items():
        keys = {stage.key for chain in chains for stage in chain.stages if stage.inner_fold is None}
        found[setting] = Progress(len(keys & there), len(keys))
    return found


def choose_shown(progress: Mapping[Setting, Progress], departure: Callable[[Setting], Any]) -> Shown:
    """Of the settings that have all folds, the one with the least `departure` from the paper's; where none has, of
    those that have the largest share of their stages."""
    most = max(one.share for one in progress.values())
    furthest = [setting for setting, one in progress.items() if one.share == most]
    shown, nearest = (min(of, key=departure) for of in (furthest, progress))
    alike, of = len(furthest), len(progress)
    how_far = "with all folds so far" if most == 1 else f"furthest along, with {progress[shown].text}"
    if alike == of:
        unfinished = f"; none has all folds, this one has {progress[shown].text}" if 0 < most < 1 else ""
        why = f"the nearest to the paper's of {of}{unfinished}"
    elif alike == 1:
        why = f"of {of} the one {how_far}"
    else:
        why = f"the nearest to the paper's of the {alike} of {of} {how_far}"
    if nearest != shown:
        why += f"; {nearest.beside(shown).text} is nearer, with {progress[nearest].text}"
    return Shown(shown, why)
