"""The rungs of successive halving within one launch: what is trained next, once all that was issued has its end."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sweep.planning.grid_fields import Halving
from sweep.planning.halving import Halved, Stopped, Validation, halve
from sweep.planning.stages import Bundle, Plan, bundled


@dataclass
class Rungs:
    """The rungs of a launch on a `plan`. `names` maps a prepared corpus to what the grid calls it; up to `fuse` chains
    are a bundle."""

    plan: Plan
    halving: Halving
    validation: Validation
    names: Mapping[str, str]
    fuse: int
    _told: set[str] = field(default_factory=set, init=False)
    _before: tuple[int, int] | None = field(default=None, init=False)

    def halved(self, done: Collection[str], failed: Collection[str]) -> Halved:
        """What halving comes to where these stages are done, and those are not to be tried again."""
        plan = replace(self.plan, done=frozenset(done))
        return halve(plan, self.validation, failed, self.halving, self.names)

    def bundles(self, halved: Halved, done: Collection[str], failed: Collection[str]) -> list[Bundle]:
        """What is to be trained now; nothing where nothing became of what was issued the last time."""
        now = (len(done), len(failed))
        if now == self._before:
            return []
        self._before = now
        due = replace(self.plan.of_chains(halved.chains), done=frozenset(done)).unfinished
        sound = [chain for chain in due if not any(stage.key in failed for stage in chain.stages)]
        return bundled(sound, self.fuse, self.plan.view)

    def news(self, halved: Halved) -> list[Stopped]:
        """The candidates that were stopped since the last time."""
        found = [one for one in halved.stopped if one.last.key not in self._told]
        self._told.update(one.last.key for one in found)
        return found
