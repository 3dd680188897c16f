"""Values that a grid draws instead of listing them: distributions, and the points at which they are sampled."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import ConfigDict, model_validator

from sweep.planning.strict import Strict

SIGNIFICANT_DIGITS = 3  # of a drawn number: a grid that is written down by hand finds the same stages
LARGEST_SAMPLE = 10_000


def _one_of_its_kinds(schema: dict[str, Any]) -> None:
    """In a JSON Schema: a distribution has one property, and that is never null."""
    schema.update(minProperties=1, maxProperties=1)
    for about in schema["properties"].values():
        about.update(about.pop("anyOf")[0])
        del about["default"]


class Distribution(Strict):
    """Where the values of a field are drawn from: one of these, by `samples` of the grid."""

    model_config = ConfigDict(json_schema_extra=_one_of_its_kinds)

    uniform: tuple[float, float] | None = None
    """Numbers between two bounds."""
    log_uniform: tuple[float, float] | None = None
    """Positive numbers between two bounds, as often in each order of magnitude."""
    int_uniform: tuple[int, int] | None = None
    """Whole numbers from the first bound to the second, either included."""
    choice: tuple[Any, ...] | None = None
    """One of these values."""

    @model_validator(mode="after")
    def _check(self) -> "Distribution":
        given = sorted(self.model_fields_set)
        if len(given) != 1:
            kinds = ", ".join(type(self).model_fields)
            raise ValueError(f"a distribution is one of {kinds}; this one has {', '.join(given) or 'none'}")
        if self.choice is not None:
            if not self.choice:
                raise ValueError("choice needs at least one value")
            return self
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{given[0]} needs two finite bounds, not [{low:g}, {high:g}]")
        if low >= high:
            raise ValueError(f"{given[0]} needs a lower bound and then a higher one, not [{low:g}, {high:g}]")
        if self.log_uniform is not None and low <= 0:
            raise ValueError(f"log_uniform needs bounds above 0, not [{low:g}, {high:g}]")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the highest value of one that has bounds."""
        found = self.uniform or self.log_uniform or self.int_uniform
        assert found is not None
        return found

    @property
    def named_values(self) -> tuple[Any, ...]:
        """The values that the grid's file names: those to choose from, or the bounds."""
        return self.choice if self.choice is not None else self.bounds

    def at(self, place: float) -> Any:
        """The value at `place` in [0, 1), rounded to SIGNIFICANT_DIGITS and within the bounds."""
        if self.choice is not None:
            return self.choice[int(place * len(self.choice))]
        low, high = self.bounds
        if self.int_uniform is not None:
            return int(low) + int(place * (int(high) - int(low) + 1))
        if self.log_uniform is not None:
            value = math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
        else:
            value = low + place * (high - low)
        return min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), low), high)


def draw(distributions: Sequence[Distribution], samples: int, seed: int) -> list[tuple[Any, ...]]:
    """`samples` points of the product of `distributions`: a scrambled Halton sequence (Owen, arXiv 1706.02808).

    The first n points are the same for any number of samples, and on every machine.
    """
    from scipy.stats import qmc

    places = qmc.Halton(len(distributions), scramble=True, rng=np.random.default_rng(seed)).random(samples)
    return [tuple(one.at(place) for one, place in zip(distributions, row, strict=True)) for row in places.tolist()]
