"""How much a launch may take: hours, money or trials. When the next trial would not fit, no more are issued."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from data_prep.errors import UserError
from data_prep.text import counted, duration
from sweep.machine import THIS_MACHINE, Machine
from sweep.planning.cost import StageSeconds
from sweep.planning.stages import StageSpec

HOUR = 3600.0


@dataclass(frozen=True)
class Limits:
    """What a launch may take: `max_hours` of wall clock, a `max_price` of its device-hours at a `price_per_hour` each,
    and `max_trials` issued. None is no limit. Raises UserError for limits that make no sense.
    """

    max_hours: float | None = None
    max_price: float | None = None
    price_per_hour: float | None = None
    max_trials: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_hours", "max_price", "price_per_hour"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < math.inf):
                raise UserError(f"--{name.replace('_', '-')} {value!r} is not a number above 0")
        trials = self.max_trials
        if trials is not None and (not isinstance(trials, int) or isinstance(trials, bool) or trials < 1):
            raise UserError(f"--max-trials {trials!r} is not a whole number of at least 1")
        if self.max_price is not None and self.price_per_hour is None:
            raise UserError(
                f"--max-price {self.max_price:g} needs --price-per-hour: the price of a GPU or, without GPUs, of a "
                "trial's CPUs"
            )
        if self.price_per_hour is not None and self.max_price is None:
            raise UserError(f"--price-per-hour {self.price_per_hour:g} limits nothing by itself; give --max-price, too")

    def reached(self, spent: "Spent", seconds: float | None, share: float) -> str | None:
        """The limit within which another trial of so many `seconds` does not fit, in words; None where it fits.

        Of a trial of which nothing is known, it is only asked whether the limit is used up. The trial takes a `share`
        of a device.
        """
        hours = (seconds or 0.0) / HOUR
        if self.max_trials is not None and spent.trials >= self.max_trials:
            return f"--max-trials {self.max_trials}"
        if self.max_hours is not None and not _fits(spent.hours, hours, self.max_hours):
            return f"--max-hours {self.max_hours:g}"
        if self.max_price is not None and self.price_per_hour is not None:
            price = spent.device_hours * self.price_per_hour
            if not _fits(price, hours * share * self.price_per_hour, self.max_price):
                return f"--max-price {self.max_price:g}"
        return None


def _fits(spent: float, more: float, limit: float) -> bool:
    return spent < limit and spent + more <= limit


@dataclass(frozen=True)
class Spent:
    """What a launch has taken: `trials` that ran or run, wall-clock `hours` since its begin until another trial could
    start, and `device_hours`, of which those under way have what they are expected to take in all."""

    trials: int = 0
    hours: float = 0.0
    device_hours: float = 0.0


@dataclass(frozen=True)
class Limited:
    """That a launch ended by a `limit` (`--max-hours 8`), with so many `stages` left, whose training takes `seconds`
    one after the other; None where that is not known."""

    limit: str
    stages: int
    seconds: float | None

    def text(self, slots: int) -> str:
        """`--max-hours 8: 40 stages left, about 3 h 20 min with 2 trials at once`, for people."""
        left = f"{self.limit}: {counted(self.stages, 'stage')} left"
        if self.seconds is None:
            return left
        return f"{left}, about {duration(self.seconds / slots)} with {counted(slots, 'trial')} at once"


@dataclass
class _UnderWay:
    """A trial: what it trains, its share of a device, and when its process began."""

    stages: tuple[StageSpec, ...]
    share: float
    since: float | None = None


class Budget:
    """What a launch has left of its `limits`, from its making on. `seconds` is what stages take, where that is asked.

    Once a trial did not fit, the limit is `reached`, and stays so. On a cluster more trials may be issued than the
    `slots` that there are.
    """

    def __init__(
        self, limits: Limits | None = None, seconds: StageSeconds | None = None, machine: Machine = THIS_MACHINE
    ) -> None:
        self.reached: str | None = None
        self.slots = 1
        self._limits = limits or Limits()
        self._counts = self._limits != Limits()
        self._seconds = seconds or StageSeconds((), {})
        self._machine = machine
        self._begun = machine.monotonic()
        self._trials = 0  # that came to an end
        self._device_seconds = 0.0  # of trials that are over
        self._under_way: dict[str, _UnderWay] = {}

    @property
    def spent(self) -> Spent:
        """What the launch has taken so far."""
        now = self._machine.monotonic()
        seconds, device_seconds = now - self._begun, self._device_seconds
        waits = len(self._under_way) >= self.slots
        for one in self._under_way.values():
            expected, elapsed = self.seconds_of(one.stages) or 0.0, 0.0 if one.since is None else now - one.since
            device_seconds += one.share * max(expected, elapsed)
            seconds += max(0.0, expected - elapsed) / self.slots if waits else 0.0
        return Spent(self._trials + len(self._under_way), seconds / HOUR, device_seconds / HOUR)

    def fits(self, stages: Iterable[StageSpec], share: Callable[[], float]) -> bool:
        """Whether a trial of these stages may be issued; False from the first time on that it may not."""
        if self.reached is None and self._counts:
            self.reached = self._limits.reached(self.spent, self.seconds_of(stages), share())
        return self.reached is None

    def waits(self) -> None:
        """Note that there is nothing to issue but what other launches may leave: the limit may be used up meanwhile."""
        self.fits((), lambda: 1.0)

    def issued(self, trial: str, stages: Iterable[StageSpec], share: float) -> None:
        """A trial has its work."""
        if self._counts:
            self._under_way[trial] = _UnderWay(tuple(stages), share)

    def began(self, trial: str) -> None:
        """Its process is there. Where it is the second one, what the first took is spent."""
        one = self._under_way.get(trial)
        if one is not None:
            self._spend(one)
            one.since = self._machine.monotonic()

    def ended(self, trial: str, again: bool) -> None:
        """It is over. One that is to be tried `again` does not count as a trial."""
        one = self._under_way.pop(trial, None)
        if one is not None:
            self._spend(one)
            self._trials += not again

    def _spend(self, one: _UnderWay) -> None:
        if one.since is not None:
            self._device_seconds += one.share * (self._machine.monotonic() - one.since)

    def learn(self, stage: StageSpec, seconds: float) -> None:
        """Take in what a stage took."""
        if self._counts:
            self._seconds.learn(stage, seconds)

    def seconds_of(self, stages: Iterable[StageSpec]) -> float | None:
        """What stages take, one after the other; None where that is not known of one of them."""
        found = [self._seconds.of(stage) for stage in stages]
        known = [one for one in found if one is not None]
        return sum(known) if len(known) == len(found) else None
