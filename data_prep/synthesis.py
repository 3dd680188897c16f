"""Sound from the tracks of a voice, by a source-filter model: glottal pulses and noise through moving formants."""

from dataclasses import dataclass

import numpy as np

from data_prep.arrays import Complexes, Floats

SAMPLE_RATE = 16_000  # Hz
PEAK = 0.9  # of full scale
BANDWIDTHS = (70, 90, 130, 200, 280)  # Hz
FRAME = 80  # samples between two values of a control track: 5 ms


@dataclass(frozen=True)
class Tracks:
    """Control tracks, one value per frame of 5 ms: [frames], `formants` [frames, 5]."""

    pitch: Floats  # Hz
    voiced: Floats  # gain
    breath: Floats  # gain against `voiced`
    noise: Floats  # gain
    noise_centre: Floats  # Hz
    tilt: Floats  # dB per octave
    formants: Floats  # Hz


FFT = 512
LEAD = 64  # samples kept free before a window, for what zero-phase filters spread to earlier times
JITTER = 0.01  # of a period
SHIMMER = 0.05  # of a pulse's amplitude
LOUDNESS = 0.007  # brings neutral speech to about -26 dB of full scale
NOISE_FLOOR = 2e-4  # so that no pause is digital silence


def synthesize(tracks: Tracks, rng: np.random.Generator) -> Floats:
    """Samples [frames * 80] in [-PEAK, PEAK]."""
    frequencies = np.fft.rfftfreq(FFT, 1 / SAMPLE_RATE)
    voice = _filter(_glottal_source(tracks, rng), _vocal_tract(tracks.formants, tracks.tilt, frequencies))
    hiss = rng.standard_normal(len(voice)) * _at_samples(tracks.noise)
    noise = _filter(hiss, _noise_shape(tracks.noise_centre, frequencies))
    floor = NOISE_FLOOR * rng.uniform(0.7, 1.4) * rng.standard_normal(len(voice))
    samples = LOUDNESS * (voice + 10 * noise) + floor
    scaled: Floats = samples * min(1.0, PEAK / np.abs(samples).max())
    return scaled


def _glottal_source(tracks: Tracks, rng: np.random.Generator) -> Floats:
    """The derivative of the glottal flow, and aspiration noise that swells while the glottis is open: [n]."""
    pitch = _at_samples(tracks.pitch)
    steps = pitch / SAMPLE_RATE
    period = np.cumsum(steps).astype(int)
    phase = np.cumsum(steps * (1 + JITTER * np.clip(rng.standard_normal(period[-1] + 1), -2.5, 2.5)[period]))
    period = phase.astype(int)
    flow = _flow(phase - period) * (1 + SHIMMER * rng.standard_normal(period[-1] + 1)[period])
    # Divided by the phase's step, the strength of a pulse does not grow with pitch: level alone sets it.
    pulses = np.diff(flow, prepend=0.0) / steps
    aspiration = 3.0 * _at_samples(tracks.breath) * rng.standard_normal(len(flow)) * (0.3 + flow)
    source: Floats = (pulses + aspiration) * _at_samples(tracks.voiced)
    return source


def _flow(phase: Floats, opening: float = 0.42, closing: float = 0.18) -> Floats:
    """Rosenberg's trigonometric glottal pulse at `phase` in [0, 1) of a period: in [0, 1], 0 while closed."""
    rise = 0.5 * (1 - np.cos(np.pi * phase / opening))
    fall = np.cos(0.5 * np.pi * np.clip((phase - opening) / closing, 0, 1))
    flow: Floats = np.where(phase < opening, rise, fall)
    return flow


def _vocal_tract(formants: Floats, tilt: Floats, frequencies: Floats) -> Complexes:
    """Responses of the tilt and of cascaded resonators of gain 1 at 0 Hz: complex [frames, bins]."""
    delay = np.exp(-2j * np.pi * frequencies / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 500.0) / 500.0)
    response = 10 ** (tilt[:, None] * octaves / 20) + 0j
    for centre, bandwidth in zip(formants.T, BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
        turn = (2 * radius * np.cos(2 * np.pi * centre / SAMPLE_RATE))[:, None]
        response *= (1 - turn + radius**2) / (1 - turn * delay + radius**2 * delay**2)
    return response


def _noise_shape(centre: Floats, frequencies: Floats) -> Floats:
    """Gain of a band of about an octave around `centre` Hz: [frames, bins]."""
    octaves = np.log2(np.maximum(frequencies, 50.0) / centre[:, None])
    return np.exp(-0.5 * (octaves / 0.5) ** 2)


def _filter(source: Floats, responses: Floats | Complexes) -> Floats:
    """`source` [frames * 80] under responses [frames, bins] that change from frame to frame: the same length.

    Windows of two frames overlap by one; each is filtered by the FFT and added in place.
    """
    window = np.hanning(2 * FRAME + 1)[:-1]
    frames = len(responses)
    padded = np.pad(source, (FRAME // 2, 2 * FRAME))
    starts = FRAME * np.arange(frames)
    pieces = np.zeros((frames, FFT))
    pieces[:, LEAD : LEAD + 2 * FRAME] = padded[starts[:, None] + np.arange(2 * FRAME)] * window
    filtered = np.fft.irfft(np.fft.rfft(pieces) * responses, n=FFT)
    result = np.zeros(LEAD + FRAME // 2 + len(source) + FFT)
    for start, piece in zip(starts, filtered, strict=True):
        result[start : start + FFT] += piece
    return result[LEAD + FRAME // 2 :][: len(source)]


def _at_samples(track: Floats) -> Floats:
    """A control track [frames], whose values stand at frame centres, at each sample: [frames * 80]."""
    count = len(track)
    return np.interp(np.arange(count * FRAME), FRAME * (np.arange(count) + 0.5), track)
