"""What comes out of a store that a real, small sweep left: every table in every format, the claims, every figure."""

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from textwrap import dedent
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

import analysis.figures
from analysis import collect_tables, decide, to_csv, to_json, to_latex, to_markdown
from analysis.figures import figures_of, save_figures
from analysis.paper.claims_text import claims_json, claims_text
from analysis.paper.findings import evaluate_claims
from data_prep.shards import PreparedCorpus
from sweep.planning.grid import load_grid
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
TABLES: dict[str, Callable[[Sequence[Any]], str]] = {
    "recorded.md": to_markdown,
    "recorded.tex": to_latex,
    "recorded.csv": to_csv,
    "recorded.json": to_json,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy, because decisions are kept in a store."""
    copy = tmp_path_factory.mktemp("recorded") / "store"
    shutil.copytree(HERE / "recorded" / "store", copy)
    return Store(copy)


@pytest.fixture(scope="module")
def chains(store: Store) -> list[ChainSpec]:
    (name,) = store.corpora()
    manifest, _ = store.read_corpus(name)
    return load_grid(HERE / "recorded" / "grid.yaml").expand({"synthetic": PreparedCorpus(Path(name), manifest)})


@pytest.fixture(scope="module")
def decisions(store: Store, chains: list[ChainSpec]) -> pd.DataFrame:
    return decide(store, chains, forest_seeds=1)


@pytest.fixture(scope="module")
def tables(store: Store, chains: list[ChainSpec], decisions: pd.DataFrame) -> list[Any]:
    return collect_tables(store, chains, decisions, test_chosen=True)


def check_golden(name: str, text: str) -> None:
    """Set UPDATE_GOLDEN=1 to write the files anew, then read their difference."""
    if os.environ.get("UPDATE_GOLDEN") == "1":
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_tables_equal_the_golden_files(tables: list[Any], name: str) -> None:
    check_golden(name, TABLES[name](tables))


def test_all_of_the_papers_tables_are_there(tables: list[Any]) -> None:
    text = to_markdown(tables)
    for title in ("Table I", "All networks", "Targets that are right"):
        assert f"**{title}.**" in text
    for number, source in product(("II", "III", "IV", "V"), ("in_fold", "global_oof (leaky)")):
        assert f"**Table {number}, label source {source}.**" in text
    assert "(2/3 folds)" in text
    assert "leaky: saw test labels" in text


def test_claims_equal_the_golden_files(decisions: pd.DataFrame) -> None:
    findings = evaluate_claims(decisions)
    check_golden("recorded_claims.txt", claims_text(findings))
    check_golden("recorded_claims.json", claims_json(findings))


def test_every_kind_of_figure_is_drawn(
    store: Store, chains: list[ChainSpec], decisions: pd.DataFrame, tmp_path: Path
) -> None:
    saved = save_figures(figures_of(store, chains, decisions), tmp_path, ["svg"])
    assert {one["kind"] for one in saved} == {
        *("class-recall", "contours", "alpha", "confusion", "label-sources", "label-correction", "learning-curves"),
        *("speakers", "speaker-recall", "calibration"),
    }
    for path in tmp_path.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_example_of_figures_runs(
    store: Store, chains: list[ChainSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = [line for line in (analysis.figures.__doc__ or "").splitlines() if line.startswith("    ")]
    monkeypatch.chdir(tmp_path)
    known = {"store": store, "chains": chains[:2], "Path": Path, "decide": partial(decide, forest_seeds=0)}
    exec(dedent("\n".join(example)), {**vars(analysis.figures), **known})
    assert (tmp_path / "figures" / "index.json").exists()
