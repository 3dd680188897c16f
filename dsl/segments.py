"""A corpus's segments on the device that trains: frames once, segments gathered by index; there is no loader."""

import copy
from dataclasses import replace

import numpy as np
import torch

from data_prep.arrays import Floats, Ints
from data_prep.shards import SegmentCorpus
from dsl.settings import Layout, Standardisation

LEAST_DEVIATION = 1e-6  # what is silent throughout is not scaled up


class Segments:
    """A corpus's segments on a device, standardised by a `mean` and a `deviation` for each Mel band [mels]."""

    def __init__(self, corpus: SegmentCorpus, mean: Floats, deviation: Floats, device: torch.device) -> None:
        self.frames = torch.from_numpy(corpus.frames).to(device)
        self.start = torch.from_numpy(corpus.start).to(device)
        self._offset = torch.arange(corpus.segment_frames, device=device)
        self._standardise_by(mean, deviation)

    def standardised_by(self, mean: Floats, deviation: Floats) -> "Segments":
        """The same segments, in the same place on the device, standardised otherwise."""
        other = copy.copy(self)
        other._standardise_by(mean, deviation)
        return other

    def _standardise_by(self, mean: Floats, deviation: Floats) -> None:
        self.statistics = mean, deviation
        self._mean, self._deviation = (_float32(values, self.frames.device) for values in (mean, deviation))

    @property
    def shape(self) -> tuple[int, int]:
        """Frames and Mel bands of a segment."""
        return len(self._offset), self.frames.shape[1]

    def batch(self, index: torch.Tensor, layout: Layout = "channels_last") -> torch.Tensor:
        """Segments `index` [n] as network input [n, 1, mels, frames]."""
        windows = self.frames[self.start[index, None] + self._offset].sub_(self._mean).div_(self._deviation)
        # Of one channel, either layout counts as the other: strides tell a network which one it is to take.
        if layout == "contiguous":
            return windows.transpose(1, 2).contiguous().unsqueeze(1)
        return windows.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)


def _float32(values: Floats, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


def input_statistics(corpus: SegmentCorpus, index: Ints, standardisation: Standardisation) -> tuple[Floats, Floats]:
    """Mean and deviation of each Mel band, float64 [mels], that standardise what a training on segments `index` sees.

    They change nothing where nothing is to be standardised by the training part: `none`, and `utterance`, whose frames
    are (`standardised_by_utterance`).
    """
    if standardisation == "band":
        return band_statistics(corpus, index)
    mels = corpus.frames.shape[1]
    if standardisation == "overall":
        frames = _frames_of(corpus, index)
        return np.full(mels, frames.mean()), np.full(mels, max(frames.std(), LEAST_DEVIATION))
    return np.zeros(mels), np.ones(mels)


def standardised_by_utterance(corpus: SegmentCorpus) -> SegmentCorpus:
    """The same corpus, each Mel band of an utterance shifted and scaled by its mean and deviation over the utterance.

    An utterance's frames begin with its first segment, and end where the next one's do: thinning changes nothing.
    """
    frames = np.empty_like(corpus.frames)
    first = np.sort(corpus.start[corpus.segment == 0])
    for begin, end in zip(first, [*first[1:], len(frames)], strict=True):
        own = corpus.frames[begin:end].astype(np.float64)
        frames[begin:end] = (own - own.mean(axis=0)) / np.maximum(own.std(axis=0), LEAST_DEVIATION)
    return replace(corpus, frames=frames)


def band_statistics(corpus: SegmentCorpus, index: Ints) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each Mel band over the frames of segments `index`: two float64 [mels]."""
    frames = _frames_of(corpus, index)
    return frames.mean(axis=0), np.maximum(frames.std(axis=0), LEAST_DEVIATION)


def _frames_of(corpus: SegmentCorpus, index: Ints) -> Floats:
    """The frames of segments `index`, each once: float64 [n, mels]."""
    begins = np.bincount(corpus.start[index], minlength=len(corpus.frames) + 1)
    ends = np.bincount(corpus.start[index] + corpus.segment_frames, minlength=len(corpus.frames) + 1)
    used = np.cumsum(begins - ends)[:-1] > 0
    return corpus.frames[used].astype(np.float64)
