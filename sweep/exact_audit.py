"""Whether networks know anything of the utterances that they are tested on: seen to the last bit, not estimated.

A fold's chain is trained on the corpus, and again on one in which the utterances that the fold tests have other labels,
and again with another sound of theirs (`dsl.alterations`). Nothing else is another. A clean chain comes to the same
networks, and says the same of every segment that is the same.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from dsl.settings import Alteration, Altered
from sweep.planning.stages import ChainSpec, StageSpec, distinct
from sweep.storage.store import Store, StoreError

# Of stage.json: what follows from training and validation alone.
LEARNT = ("training_segments", "validation_loss", "validation_wa", "kept_epoch", "epochs")


@dataclass(frozen=True)
class Check:
    """A chain, and what it comes to where `what` the utterances have that it is tested on is altered."""

    chain: ChainSpec
    altered: ChainSpec
    what: Altered


@dataclass(frozen=True)
class Parting:
    """Where a chain and its altered twin first differ: at which training, in what, and first in which utterance."""

    stage: StageSpec
    differs: tuple[str, ...]
    segments: int
    of_segments: int
    utterance: str | None

    @property
    def text(self) -> str:
        """`first differs at iteration 1: weights, validation, 120 of 8,448 predictions, first of 03a01Fa`."""
        inner = "" if self.stage.inner_fold is None else f", inner fold {self.stage.inner_fold}"
        said = f"{self.segments:,} of {self.of_segments:,} predictions, first of {self.utterance}"
        found = [*self.differs, *([said] if self.segments else [])]
        return f"first differs at iteration {self.stage.iteration}{inner}: {', '.join(found)}"


def checks_of(chains: Sequence[ChainSpec], folds: Collection[int]) -> list[Check]:
    """Two checks for each chain that is tested on one of `folds`: other labels, and another sound."""
    return [
        Check(chain, ChainSpec(replace(chain.last, altered=Alteration.of(chain.last.fold, what))), what)
        for chain in chains
        if chain.last.fold in folds
        for what in get_args(Altered)
    ]


def needed_chains(checks: Iterable[Check]) -> list[ChainSpec]:
    """All that is to be trained for `checks`: either twin, and what it takes from the chains of other folds."""
    twins = [twin for check in checks for twin in (check.chain, check.altered)]
    return distinct(one for twin in twins for one in (*map(ChainSpec, twin.last.foreign_inputs), twin))


def check_networks_kept(store: Store, chains: Iterable[ChainSpec], done: Collection[str]) -> None:
    """Raise StoreError where a stage of `chains` that is `done` was kept without its network: there would be nothing to
    compare."""
    for key in sorted({stage.key for chain in chains for stage in chain.stages}.intersection(done)):
        if "weights" not in (store.read_stage(key) or {}):
            raise StoreError(
                f"store {store.uri} holds stages without their networks; give the audit a store of its own"
            )


def parting(store: Store, check: Check) -> Parting | None:
    """Where the twins of a check part first; None where they are the same. Raises StoreError where one is missing."""
    for stage, other in zip(check.chain.stages, check.altered.stages, strict=True):
        found = _compare(store, stage, other)
        if found is not None:
            return found
    return None


def _compare(store: Store, stage: StageSpec, other: StageSpec) -> Parting | None:
    (record, predictions), (other_record, other_predictions) = (_read(store, one) for one in (stage, other))
    assert other.altered is not None
    differs = [] if _same_weights(store.read_weights(stage.key), store.read_weights(other.key)) else ["weights"]
    if _learnt(record) != _learnt(other_record):
        differs.append("what is learnt and validated")
    of_segments = ("utterance", "segment", "test")
    if not all(np.array_equal(getattr(predictions, one), getattr(other_predictions, one)) for one in of_segments):
        return Parting(stage, (*differs, "parts"), 0, len(predictions.q), None)
    compared = np.ones(len(predictions.q), dtype=bool)
    if other.altered.what == "sound" and stage.inner_fold is None:
        compared = ~predictions.test  # what is said of another sound may be something else
    others = compared & (predictions.q.view(np.uint32) != other_predictions.q.view(np.uint32)).any(axis=1)
    if not differs and not others.any():
        return None
    first = None
    if others.any():
        _, utterances = store.read_corpus(stage.corpus)
        first = str(utterances["id"].iloc[predictions.utterance[others.argmax()]])
    return Parting(stage, tuple(differs), int(others.sum()), int(compared.sum()), first)


def _read(store: Store, stage: StageSpec) -> tuple[dict[str, Any], Any]:
    record = store.read_stage(stage.key)
    predictions = None if record is None else store.read_predictions(stage.key, record)
    if record is None or predictions is None:
        raise StoreError(f"store {store.uri}: stage {stage.key} is missing or damaged; repeat the audit")
    return record, predictions


def _same_weights(first: bytes | None, second: bytes | None) -> bool:
    """Whether two networks, and what standardises their input, are the same to the last bit. A damaged one is not."""
    if first is None or second is None:
        return False
    from safetensors.numpy import load

    networks = load(first), load(second)
    return networks[0].keys() == networks[1].keys() and all(
        networks[0][name].tobytes() == networks[1][name].tobytes() for name in networks[0]
    )


def _learnt(record: dict[str, Any]) -> tuple[Any, ...]:
    history = [{name: value for name, value in epoch.items() if name != "rate"} for epoch in record["history"]]
    return history, *(record["metrics"][name] for name in LEARNT)
