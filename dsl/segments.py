"""A corpus's segments on the device that trains: frames once, segments gathered by index; there is no loader."""

import numpy as np
import torch

from data_prep.shards import SegmentCorpus


class Segments:
    """A corpus's segments on a device, standardised per Mel band."""

    def __init__(self, corpus: SegmentCorpus, mean: np.ndarray, deviation: np.ndarray, device: torch.device) -> None:
        self.statistics = mean, deviation
        frames = torch.from_numpy(corpus.frames).to(device)
        self.frames = frames.sub(_float32(mean, device)).div_(_float32(deviation, device))
        self.start = torch.from_numpy(corpus.start).to(device)
        self._offset = torch.arange(corpus.segment_frames, device=device)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        """Segments `index` [n] as network input [n, 1, mels, frames], channels last."""
        windows = self.frames[self.start[index, None] + self._offset]
        return windows.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)


def _float32(values: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


def band_statistics(corpus: SegmentCorpus, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each Mel band over the frames of segments `index`: two float64 [mels]."""
    begins = np.bincount(corpus.start[index], minlength=len(corpus.frames) + 1)
    ends = np.bincount(corpus.start[index] + corpus.segment_frames, minlength=len(corpus.frames) + 1)
    used = np.cumsum(begins - ends)[:-1] > 0
    frames = corpus.frames[used].astype(np.float64)
    return frames.mean(axis=0), np.maximum(frames.std(axis=0), 1e-6)
