"""Waveform -> log-Mel frames (§VI)."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FeatureSettings:
    """How frames and segments are cut. The defaults are the paper's (§VI).

    A segment of 32 frames lasts 32 x 10 ms + 15 ms = 335 ms; `segment_hop` is in frames (1 = 10 ms).
    """

    sample_rate: int = 16_000  # Hz
    window: int = 400  # samples, 25 ms
    shift: int = 160  # samples, 10 ms
    fft: int = 512
    mels: int = 64
    low_hz: float = 125.0
    high_hz: float = 7_500.0
    floor: float = 1e-10  # power below which the logarithm is cut off
    segment_frames: int = 32
    segment_hop: int = 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class LogMel:
    """Turns waveforms into log-Mel frames: Hann window, no centring, HTK Mel scale (Eq. 19), natural log of power."""

    def __init__(self, settings: FeatureSettings) -> None:
        import torchaudio

        self.settings = settings
        # torch frames the signal by the FFT length with the window in the middle of it. Padding by half the
        # difference makes that the same as framing by the window length: 1 + (n - 400) // 160 frames.
        self._pad = (settings.fft - settings.window) // 2
        self._power = torchaudio.transforms.MelSpectrogram(
            sample_rate=settings.sample_rate,
            n_fft=settings.fft,
            win_length=settings.window,
            hop_length=settings.shift,
            f_min=settings.low_hz,
            f_max=settings.high_hz,
            n_mels=settings.mels,
            power=2.0,
            center=False,
            norm=None,
            mel_scale="htk",
        )

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """`samples` float32 [n] -> frames float32 [1 + (n - window) // shift, mels]; no frames where n < window."""
        import torch

        if len(samples) < self.settings.window:
            return np.empty((0, self.settings.mels), dtype=np.float32)
        padded = torch.nn.functional.pad(torch.from_numpy(samples), (self._pad, self._pad))
        power = self._power(padded)
        return power.clamp_min(self.settings.floor).log().T.contiguous().numpy()
