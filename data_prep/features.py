"""Waveform -> log-Mel frames (§VI)."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from data_prep.arrays import Floats
from data_prep.errors import SettingError, bulleted
from data_prep.text import counted

SEGMENT_MS = (215, 415)  # the shortest and the longest segment of the paper (§VI)
MOST_HOP_FRAMES = 10_000
FRAMINGS = ("described", "counted")


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
        """All settings by name, as a manifest holds them."""
        return asdict(self)


def feature_settings(segment_ms: int = 335, hop_ms: int = 10, framing: str = "described") -> FeatureSettings:
    """Settings from lengths in ms, as the paper gives them (§VI): f frames are a segment of 10 f + 15 ms.

    `framing` "described" has the paper's frames, of 25 ms every 10 ms. "counted" has those that give the paper's 51,027
    segments for SAVEE: 1 + (n - 1102) // 441 frames of n samples at 16 kHz, which are 25 ms and 10 ms at 44.1 kHz, the
    rate before resampling. At 16 kHz they last 68.9 ms and come every 27.6 ms, so a segment of 32 frames then lasts 923
    ms, and lengths in ms count frames only. Their FFT has 2,048 points, the power of two that holds a window.
    Raises SettingError with every value that cannot be.
    """
    shortest, longest = SEGMENT_MS
    problems = []
    if not shortest <= segment_ms <= longest or (segment_ms - 15) % 10:
        problems.append(
            f"--segment-ms {segment_ms}: a segment is a whole number of frames, 10 ms each and 15 ms more; "
            f"give one of {shortest}, {shortest + 10}, ... {longest}"
        )
    if not 10 <= hop_ms <= 10 * MOST_HOP_FRAMES or hop_ms % 10:
        problems.append(
            f"--hop-ms {hop_ms}: segments begin at frames, one every 10 ms; give 10, 20, 30, ... {10 * MOST_HOP_FRAMES}"
        )
    if framing not in FRAMINGS:
        problems.append(f"--framing {framing}: give one of {', '.join(FRAMINGS)}")
    if problems:
        raise SettingError(f"{counted(len(problems), 'setting')} for segments cannot be used\n" + bulleted(problems))
    frames = {"segment_frames": (segment_ms - 15) // 10, "segment_hop": hop_ms // 10}
    if framing == "counted":
        return FeatureSettings(window=1102, shift=441, fft=2048, **frames)
    return FeatureSettings(**frames)


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

    def __call__(self, samples: Floats) -> Floats:
        """`samples` float32 [n] -> frames float32 [1 + (n - window) // shift, mels]; no frames where n < window."""
        import torch

        if len(samples) < self.settings.window:
            return np.empty((0, self.settings.mels), dtype=np.float32)
        padded = torch.nn.functional.pad(torch.from_numpy(samples), (self._pad, self._pad))
        power: torch.Tensor = self._power(padded)
        return power.clamp_min(self.settings.floor).log().T.contiguous().numpy()
