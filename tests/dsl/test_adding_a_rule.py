"""A rule takes one function and one line in RULES: the one that docs/extending.md adds works everywhere."""

import re
from pathlib import Path

import numpy as np
import pytest

from data_prep.shards import SegmentCorpus
from dsl import labels
from dsl.company import run_chain
from dsl.labels import RULES, LabelUpdate, one_hot, updated_targets
from dsl.settings import ChainSettings
from sweep.planning.grid import GridError, parse_grid
from sweep.planning.stages import canonical_updates
from tests.dsl.dsl_toys import CPU, SETTINGS, MemoryStages, distributions

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
GRID = {"corpora": ["emodb"], "backbones": ["tiny"]}


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's rule `sure`, added as the page says, for the time of a test."""
    section = PAGE.read_text(encoding="utf-8").partition("## A rule")[2]
    blocks = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    function, line = blocks
    names = dict(vars(labels))
    exec(function, names)
    (added,) = eval("{" + line + "}", names).items()
    monkeypatch.setitem(RULES, *added)


@pytest.mark.usefixtures("sure")
def test_an_added_rule_makes_targets() -> None:
    q = np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]], dtype=np.float32)
    y = one_hot(np.array([2, 2]), 3)
    g = updated_targets(LabelUpdate("sure", 0.5), q, y, y, np.zeros(2, dtype=int))
    np.testing.assert_array_equal(g, [[1, 0, 0], [0, 0, 1]])


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("source", ["in_fold", "cross_fit", "global_oof"])
def test_chains_train_with_an_added_rule(corpus: SegmentCorpus, source: str) -> None:
    memory = MemoryStages(others={0: distributions(len(corpus), 3)})
    updates = (LabelUpdate("sure", 0.5),)
    inner = 2 if source == "cross_fit" else None
    chain = ChainSettings("toy", "tiny", "stratified", 3, 0, 0, source, updates, SETTINGS, inner_folds=inner)
    run_chain(corpus, chain, CPU, memory)
    assert list(memory.saved) == [0, 1]


@pytest.mark.usefixtures("sure")
def test_grids_take_an_added_rule_with_its_alphas() -> None:
    (choice,) = parse_grid({**GRID, "rules": [{"sure": [0.5, 0.9]}]}, "here").rules or ()
    assert (choice.rule, choice.alphas) == ("sure", (0.5, 0.9))


@pytest.mark.usefixtures("sure")
def test_grids_ask_for_the_alpha_of_an_added_rule() -> None:
    with pytest.raises(GridError, match="sure needs an alpha"):
        parse_grid({**GRID, "rules": ["sure"]}, "here")


@pytest.mark.usefixtures("sure")
def test_an_added_rule_is_at_its_limit_the_one_it_names() -> None:
    assert canonical_updates("sure", 0.0, 2) == (LabelUpdate("hdl"), LabelUpdate("hdl"))


def test_a_rule_that_was_not_added_is_refused() -> None:
    with pytest.raises(GridError, match="'sure' is not known"):
        parse_grid({**GRID, "rules": [{"sure": 0.5}]}, "here")
