"""The real Emo-DB, where SER_SWEEP_EMODB names the folder of its wav files."""

import os
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpora import read_emodb
from data_prep.features import FeatureSettings
from data_prep.prepare import Prepared, prepare
from data_prep.shards import load_corpus
from tests.data_prep.corpus_files import folder_of, frames_of, naive_segments

FOLDER = os.environ.get("SER_SWEEP_EMODB")
pytestmark = pytest.mark.skipif(not FOLDER, reason="SER_SWEEP_EMODB does not name the folder of Emo-DB's wav files")


@pytest.fixture(scope="module")
def emodb(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    utterances = read_emodb(Path(str(FOLDER)))
    return prepare("emodb", utterances, tmp_path_factory.mktemp("emodb"), inline=True)


def test_emodb_keeps_the_name_that_stages_in_stores_refer_to(emodb: Prepared) -> None:
    assert emodb.corpus.name == "emodb-d47d293dc766"


def test_emodb_has_the_papers_number_of_segments(emodb: Prepared) -> None:
    manifest = emodb.corpus.manifest
    assert manifest["utterances"] == 535
    assert manifest["speakers"] == 10
    assert manifest["segments"] == 131_053


def test_emodb_keeps_the_name_that_stores_know_it_by(emodb: Prepared) -> None:
    assert emodb.corpus.name == "emodb-d47d293dc766"


def test_emodb_has_the_known_number_of_utterances_of_every_emotion(emodb: Prepared) -> None:
    assert emodb.corpus.classes == {
        "anger": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happiness": 71,
        "neutral": 79,
        "sadness": 62,
    }


def test_emodb_takes_less_than_60_mb(emodb: Prepared) -> None:
    assert sum(path.stat().st_size for path in folder_of(emodb.corpus).rglob("*.*")) < 60e6


def test_emodb_gives_no_notice(emodb: Prepared) -> None:
    assert emodb.notices == ()


def test_every_segment_of_emodb_is_read_back_to_the_same_bits(emodb: Prepared) -> None:
    corpus, settings = load_corpus(emodb.corpus), FeatureSettings()
    ends = np.cumsum(np.bincount(corpus.utterance))
    for number, (utterance_id, end) in enumerate(zip(corpus.utterances["id"], ends, strict=True)):
        expected = naive_segments(frames_of(Path(str(FOLDER)) / f"{utterance_id}.wav", settings), settings)
        index = np.arange(end - len(expected), end)
        assert (corpus.utterance[index] == number).all()
        np.testing.assert_array_equal(corpus.spectrograms(index), expected)
