"""Noise augmentation: noise and band-limiting of the student's crops, but not of the teachers'.

The student learns to match the teachers' features of the clean sound. Those features are kept for every crop, so
augmentation is drawn anew at every step without running the teachers again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.data.waveform_crops import Floats, level
from aasp_features.train.distillation_settings import NoiseAugmentationSettings

MAX_SLOPE = 2.0  # of the noise power over frequency, f^-slope: 0 is white, 1 pink, 2 brown
MIN_HZ = 20.0  # steep noise would have most of its power at inaudible frequencies
LOW_EDGE_HZ, HIGH_EDGE_HZ = (50.0, 500.0), (2000.0, 7000.0)  # each uniform over log frequency


def augment_with_noise(waveform: Floats, settings: NoiseAugmentationSettings, rng: np.random.Generator) -> Floats:
    """Add noise to a crop, then limit its band, each with its probability.

    Args:
        waveform: (samples,) at 16 kHz in ±1.
        settings: Probabilities and ranges.
        rng: Generator of all draws.

    Returns:
        (samples,), scaled back to full scale if noise exceeds it.
    """
    if rng.random() < settings.noise_probability:
        waveform = add_noise(waveform, rng.uniform(settings.noise_lowest_db, settings.noise_highest_db), rng)
    if rng.random() < settings.band_probability:
        waveform = limit_band(waveform, *(_log_uniform(edges, rng) for edges in (LOW_EDGE_HZ, HIGH_EDGE_HZ)))
    peak = float(np.abs(waveform).max())
    return waveform / np.float32(peak) if peak > 1 else waveform


def add_noise(waveform: Floats, decibels: float, rng: np.random.Generator) -> Floats:
    """Add noise of a random colour, white to brown, ``decibels`` below the sound's level; silence stays."""
    frequencies = _frequencies(waveform)
    slope = np.maximum(frequencies, MIN_HZ) ** (-rng.uniform(0, MAX_SLOPE) / 2)
    spectrum = np.fft.rfft(rng.standard_normal(len(waveform))) * slope * (frequencies >= MIN_HZ)
    noise: Floats = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    noise *= np.float32(level(waveform) / max(level(noise), 1e-12) * 10 ** (-decibels / 20))
    noise += waveform
    return noise


def limit_band(waveform: Floats, lowest: float, highest: float) -> Floats:
    """Remove all frequencies outside a band in Hz, as a telephone does."""
    frequencies = _frequencies(waveform)
    spectrum = np.fft.rfft(waveform) * ((frequencies >= lowest) & (frequencies <= highest))
    limited: Floats = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    return limited


def _frequencies(waveform: Floats) -> NDArray[np.floating]:
    return np.arange(len(waveform) // 2 + 1) * (SAMPLE_RATE / max(1, len(waveform)))


def _log_uniform(edges: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(edges))))
