"""What all parts of a grid file have in common."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Fields and no others. docs/grids.md and the JSON Schema show the string below each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
