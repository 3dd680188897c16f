"""What happens in a seed's world: who launches what, and the faults. All of it is said beforehand, so that parts of it
can be left out while the rest stays the same."""

from dataclasses import dataclass
from random import Random

from tests.simulation.stages import GRIDS

CALM_AFTER = 240.0  # seconds from the beginning until no fault comes any more
UPKEEP_SECONDS = 4.0  # that gc and verify take, about
LOCAL = ("power", "full", "pause", "kill", "kill", "kill trial", "gc", "verify", "tear", "wipe", "skew")
REMOTE = (
    *("pause", "kill", "kill", "kill trial", "gc", "verify", "wipe", "skew"),
    *("errors", "silence", "lost answers", "late", "twice", "stale"),
)


@dataclass(frozen=True)
class Launching:
    """Somebody who launches a grid of GRIDS."""

    at: float
    host: int
    grid: int
    slots: int
    fuse: int


@dataclass(frozen=True)
class Fault:
    """What goes wrong at a moment, for so long where it lasts; `which` chooses its victim, `amount` how bad it is."""

    kind: str
    at: float
    seconds: float
    which: int
    amount: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.0f} s" if self.kind not in ("kill", "power", "gc", "verify", "tear") else ""
        return f"{self.kind} at {self.at:.1f} s{lasting}"


@dataclass(frozen=True)
class Scenario:
    """A seed's world."""

    seed: int
    local: bool
    swaps: bool
    launches: tuple[Launching, ...]
    faults: tuple[Fault, ...]
    without: tuple[int, ...] = ()

    @property
    def parts(self) -> int:
        return len(self.launches) + len(self.faults)

    def left(self) -> "tuple[list[tuple[int, Launching]], list[Fault]]":
        """The launches and faults that are not left out; launches with their numbers."""
        launches = [(n, one) for n, one in enumerate(self.launches) if n not in self.without]
        count = len(self.launches)
        return launches, [one for n, one in enumerate(self.faults, count) if n not in self.without]


def scenario_of(seed: int, without: tuple[int, ...] = ()) -> Scenario:
    random = Random(f"scenario {seed}")
    local = random.random() < 0.5
    swaps = random.random() < 0.75
    launches = tuple(
        Launching(
            at=random.choice((0.0, 0.0, 5.0, 40.0)) * random.random(),
            host=random.randrange(2),
            grid=random.randrange(len(GRIDS)),
            slots=random.choice((1, 1, 2, 3)),
            fuse=random.choice((1, 1, 1, 2)),
        )
        for _ in range(random.choice((1, 1, 2, 2, 2, 3)))
    )
    kinds = LOCAL if local else REMOTE
    faults = tuple(
        Fault(
            kind=random.choice(kinds),
            at=CALM_AFTER * random.random() ** 2,
            seconds=random.choice((3.0, 10.0, 30.0, 100.0)) * (0.5 + random.random()),
            which=random.randrange(1000),
            amount=random.random(),
        )
        for _ in range(random.choice((0, 1, 2, 3, 4, 6)))
    )
    ended = [one for one in faults if local and one.kind in ("gc", "verify") and random.random() < 0.5]
    power = tuple(
        Fault("power", one.at + UPKEEP_SECONDS * random.random(), one.seconds, one.which, one.amount) for one in ended
    )
    return Scenario(seed, local, swaps, launches, tuple(sorted(faults + power, key=lambda one: one.at)), without)
