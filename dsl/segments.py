"""A corpus's segments on the device that trains: frames once, segments gathered by index; there is no loader."""

import copy

import numpy as np
import torch

from data_prep.arrays import Floats, Ints
from data_prep.shards import SegmentCorpus
from dsl.settings import Layout


class Segments:
    """A corpus's segments on a device, standardised per Mel band by `mean` and `deviation` [mels]."""

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


def band_statistics(corpus: SegmentCorpus, index: Ints) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each Mel band over the frames of segments `index`: two float64 [mels]."""
    begins = np.bincount(corpus.start[index], minlength=len(corpus.frames) + 1)
    ends = np.bincount(corpus.start[index] + corpus.segment_frames, minlength=len(corpus.frames) + 1)
    used = np.cumsum(begins - ends)[:-1] > 0
    frames = corpus.frames[used].astype(np.float64)
    return frames.mean(axis=0), np.maximum(frames.std(axis=0), 1e-6)
