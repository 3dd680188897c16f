"""What the tests of `dsl` share: one thread, a small corpus, and chains on it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data_prep.shards import SegmentCorpus
from dsl import chain
from dsl.segments import input_statistics
from dsl.steps import TrainingRun
from dsl.training import Lesson, Training
from tests.dsl.chains import CROSS_FIT, run, update
from tests.dsl.dsl_toys import MemoryStages, distributions, toy_corpus


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """The networks are too small for more, and the same bits are promised for the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def corpus() -> SegmentCorpus:
    """Not to be written to: 18 utterances of three classes."""
    return toy_corpus()


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Lesson]:
    """What the trainings of chains are given, which are still done."""
    noted: list[Lesson] = []

    def noting(lesson: Lesson, *rest: Any) -> Training:
        noted.append(lesson)
        return Training(lesson, *rest)

    monkeypatch.setattr(chain, "Training", noting)
    return noted


@pytest.fixture
def standardised(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The segments whose statistics standardise what a network sees, for each network."""
    noted: list[np.ndarray] = []

    def noting(corpus: SegmentCorpus, index: np.ndarray, *how: Any) -> tuple[np.ndarray, np.ndarray]:
        noted.append(index)
        return input_statistics(corpus, index, *how)

    monkeypatch.setattr(chain, "input_statistics", noting)
    return noted


@pytest.fixture
def predicted(corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """What every network says once it is trained: [S, 3]."""
    q = distributions(len(corpus), 3, seed=4)
    monkeypatch.setattr(TrainingRun, "predict", lambda run, index: torch.from_numpy(q)[index])
    return q


@pytest.fixture(scope="session")
def spoken(corpus: SegmentCorpus) -> SegmentCorpus:
    """By six speakers, an utterance of each class by each: a speaker a fold, whatever the labels are."""
    speakers = [f"s{number // 3}" for number in range(len(corpus.utterances))]
    return replace(corpus, utterances=corpus.utterances.assign(speaker=speakers))


@pytest.fixture(scope="session")
def crossed(corpus: SegmentCorpus) -> MemoryStages:
    """A chain of two iterations with inner folds."""
    return run(corpus, update("ema"), update("ema"), **CROSS_FIT)
