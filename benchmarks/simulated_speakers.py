"""Synthetic corpora by speakers who differ, and linear heads that learn to recognise their emotions: what
`interval_coverage.py` simulates by the hundred.

A segment is a point in `DIMENSIONS`. Its place is that of its emotion, times how expressive the speaker is, plus where
the speaker is, how the speaker says this emotion, the text, the utterance and noise. Emotions and texts are the same in
all corpora; a corpus has a panel of speakers of its own. A head is a linear layer trained by stochastic gradient
descent, and decides on an utterance by mean pooling. Many are trained at once, each on what it may learn from.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from data_prep.arrays import Bools, Floats, Ints

CLASSES, DIMENSIONS, TEXTS, SEGMENTS = 4, 24, 10, 4
FREQUENCY = np.array([7, 6, 4, 3]) / 20  # of the classes
APART, TEXT, UTTERANCE, SEGMENT = 3.6, 0.3, 0.9, 1.2  # emotions from the centre; standard deviations
PLACE, MANNER, EXPRESSIVE = 0.9, 0.6, 0.25  # standard deviations between speakers, where they differ strongly
STEPS, BATCH, RATE, MOMENTUM, DECAY, INITIAL = 120, 32, 0.1, 0.9, 1e-3, 0.1
HEADS = np.array([np.arange(DIMENSIONS) < 18, np.arange(DIMENSIONS) >= 6])  # two that share half of what they see


@dataclass(frozen=True)
class Condition:
    """What corpora are simulated: how many speakers and utterances, how they are split, how much speakers differ (1 is
    strongly), whether every speaker says all texts and emotions as often as the others, and how many training seeds."""

    split: str
    speakers: int
    utterances: int
    differ: float
    balanced: bool = False
    seeds: int = 1

    @property
    def folds(self) -> int:
        """The paper's ten; or as many as speakers, and eight for the 24."""
        return 10 if self.split == "stratified" else {4: 4, 10: 10, 24: 8}[self.speakers]


class Panel(NamedTuple):
    """The speakers of n corpora: where each is [n, S, D], how each says an emotion [n, S, K, D], and how expressive
    each is [n, S]."""

    place: Floats
    manner: Floats
    expressive: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator, corpora: int, condition: Condition) -> "Panel":
        shape, differ = (corpora, condition.speakers), condition.differ
        place = rng.normal(0, PLACE * differ, (*shape, DIMENSIONS))
        manner = rng.normal(0, MANNER * differ, (*shape, CLASSES, DIMENSIONS))
        return cls(place, manner, np.exp(rng.normal(0, EXPRESSIVE * differ, shape)))


class Utterances(NamedTuple):
    """Utterances of n corpora: segments [n, U, SEGMENTS, D] as float32, classes, speakers and folds [n, U]."""

    segments: torch.Tensor
    label: Ints
    speaker: Ints
    fold: Ints


def recorded(rng: np.random.Generator, panel: Panel, condition: Condition, count: int) -> Utterances:
    """`count` utterances by each panel."""
    corpora = len(panel.place)
    shape = corpora, count
    if condition.balanced:
        order = np.arange(count) // condition.speakers
        said = np.random.default_rng(1).permutation(np.repeat(np.arange(CLASSES), [7, 6, 4, 3]))
        speaker = np.broadcast_to(np.arange(count) % condition.speakers, shape)
        label, text = (np.broadcast_to(one, shape) for one in (said[order % len(said)], order % TEXTS))
    else:
        speaker = rng.integers(condition.speakers, size=shape)
        label, text = rng.choice(CLASSES, shape, p=FREQUENCY), rng.integers(TEXTS, size=shape)
    emotions, texts = _world()
    corpus = np.arange(corpora)[:, None]
    centre = panel.expressive[corpus, speaker][..., None] * emotions[label] + texts[text]
    centre += panel.place[corpus, speaker] + panel.manner[corpus, speaker, label]
    centre += rng.normal(0, UTTERANCE, centre.shape)
    noise = rng.standard_normal((*shape, SEGMENTS, DIMENSIONS), dtype=np.float32)
    segments = torch.from_numpy(centre[:, :, None].astype(np.float32) + np.float32(SEGMENT) * noise)
    return Utterances(segments, label, speaker, _folds(rng, label, speaker, condition))


def _world() -> tuple[Floats, Floats]:
    """Where emotions [K, D] and texts [T, D] are in all corpora."""
    rng = np.random.default_rng(20)
    emotions = rng.normal(size=(CLASSES, DIMENSIONS))
    emotions *= APART / np.linalg.norm(emotions, axis=1, keepdims=True)
    return emotions, rng.normal(0, TEXT, (TEXTS, DIMENSIONS))


