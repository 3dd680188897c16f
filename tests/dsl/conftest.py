"""What the tests of `dsl` share: one thread, a small corpus."""

from collections.abc import Iterator

import pytest
import torch

from data_prep.shards import SegmentCorpus
from tests.dsl.dsl_toys import toy_corpus


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
