"""A recording as it is prepared: decoded, long enough for a segment, and its log-Mel frames."""

from collections.abc import Iterable
from pathlib import Path

from data_prep.arrays import Floats
from data_prep.audio import Audio, read_audio
from data_prep.errors import AudioError
from data_prep.features import FeatureSettings, LogMel
from data_prep.segments import frame_count, segment_count


def read_recording(path: Path, settings: FeatureSettings) -> Audio:
    """Decode `path` at the rate of `settings`. Raises AudioError, also where it is shorter than one segment."""
    audio = read_audio(path, settings.sample_rate)
    if segment_count(frame_count(len(audio.samples), settings), settings) < 1:
        least = settings.window + (settings.segment_frames - 1) * settings.shift
        length, needed = len(audio.samples) / settings.sample_rate, least / settings.sample_rate
        raise AudioError(f"{path}: {length:.3f} s of sound is shorter than one segment ({needed:.3f} s)")
    return audio


def recording_frames(waveforms: Iterable[Floats], settings: FeatureSettings) -> list[Floats]:
    """The log-Mel frames of each waveform, float32 [frames, mels]."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a frame's bits must not depend on the machine's number of cores
    try:
        log_mel = LogMel(settings)
        return [log_mel(samples) for samples in waveforms]
    finally:
        torch.set_num_threads(threads)
