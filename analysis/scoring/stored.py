"""What a store holds of a grid: its stages by network, their corpora by name, and what stage.json says."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from analysis import columns
from analysis.identity import Network
from data_prep.corpora import known_name
from sweep.planning.stages import ChainSpec, StageSpec
from sweep.storage.store import Store


def cells_of(chains: Iterable[ChainSpec]) -> list[list[StageSpec]]:
    """The distinct stages of `chains` that are tested, those that differ in nothing but the fold together."""
    cells: dict[StageSpec, dict[int, StageSpec]] = {}
    for chain in chains:
        for stage in chain.stages:
            if stage.inner_fold is not None:
                continue
            cells.setdefault(replace(stage, fold=0), {})[stage.fold] = stage
    return [[folds[fold] for fold in sorted(folds)] for folds in cells.values()]


def corpus_names(store: Store, chains: Iterable[ChainSpec]) -> dict[str, str]:
    """Full name -> what to call each corpus of `chains` that the store holds: as `known_name` does, or in full where
    two are called so."""
    held = {chain.last.corpus for chain in chains}.intersection(store.corpora())
    return told_by_name({name: known_name(store.read_corpus(name)[0]) for name in held})


def told_by_name(short: Mapping[str, str]) -> dict[str, str]:
    """Full name -> short name, or the full one where two are called so."""
    shared = list(short.values())
    return {name: one if shared.count(one) == 1 else name for name, one in short.items()}


def about_network(about_corpus: Mapping[str, Any], stage: StageSpec, short: Mapping[str, str]) -> dict[str, Any]:
    """The columns of NETWORK_IDENTITY, and the updates, for the network that `stage` is a fold of."""
    return {
        columns.CORPUS: short[stage.corpus],
        columns.PARTIAL: bool(about_corpus.get("partial", False)),
        columns.BACKBONE: stage.backbone,
        columns.RULE: stage.rule,
        columns.ALPHA: stage.alpha,
        columns.ITERATION: stage.iteration,
        columns.LABEL_SOURCE: stage.label_source or "",
        columns.SPLIT: stage.split_name,
        columns.LABELS: stage.labels,
        columns.UPDATES: stage.updates,
    }


def network_of(stage: StageSpec, short: Mapping[str, str]) -> Network:
    """The network that `stage` is a fold of; `short` is what `corpus_names` returns."""
    return Network.of(about_network({}, stage, short))


def record_of(store: Store, stage: StageSpec) -> dict[str, Any] | None:
    """What stage.json says; None where it is missing, or says nothing of predictions."""
    record = store.read_stage(stage.key)
    return record if record is not None and isinstance(record.get("predictions"), dict) else None
