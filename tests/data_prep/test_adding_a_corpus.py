"""A corpus takes one module and one line in CORPORA: the one that docs/extending.md adds can be prepared."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.corpora import catalogue
from data_prep.corpora.catalogue import CORPORA
from data_prep.data_folder import find_prepared
from ser_sweep.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def duo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's corpus `duo`, added as the page says, for the time of a test."""
    section = PAGE.read_text(encoding="utf-8").partition("## A corpus")[2].partition("\n## ")[0]
    module, line = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    names = dict(vars(catalogue))
    exec(module, names)
    (added,) = eval("{" + line + "}", names).items()
    monkeypatch.setitem(CORPORA, *added)


def write_duo(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in (
        f"{speaker}_{emotion}_{text}.wav" for speaker in ("s1", "s2") for emotion in "an" for text in (10, 11)
    ):
        soundfile.write(folder / name, rng.normal(0, 0.1, 8_000), 16_000)


@pytest.mark.usefixtures("duo")
def test_an_added_corpus_can_be_prepared(tmp_path: Path) -> None:
    write_duo(tmp_path / "audio")
    prepare = ["prepare", "duo", "--source", str(tmp_path / "audio"), "--out", str(tmp_path / "data"), "--inline"]
    assert main(prepare) == 0
    assert find_prepared(tmp_path / "data", "duo").classes == {"anger": 4, "neutral": 4}


@pytest.mark.usefixtures("duo")
def test_a_part_of_an_added_corpus_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_duo(tmp_path / "audio")
    (tmp_path / "audio" / "s1_a_10.wav").unlink()
    prepare = ["prepare", "duo", "--source", str(tmp_path / "audio"), "--out", str(tmp_path / "data"), "--inline"]
    assert main(prepare) == 2
    assert "7 utterances" in capsys.readouterr().err
