"""What a Ray Tune trial runs: a module of its own, which imports little of what the processes of trials do not need."""

import pickle
from typing import Any

from data_prep.shards import SegmentCorpus
from data_prep.surroundings import settle_in
from sweep.storage.store import Store


def tune_trial(config: dict[str, Any], corpora: dict[str, SegmentCorpus], store_uri: str) -> None:
    """The Tune trainable. Raising an error makes Tune try the trial again."""
    from ray import tune

    from sweep.running.trial import train  # the launch, which names this function, needs no torch

    settle_in()
    train(pickle.loads(bytes.fromhex(config["task"])), corpora, Store(store_uri), tune.report)
