"""What a trained network of a store says of a recording: each segment's probabilities, and the decision.

    network = load_network(store, "3f0a")
    spoken = predict_recording(network, Path("file.wav"))

A recording goes the way that the corpus of the network went: decoded, mixed down, resampled, framed and cut as that was
prepared, and standardised by the statistics that are kept with the weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from data_prep.arrays import Floats
from data_prep.audio import Audio, Remark
from data_prep.errors import UserError, bulleted
from data_prep.features import FeatureSettings
from data_prep.recordings import read_recording, recording_frames
from data_prep.segments import segment_centres, segment_count
from data_prep.shards import SegmentCorpus
from data_prep.text import command, counted, plain
from dsl.acceleration.layers import laid_out
from dsl.backbones import BACKBONES, version_of
from dsl.segments import Segments, standardised_by_utterance
from dsl.steps import predict
from dsl.utterances import mean_pooled, utterance_features
from sweep.planning.stages import StageSpec, backbone_version_of
from sweep.storage.listed_folds import with_name_of_list
from sweep.storage.predictions import Predictions
from sweep.storage.store import Store, StoreError

NETWORK, MEAN, DEVIATION = "network.", "input.mean", "input.deviation"  # names in a stage's weights


@dataclass(frozen=True)
class TrainedNetwork:
    """The network of a stage, with what a recording must go through before it, and what it has been asked already."""

    stage: StageSpec
    classes: tuple[str, ...]
    settings: FeatureSettings
    module: nn.Module
    statistics: tuple[Floats, Floats]  # mean and deviation [mels]
    utterances: pd.DataFrame  # of its corpus
    predictions: Predictions


@dataclass(frozen=True)
class KnownUtterance:
    """A recording that the network's corpus has: its id and emotion, whether the network was tested on it or has learnt
    from it, and the largest difference of a probability from the store's (NaN where that holds none of it)."""

    id: str
    emotion: str
    tested: bool
    difference: float
    compared: int  # segments


@dataclass(frozen=True)
class Spoken:
    """What a network says of a recording: `q` [S, K] of its segments, whose centres are at `seconds` [S]."""

    network: TrainedNetwork
    path: Path
    length: float  # seconds
    source_rate: int
    channels: int
    remarks: tuple[Remark, ...]  # what is odd about its sound
    seconds: Floats
    q: Floats
    known: KnownUtterance | None

    @cached_property
    def means(self) -> Floats:
        """The mean probability of each class (h1, Eq. 14): float64 [K]."""
        return utterance_features(self.q, np.zeros(len(self.q), np.int64))[0, : self.q.shape[1]]

    @property
    def decision(self) -> int:
        """The class by mean pooling."""
        return int(mean_pooled(self.means[None], len(self.means))[0])


def kept_networks(store: Store) -> Iterator[tuple[StageSpec, dict[str, Any]]]:
    """The stages whose networks the store keeps, and their stage.json. Raises UserError of results alone."""
    store.require_predictions()
    for record in store.records():
        stage = StageSpec.of_record(record)
        if "weights" in record and stage is not None:
            yield stage, record


def load_network(store: Store, prefix: str) -> TrainedNetwork:
    """The network of the stage whose key begins with `prefix`.

    Raises UserError where no stage has such a key, or several, and where its network was not kept, or is of another
    version of its backbone; StoreError where the stage is damaged.
    """
    store.require_predictions()
    key = _find_key(store, prefix)
    record = store.read_stage(key)
    predictions = store.read_predictions(key)
    if record is None or predictions is None:
        raise _damaged(store, key)
    if "weights" not in record:
        raise UserError(
            f"stage {key} keeps no network: its grid had weights: none. Write weights: last (the last of each chain), "
            f"or weights: all, in the grid and train it in a new store. {_those_kept(store)}"
        )
    weights = store.read_weights(key)
    if weights is None:
        raise _damaged(store, key)
    try:
        stage = with_name_of_list(store.folder, StageSpec.of_identity(record["identity"]))
        classes = tuple(map(str, record["classes"]))
        _require_version(key, stage.backbone, backbone_version_of(record["identity"]))
        about, utterances = store.read_corpus(stage.corpus)
        settings = FeatureSettings(**about["settings"])
        module, statistics = _network(stage, len(classes), weights, settings.mels)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(store, key) from error
    return TrainedNetwork(stage, classes, settings, module, statistics, utterances, predictions)


