"""A small synthetic corpus, prepared once, and grids over it that train in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.corpora import read_manifest
from data_prep.prepare import prepare
from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a prepared synthetic corpus: 4 emotions x 2 speakers x 2 texts x 2 takes."""
    folder = tmp_path_factory.mktemp("small")
    manifest = write_corpus(folder / "audio", SyntheticCorpus(speakers=2, texts=2, takes=2))
    truth = read_truth(folder / "audio" / "truth.csv")
    prepare("synthetic", read_manifest(manifest), folder / "data", truth=truth, inline=True)
    return folder / "data"


@pytest.fixture
def write_grid(tmp_path: Path) -> Callable[..., Path]:
    """Writes a grid over the small corpus; keyword arguments replace its fields."""

    def write(**fields: Any) -> Path:
        grid = {
            "corpora": ["synthetic"],
            "backbones": ["tiny"],
            "rules": ["none", "bdsl", {"wdsl": [0, 0.2, 1]}, "gsl", "hdl"],
            "folds": 2,
            "training": {"epochs": 2, "every": 16},
            **fields,
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(grid), encoding="utf-8")
        return path

    return write
