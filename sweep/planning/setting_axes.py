"""Settings that a grid may give one value, a list of values or a distribution: `training` and `features`."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError, field_validator
from pydantic_core.core_schema import ValidationInfo

from sweep.planning.sampling import Distribution
from sweep.planning.strict import Strict

T = TypeVar("T")
SHAPES = ONE, LIST, DISTRIBUTION = "<one>", "<list>", "<distribution>"  # no names of fields


def shape_of(value: Any) -> str:
    """Which of SHAPES the value of a field has in a grid's file."""
    if isinstance(value, list | tuple):
        return LIST
    return DISTRIBUTION if isinstance(value, Mapping | Distribution) else ONE


Axis = Annotated[
    Annotated[T, Tag(ONE)]
    | Annotated[tuple[T, ...], Field(min_length=1), Tag(LIST)]
    | Annotated[Distribution, Tag(DISTRIBUTION)],
    Discriminator(shape_of),
]


class SettingAxes(Strict):
    """Fields that take one value, a list or a distribution each; None where nothing is asked for."""

    @field_validator("*")
    @classmethod
    def _draws_what_the_field_takes(cls, value: Any, about: ValidationInfo) -> Any:
        if not isinstance(value, Distribution):
            return value
        field = about.field_name or ""
        one = _adapter(cls, field)
        if value.choice is not None:
            return Distribution(choice=tuple(_valid(one, each) for each in value.choice))
        named = [_valid(one, int(bound) if bound == int(bound) else bound) for bound in value.bounds]
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in named)
        if whole and value.int_uniform is None:
            bounds = ", ".join(f"{bound:g}" for bound in value.bounds)
            raise ValueError(f"{field} takes whole numbers; write {{int_uniform: [{bounds}]}}, or a list")
        if not whole and not all(isinstance(each, float) for each in named):
            raise ValueError(f"{field} takes no range of numbers; write a list, or {{choice: [...]}}")
        return value

    def over(self, top: Self) -> Self:
        """The same with the fields that it does not set taken from `top`."""
        set_here = {name: getattr(self, name) for name in self.model_fields_set}
        return top.model_copy(update=set_here)

    @property
    def given(self) -> dict[str, Any]:
        """The fields that ask for something, in their order."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def listed(self) -> dict[str, tuple[Any, ...]]:
        """The values of every field that is not drawn: one, or those of its list."""
        found = {name: value for name, value in self.given.items() if not isinstance(value, Distribution)}
        return {name: value if isinstance(value, tuple) else (value,) for name, value in found.items()}

    @property
    def drawn(self) -> dict[str, Distribution]:
        """The fields whose values are drawn."""
        return {name: value for name, value in self.given.items() if isinstance(value, Distribution)}

    @property
    def varied(self) -> list[str]:
        """The fields that are not one value."""
        return [name for name, value in self.given.items() if isinstance(value, tuple | Distribution)]

    def points(self) -> list[dict[str, Any]]:
        """Every combination of the listed values, field -> value."""
        listed = self.listed
        return [dict(zip(listed, values, strict=True)) for values in itertools.product(*listed.values())]

    def as_listed(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Drawn values as a list would give them, field -> value: 1 is 1.0 where the field takes any number."""
        return {field: _adapter(type(self), field).validate_python(value) for field, value in drawn.items()}

    def values_named(self, field: str) -> Sequence[Any]:
        """The values of `field` that the grid's file names; of a range its bounds."""
        value = getattr(self, field)
        if isinstance(value, Distribution):
            return value.named_values
        return value if isinstance(value, tuple) else (value,)


@cache
def _adapter(fields: type[SettingAxes], field: str) -> "TypeAdapter[Any]":
    """What checks one value of a field."""
    return TypeAdapter(_type_of_one(fields.model_fields[field].annotation))


def _type_of_one(declared: Any) -> Any:
    """Of what type one value of a field is that is declared as an Axis, or as one or None; None for anything else."""
    if any(isinstance(one, Tag) and one.tag == ONE for one in getattr(declared, "__metadata__", ())):
        return declared
    return next(filter(None, map(_type_of_one, get_args(declared))), None)


def _valid(kind: "TypeAdapter[Any]", value: Any) -> Any:
    """`value` as the type has it. Raises ValueError with the first thing that is wrong."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{error.errors()[0]['msg'].removeprefix('Value error, ')} (got {value!r})") from error
