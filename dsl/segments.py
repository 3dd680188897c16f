"""A corpus's segments on the device that trains: frames once, segments gathered by index; there is no loader."""

import numpy as np
import torch

from data_prep.shards import SegmentCorpus


class Segments:
    """A corpus's segments on a device, standardised per Mel band."""

    def __init__(self, corpus: SegmentCorpus, mean: np.ndarray, deviation: np.ndarray, device: torch.device) -> None:
        self.statistics = mean, deviation
        frames = (corpus.frames - mean) / deviation
        self.frames = torch.from_numpy(frames.astype(np.float32)).to(device)
        self.start = torch.from_numpy(corpus.start).to(device)
        self._offset = torch.arange(corpus.segment_frames, device=device)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        """Segments `index` [n] as network input [n, 1, mels, frames], channels last."""
        windows = self.frames[self.start[index, None] + self._offset]
        return windows.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)


def band_statistics(corpus: SegmentCorpus, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each Mel band over the frames of segments `index`: two float64 [mels]."""
    used = np.zeros(len(corpus.frames), dtype=bool)
    used[corpus.start[index, None] + np.arange(corpus.segment_frames)] = True
    frames = corpus.frames[used].astype(np.float64)
    return frames.mean(axis=0), np.maximum(frames.std(axis=0), 1e-6)
