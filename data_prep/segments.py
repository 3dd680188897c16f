"""Frames -> segments: how many there are, where they start and which emotion is true of each (§VI)."""

import numpy as np
import pandas as pd

from data_prep.arrays import Floats, Ints
from data_prep.features import FeatureSettings


def frame_count(samples: int, settings: FeatureSettings) -> int:
    """Frames of a waveform of `samples` samples."""
    return max(0, 1 + (samples - settings.window) // settings.shift)


def segment_count(frames: int, settings: FeatureSettings) -> int:
    """Segments of an utterance of `frames` frames."""
    return max(0, 1 + (frames - settings.segment_frames) // settings.segment_hop)


def segment_centres(segment: Ints, settings: FeatureSettings) -> Floats:
    """Where segments `segment` [S] of an utterance have their centre, in seconds from its start."""
    first = segment * settings.segment_hop * settings.shift
    length = (settings.segment_frames - 1) * settings.shift + settings.window
    return (first + length / 2) / settings.sample_rate


def cut_segments(frames: Floats, settings: FeatureSettings) -> Floats:
    """`frames` [f, mels] -> a read-only view [segments, segment_frames, mels], time-major, without copying."""
    count = segment_count(len(frames), settings)
    windows = np.lib.stride_tricks.sliding_window_view(frames, settings.segment_frames, axis=0)
    return windows[:: settings.segment_hop][:count].transpose(0, 2, 1)


def true_labels(stretches: pd.DataFrame, classes: dict[str, int], count: int, settings: FeatureSettings) -> Ints:
    """The class that covers most of each of the `count` segments of one utterance, int8 [count].

    `stretches` has the columns start, end (seconds) and emotion and tiles the utterance; `classes` maps an emotion
    to its label.
    """
    shift = settings.shift / settings.sample_rate
    length = (settings.segment_frames - 1) * shift + settings.window / settings.sample_rate
    start = np.arange(count) * settings.segment_hop * shift
    covered = np.zeros((count, len(classes)))
    for begin, end, emotion in zip(stretches["start"], stretches["end"], stretches["emotion"], strict=True):
        overlap = np.minimum(end, start + length) - np.maximum(begin, start)
        covered[:, classes[str(emotion)]] += np.clip(overlap, 0, None)
    longest: Ints = covered.argmax(axis=1)
    return longest.astype(np.int8)
