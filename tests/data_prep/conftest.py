"""A small synthetic corpus, its audio and its preparation in several shards, made once."""

import shutil
from pathlib import Path

import pytest

from data_prep import prepare as preparation
from data_prep.corpora import read_manifest
from data_prep.prepare import Prepared, prepare
from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus
from tests.data_prep.corpus_files import folder_of


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of 4 utterances: 2 speakers x 2 emotions, `truth.csv` beside it."""
    corpus = SyntheticCorpus(speakers=2, texts=1, emotions=("anger", "sadness"), takes=1)
    return write_corpus(tmp_path_factory.mktemp("spoken"), corpus)


@pytest.fixture(scope="session")
def spoken_data(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The 4 utterances prepared with their truth, in several shards. Not to be changed: copy it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "SEGMENTS_PER_SHARD", 200)
        truth = read_truth(spoken.parent / "truth.csv")
        data = tmp_path_factory.mktemp("data")
        return prepare("spoken", read_manifest(spoken), data, truth=truth, inline=True)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shards even of a small corpus."""
    monkeypatch.setattr(preparation, "SEGMENTS_PER_SHARD", 200)


@pytest.fixture
def copy(spoken: Path, tmp_path: Path) -> Path:
    """The manifest of a copy of the spoken corpus, to be changed."""
    return shutil.copytree(spoken.parent, tmp_path / "spoken") / "manifest.csv"


@pytest.fixture
def done(spoken_data: Prepared, tmp_path: Path) -> Path:
    """The folder of a copy of the prepared corpus, to be damaged. Its data folder holds nothing else."""
    name = folder_of(spoken_data.corpus).name
    return shutil.copytree(folder_of(spoken_data.corpus), tmp_path / "data" / name)