def load_chain(store: Store, prefix: str) -> list[TrainedNetwork]:
    """The networks of a stage and of the earlier iterations of its chain, in order; those that are kept."""
    last = load_network(store, prefix)
    earlier = [last.stage.at(iteration) for iteration in range(last.stage.iteration)]
    kept = [stage.key for stage in earlier if "weights" in (store.read_stage(stage.key) or {})]
    return [*(load_network(store, key) for key in kept), last]


def _find_key(store: Store, prefix: str) -> str:
    if not store.exists:
        raise UserError(f"there is no store at {store.uri}; ser-sweep run makes one")
    found = store.keys_like(prefix)
    if prefix in found:
        return prefix
    if not found:
        raise UserError(f"store {store.uri} has no stage whose key begins with {prefix!r}. {_those_kept(store)}")
    if len(found) > 1:
        raise UserError(
            f"{len(found)} stages have keys that begin with {prefix!r}; give more characters of it:\n{bulleted(found)}"
        )
    return found[0]


def _those_kept(store: Store) -> str:
    """Where to look for one that can be asked."""
    count = sum(1 for _ in kept_networks(store))
    return f"It keeps {counted(count, 'network')}" + (f": {command('networks', '--store', store.uri)}" if count else "")


def _require_version(key: str, backbone: str, trained: int) -> None:
    built = version_of(backbone)
    if trained != built:
        raise UserError(
            f"stage {key} keeps a network of version {trained} of {backbone}, and this ser-sweep builds version "
            f"{built}: use the ser-sweep that trained it, or train the grid again"
        )


def _damaged(store: Store, key: str) -> StoreError:
    return StoreError(f"stage {key} in store {store.uri} is damaged; repair it with: ser-sweep store verify --repair")


def _network(stage: StageSpec, classes: int, weights: bytes, mels: int) -> tuple[nn.Module, tuple[Floats, Floats]]:
    """The network in a stage's weights, and the statistics kept with it. Raises what damaged ones raise."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(weights)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    mean, deviation = tensors.pop(MEAN).numpy(), tensors.pop(DEVIATION).numpy()
    if mean.shape != (mels,) or deviation.shape != (mels,):
        raise ValueError(f"statistics are of {mean.shape} bands, frames have {mels}")
    module = BACKBONES[stage.backbone](classes)
    module.load_state_dict({name.removeprefix(NETWORK): tensor for name, tensor in tensors.items()})
    return laid_out(module, torch.channels_last), (mean, deviation)


def predict_recording(network: TrainedNetwork, path: Path) -> Spoken:
    """Ask `network` about the recording at `path`. Raises AudioError."""
    settings = network.settings
    audio = read_recording(path, settings)
    (frames,) = recording_frames([audio.samples], settings)
    numbers = np.arange(segment_count(len(frames), settings))
    # A prepared corpus has the frames of segments, and no others.
    corpus = SegmentCorpus(
        name=path.name,
        classes=network.classes,
        utterances=pd.DataFrame({"id": [plain(path.name)]}),
        frames=frames[np.unique(numbers[:, None] * settings.segment_hop + np.arange(settings.segment_frames))],
        utterance=np.zeros(len(numbers), np.int32),
        segment=numbers,
        start=numbers * min(settings.segment_hop, settings.segment_frames),
        segment_frames=settings.segment_frames,
    )
    if network.stage.training.standardisation == "utterance":
        corpus = standardised_by_utterance(corpus)
    segments = Segments(corpus, *network.statistics, torch.device("cpu"))
    q = predict(network.module, segments, torch.from_numpy(numbers)).numpy()
    return Spoken(
        network,
        path,
        len(audio.samples) / settings.sample_rate,
        audio.source_rate,
        audio.channels,
        audio.remarks,
        segment_centres(numbers, settings),
        q,
        _known(network, audio, q),
    )


def _known(network: TrainedNetwork, audio: Audio, q: Floats) -> KnownUtterance | None:
    """The utterance of the network's corpus that the recording is, by its bytes or else by its sound in another format;
    None where it is none of them."""
    held = network.utterances
    same = [held[name].to_numpy() == getattr(audio, name) for name in ("sha256", "sound") if name in held]
    rows = next((found for found in map(np.flatnonzero, same) if len(found)), np.empty(0, np.int64))
    if not len(rows):
        return None
    about = held.iloc[rows[0]]
    told = network.predictions
    own = np.isin(told.utterance, rows[:1]) & (told.segment < len(q))
    difference = float(np.abs(told.q[own] - q[told.segment[own]]).max()) if own.any() else float("nan")
    return KnownUtterance(
        str(about["id"]), str(about["emotion"]), bool(told.test[own].any()), difference, int(own.sum())
    )
