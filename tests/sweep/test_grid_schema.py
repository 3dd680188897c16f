"""The JSON Schema that editors use accepts the grids that load, and refuses those that do not."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sweep.planning.grid import GridError, GridSpec, grid_schema, parse_grid

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
AXES = {"corpora": ["emodb"], "backbones": ["tiny"], "rules": ["bdsl"]}


def conforms(grid: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(grid_schema()).is_valid(grid)


def loads(grid: dict[str, Any]) -> bool:
    try:
        parse_grid(grid, "here")
    except GridError:
        return False
    return True


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_grid_conforms_and_tells_editors_of_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    jsonschema.validate(yaml.safe_load(text), grid_schema(), jsonschema.Draft202012Validator)
    assert text.splitlines()[0] == "# yaml-language-server: $schema=grid.schema.json"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(grid_schema())


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": ["none", "dhl", {"wdsl": 0.2}, {"ema": [0, 1]}, {"wdsl": [[0.5, 0.2]]}], "iterations": 2},
        {"splits": ["speaker"], "label_sources": ["cross_fit"], "inner_folds": 2, "seeds": [0, 1]},
        {"training": {"epochs": "paper", "every": 16}, "resources": {"gpu": 0.25}, "weights": "last"},
        {"training": {"validation_share": 0, "early_stopping": False}, "splits": ["text"]},
        {"training": {"validation_by": "utterance"}, "splits": ["speaker_text"]},
        {"training": {"epochs": 3}, "resources": {"gpu": "auto", "max_concurrent": 2}, "fuse": 4},
        {"features": {"segment_frames": 32}, "tracking": {"tensorboard": "curves"}, "labels": "permuted"},
        {"chains": [{"name": "one", "rules": ["gsl"]}, {"backbones": ["vgg19"]}]},
        {"training": {"learning_rate": [0.001, 0.0003], "epochs": ["paper", 3], "early_stopping": [True, False]}},
        {
            "training": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}, "batch_size": {"int_uniform": [16, 64]}},
            "samples": 8,
        },
        {"training": {"precision": {"choice": ["float32", "bfloat16"]}}, "samples": 2, "sampling_seed": 3},
        {"rules": [{"wdsl": {"uniform": [0, 1]}}, {"ema": [0.2, {"choice": [0.5, 0.7]}]}], "samples": 2},
        {"features": {"segment_frames": [20, 32], "segment_hop": 1}},
        {"chains": [{"training": {"decay": {"uniform": [0.5, 1]}}, "samples": 4, "features": {"mels": 64}}, {}]},
    ],
    ids=str,
)
def test_what_loads_conforms(fields: dict[str, Any]) -> None:
    assert loads({**AXES, **fields}) and conforms({**AXES, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": ["wdsl"]},
        {"rules": ["bogus"]},
        {"rules": [{"bdsl": 0.2}]},
        {"rules": [{"wdsl": 0.2, "ema": 0.2}]},
        {"rules": [{"wdsl": 1.5}]},
        {"rules": []},
        {"backbones": ["resnet"]},
        {"corpora": []},
        {"splits": ["singer"]},
        {"label_sources": ["out_of_fold"]},
        {"labels": "shuffled"},
        {"folds": 1},
        {"seeds": [-1]},
        {"fuse": 65},
        {"weights": "some"},
        {"training": {"epochs": "many"}},
        {"training": {"epochs": 0}},
        {"training": {"validation_share": -0.1}},
        {"training": {"validation_by": "singer"}},
        {"training": {"batchsize": 16}},
        {"resources": {"gpu": -1}},
        {"resources": {"cpu": 0}},
        {"chains": []},
        {"chains": [{"folds": 5}]},
        {"corpus": "emodb"},
        {"folds": [5, 10]},
        {"resources": {"cpu": [1, 2]}},
        {"samples": 0},
        {"samples": [8, 16]},
        {"training": {"learning_rate": []}},
        {"training": {"learning_rate": [0.1, -1]}},
        {"training": {"learning_rate": None}},
        {"training": {"learning_rate": {}}, "samples": 2},
        {"training": {"learning_rate": {"normal": [0, 1]}}, "samples": 2},
        {"training": {"learning_rate": {"uniform": [0.1]}}, "samples": 2},
        {"training": {"learning_rate": {"uniform": [0.1, 0.2], "choice": [1]}}, "samples": 2},
        {"training": {"learning_rate": {"uniform": None}}, "samples": 2},
        {"rules": [{"wdsl": {"uniform": [0, 1.5]}}], "samples": 2},
        {"features": {"segment_frames": ["long"]}},
    ],
    ids=str,
)
def test_what_does_not_load_does_not_conform(fields: dict[str, Any]) -> None:
    assert not loads({**AXES, **fields}) and not conforms({**AXES, **fields})


def test_every_field_says_what_it_means() -> None:
    schema = grid_schema()
    parts = [schema, *schema["$defs"].values()]
    silent = [name for part in parts for name, field in part["properties"].items() if not field.get("description")]
    assert not silent
    assert set(schema["properties"]) == set(GridSpec.model_fields)
