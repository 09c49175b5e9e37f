"""What the student hears of a crop that its teachers heard clean: noise over it, and a part of the band alone.

So it learns to say of a disturbed sound what the teachers say of the sound. What the teachers said is kept for every
crop; disturbances are drawn anew at every step, and cost them nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.data.waveform_crops import Floats, level
from aasp_features.train.distillation_settings import DisturbanceSettings

RATE = 16000  # Hz
STEEPEST = 2.0  # power of noise over frequency, as f^-exponent: 0 is white, 1 pink, 2 brown
LOWEST_HZ = 20.0  # of noise; steep noise has most of its power where nobody hears it
LOW_EDGE_HZ, HIGH_EDGE_HZ = (50.0, 500.0), (2000.0, 7000.0)  # of a band, each uniform over log frequency


def disturb(waveform: Floats, settings: DisturbanceSettings, rng: np.random.Generator) -> Floats:
    """A crop as the student hears it: with noise, then limited to a band, each with its probability.

    Args:
        waveform: (samples,) at 16 kHz in +-1.
        settings: how often, and how much.
        rng: draws both, and the noise.

    Returns:
        (samples,), brought back to full scale where noise made it pass that.
    """
    if rng.random() < settings.noise_probability:
        waveform = add_noise(waveform, rng.uniform(settings.noise_lowest_db, settings.noise_highest_db), rng)
    if rng.random() < settings.band_probability:
        waveform = limit_band(waveform, *(_log_uniform(edges, rng) for edges in (LOW_EDGE_HZ, HIGH_EDGE_HZ)))
    peak = float(np.abs(waveform).max())
    return waveform / np.float32(peak) if peak > 1 else waveform


def add_noise(waveform: Floats, decibels: float, rng: np.random.Generator) -> Floats:
    """Noise of a random colour, white to brown, whose level lies ``decibels`` under the sound's; silence stays."""
    frequencies = _frequencies(waveform)
    slope = np.maximum(frequencies, LOWEST_HZ) ** (-rng.uniform(0, STEEPEST) / 2)
    spectrum = np.fft.rfft(rng.standard_normal(len(waveform))) * slope * (frequencies >= LOWEST_HZ)
    noise: Floats = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    noise *= np.float32(level(waveform) / max(level(noise), 1e-12) * 10 ** (-decibels / 20))
    noise += waveform
    return noise


def limit_band(waveform: Floats, lowest: float, highest: float) -> Floats:
    """What lies between two frequencies in Hz, and nothing of the rest, as after a telephone."""
    frequencies = _frequencies(waveform)
    spectrum = np.fft.rfft(waveform) * ((frequencies >= lowest) & (frequencies <= highest))
    limited: Floats = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    return limited


def _frequencies(waveform: Floats) -> NDArray[np.floating]:
    return np.arange(len(waveform) // 2 + 1) * (RATE / max(1, len(waveform)))


def _log_uniform(edges: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(edges))))
