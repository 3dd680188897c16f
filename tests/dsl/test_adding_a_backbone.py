"""A backbone takes one function and one line in BACKBONES: the one that docs/extending.md adds trains."""

import re
from pathlib import Path

import pytest
import torch

from data_prep.shards import SegmentCorpus
from dsl import backbones
from dsl.backbones import BACKBONES
from dsl.company import run_chain
from dsl.settings import ChainSettings
from tests.dsl.dsl_toys import CPU, SETTINGS, MemoryStages

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's backbone `linear`, added as the page says, for the time of a test."""
    section = PAGE.read_text(encoding="utf-8").partition("## A backbone")[2].partition("\n## ")[0]
    function, line = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    names = dict(vars(backbones))
    exec(f"from __future__ import annotations\n{function}", names)
    (added,) = eval("{" + line + "}", names).items()
    monkeypatch.setitem(BACKBONES, *added)


@pytest.mark.usefixtures("linear")
def test_an_added_backbone_takes_segments_to_classes() -> None:
    assert BACKBONES["linear"](7)(torch.zeros(5, 1, 64, 32)).shape == (5, 7)


@pytest.mark.usefixtures("linear")
def test_chains_train_with_an_added_backbone(corpus: SegmentCorpus) -> None:
    memory = MemoryStages()
    run_chain(corpus, ChainSettings("toy", "linear", "stratified", 3, 0, 0, None, (), SETTINGS), CPU, memory)
    assert list(memory.saved) == [0]
