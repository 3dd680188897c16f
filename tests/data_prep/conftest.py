"""A small synthetic corpus, its audio and its preparation in several shards, made once."""

from pathlib import Path

import pytest

from data_prep import prepare as preparation
from data_prep.corpora import read_manifest
from data_prep.prepare import Prepared, prepare
from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus


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
