"""The tables of docs/grids.md: the fields of a grid, from their schema."""

import json
from collections.abc import Callable
from typing import Any

from from_results import table
from pydantic import BaseModel

from sweep.planning.grid import GridSpec, grid_schema
from sweep.planning.grid_fields import FeatureChoice, Halving, Resources, Tracking, TrainingChoice

SECTIONS = {
    "Axes": "chains",
    "TrainingChoice": "training",
    "FeatureChoice": "features",
    "FoldsFrom": "folds-from-a-list",
    "Scheduler": "scheduler",
    "Halving": "scheduler",
    "Resources": "resources",
    "Tracking": "tracking",
}
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
BOUNDLESS = 10**9  # a bound that nobody meets
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def fields_of(model: type[BaseModel]) -> str:
    """The fields of a part of a grid file: type, default and meaning, from its schema."""
    schema = grid_schema()
    described = schema if model is GridSpec else schema["$defs"][model.__name__]
    rows = [
        [f"`{name}`", type_text(one), default_text(one), one["description"]]
        for name, one in described["properties"].items()
    ]
    return table(["field", "type", "default", "meaning"], rows, "llll")


def type_text(schema: dict[str, Any]) -> str:
    """A JSON Schema in words: `whole number, at least 1`, `list of stratified, speaker`; of an axis, one value's."""
    if "oneOf" in schema:
        first, *others = schema["oneOf"]
        told = [first, *(one for one in others if one.get("$ref", "").rpartition("/")[2] in SECTIONS)]
        return " or ".join(map(type_text, told))
    if "anyOf" in schema:
        return " or ".join(type_text(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "$ref" in schema:
        part = schema["$ref"].rpartition("/")[2]
        return f"[mapping](#{SECTIONS[part]})"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{name}`" for name in schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "array":
        return f"list: {type_text(schema['items'])}"
    if kind == "object":
        return f"mapping of one of {', '.join(f'`{name}`' for name in schema['properties'])} to alphas"
    bounds = [f"{word} {schema[key]:,}" for key, word in BOUNDS.items() if schema.get(key, BOUNDLESS) != BOUNDLESS]
    return ", ".join([WORDS[kind], *bounds])


def default_text(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{json.dumps(default)}`".replace('"', "")


FIELD_BLOCKS: dict[str, Callable[[], str]] = {
    "grid_fields": lambda: fields_of(GridSpec),
    "training_fields": lambda: fields_of(TrainingChoice),
    "feature_fields": lambda: fields_of(FeatureChoice),
    "scheduler_fields": lambda: fields_of(Halving),
    "resource_fields": lambda: fields_of(Resources),
    "tracking_fields": lambda: fields_of(Tracking),
}
