"""The recorded store as the source of a report: a part of its grid that is decided in seconds."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from analysis.report import Place, ReportInput
from data_prep.shards import PreparedCorpus
from sweep.planning.grid import parse_grid
from sweep.planning.stages import Plan
from sweep.storage.store import Store

RECORDED = Path(__file__).parent / "recorded"
TRAINING = {"epochs": 12, "every": 48, "batch_size": 32, "learning_rate": 0.01}


def copy_store(folder: Path) -> Store:
    """A copy, because decisions are kept in a store."""
    shutil.copytree(RECORDED / "store", folder)
    return Store(folder)


def source_of(store: Store, **changes: Any) -> ReportInput:
    """The baseline and two rounds of HDL, of which a fold is missing, by two label sources.

    `changes` are fields of the grid.
    """
    grid = {
        "name": "recorded",
        "corpora": ["synthetic"],
        "backbones": ["tiny"],
        "rules": ["none", "hdl"],
        "iterations": 2,
        "label_sources": ["in_fold", "global_oof"],
        "folds": 3,
        "training": TRAINING,
        **changes,
    }
    spec = parse_grid(grid, "recorded")
    (name,) = Store(RECORDED / "store").corpora()
    about = store if store.corpora() else Store(RECORDED / "store")
    manifest, _ = about.read_corpus(name)
    prepared = PreparedCorpus(Path(name), manifest)
    records = list(store.records())
    plan = Plan.of(spec.expand({"synthetic": prepared}), (record["key"] for record in records), store.failures())
    return ReportInput(
        name=spec.name,
        settings=spec.model_dump(mode="json"),
        text=yaml.safe_dump(grid),
        place=Place("recorded.yaml", "DATA", "STORE", "REPORT"),
        plan=plan,
        chains=plan.chains,
        corpora=(prepared,),
        store=store,
        records=records,
        forest_seeds=1,
    )