def _folds(rng: np.random.Generator, label: Ints, speaker: Ints, condition: Condition) -> Ints:
    """The fold that tests each utterance [n, U]: each class in turn to all folds, or whole speakers."""
    if condition.split == "speaker":
        return speaker % condition.folds
    order = np.argsort(label + rng.random(label.shape), axis=1)
    fold = np.empty(label.shape, dtype=np.int64)
    np.put_along_axis(fold, order, np.broadcast_to(np.arange(label.shape[1]) % condition.folds, label.shape), axis=1)
    return fold


def redrawn(rng: np.random.Generator, corpus: Utterances, condition: Condition) -> Utterances:
    """The same corpora with other folds, as of another training seed."""
    return corpus._replace(fold=_folds(rng, corpus.label, corpus.speaker, condition))


def networks(generator: torch.Generator, corpus: Utterances, folds: range, sees: Bools) -> torch.Tensor:
    """Heads that see the dimensions `sees` [D], one for each of n corpora and each of `folds`, trained on the corpus
    without the fold: their weights [n, folds, D + 1, K]."""
    row, fold = np.repeat(np.arange(len(corpus.label)), len(folds)), np.tile(np.array(folds), len(corpus.label))
    weights = _trained(generator, corpus, row, corpus.fold[row] != fold[:, None], sees)
    return weights.reshape(len(corpus.label), len(folds), *weights.shape[1:])


def _trained(
    generator: torch.Generator, learnt_from: Utterances, corpus: Ints, may_train: Bools, sees: Bools
) -> torch.Tensor:
    """The weights [heads, D + 1, K] of heads, each trained on the utterances `may_train` [heads, U] of a corpus
    [heads]."""
    heads, utterances = may_train.shape
    order = torch.from_numpy(np.argsort(~may_train, axis=1, kind="stable"))
    there = torch.from_numpy(may_train.sum(axis=1, keepdims=True).astype(np.float32))
    first = torch.from_numpy(corpus * utterances)[:, None]
    segments = learnt_from.segments.reshape(-1, DIMENSIONS)
    label = torch.from_numpy(learnt_from.label.ravel().copy())
    seen = torch.from_numpy(np.append(sees, True).astype(np.float32))[:, None]
    weights = INITIAL * torch.randn(heads, DIMENSIONS + 1, CLASSES, generator=generator) * seen
    velocity = torch.zeros_like(weights)
    one = torch.ones(heads, BATCH, 1)
    for step in range(STEPS):
        drawn = torch.gather(order, 1, (torch.rand(heads, BATCH, generator=generator) * there).long()) + first
        segment = drawn * SEGMENTS + torch.randint(SEGMENTS, drawn.shape, generator=generator)
        batch = torch.cat([segments[segment], one], dim=2)
        wrong = torch.softmax(torch.bmm(batch, weights), dim=2)
        wrong.scatter_add_(2, label[drawn][..., None], -one)
        gradient = torch.bmm(batch.transpose(1, 2), wrong) / BATCH * seen + DECAY * weights
        velocity = MOMENTUM * velocity - RATE * (1 + np.cos(np.pi * step / STEPS)) / 2 * gradient
        weights = weights + velocity
    return weights


def decided(weights: torch.Tensor, segments: torch.Tensor) -> Ints:
    """The decisions [n, folds, U] of heads [n, folds, D + 1, K] on the utterances [n, U, SEGMENTS, D] of their corpora,
    by mean pooling."""
    corpora, folds = weights.shape[:2]
    side_by_side = weights.permute(0, 2, 1, 3).reshape(corpora, DIMENSIONS + 1, -1)
    logits = torch.bmm(segments.reshape(corpora, -1, DIMENSIONS), side_by_side[:, :-1]) + side_by_side[:, -1:]
    probable = torch.softmax(logits.reshape(corpora, -1, SEGMENTS, folds, CLASSES), dim=-1)
    pooled: Ints = probable.mean(dim=2).argmax(dim=-1).transpose(1, 2).numpy()
    return pooled


def counted(label: Ints, predicted: Ints, tested: Bools) -> Floats:
    """How often each class is decided to be each [n, K, K]: labels [n, U], and of the decisions [n, folds, U] those
    that are `tested`."""
    corpora = len(label)
    cell = (np.arange(corpora)[:, None, None] * CLASSES + label[:, None]) * CLASSES + predicted
    found = np.bincount(cell[np.broadcast_to(tested, cell.shape)], minlength=corpora * CLASSES**2)
    return found.reshape(corpora, CLASSES, CLASSES).astype(np.float64)


def rates(counts: Floats) -> Floats:
    """WA, UA and macro-F1 [..., 3] of counts [..., K, K]."""
    right = np.einsum("...kk->...k", counts)
    there, said = counts.sum(axis=-1), counts.sum(axis=-2)
    wa = right.sum(axis=-1) / there.sum(axis=-1)
    found: Floats = np.stack([wa, (right / there).mean(axis=-1), (2 * right / (there + said)).mean(axis=-1)], axis=-1)
    return found
