"""Numbered crops: crop n is a function of the corpus, the settings, the seed and n alone.

A teacher's features of crop n are therefore computed once and kept, and the student gets the same sound in any later
epoch or process. Crops come in pieces of ``PIECE`` crops of one length. All changes apply to the waveform: tempo with
pitch, position, a second sound, a filter and the level.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, PATCH
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.data.waveforms import Waveforms
from aasp_features.train.distillation_settings import CropSettings

PIECE = 256  # crops in a file of features
GOLDEN = (math.sqrt(5) - 1) / 2
SILENCE = 1e-4  # root mean square below which a cut is drawn again (-80 dB)
TRIES = 20
FILTER_WAVES = 4
Floats = NDArray[np.float32]


class Crop(NamedTuple):
    """One crop: (samples,) float32 in ±1 at 16 kHz, and the index of its sound."""

    waveform: Floats
    sound: int


class Cropper:
    """Maker of numbered crops.

    Args:
        sounds: The corpus.
        settings, seed: Together with the number, they determine a crop.
    """

    def __init__(self, sounds: Waveforms, settings: CropSettings, seed: int) -> None:
        self.sounds, self.settings, self.seed = sounds, settings, seed
        shares = np.cumsum([length.share for length in settings.lengths])
        self._edges = shares / shares[-1]
        self._chance = {
            length.columns: _cumulative(
                np.maximum(1, np.round(sounds.length / crop_samples(length.columns))) ** settings.by_duration
            )
            for length in settings.lengths
        }

    def columns(self, piece: int) -> int:
        """Return the length of a piece's crops in token columns. Any run of pieces keeps the lengths' shares."""
        index = int(np.searchsorted(self._edges, (piece * GOLDEN) % 1.0, side="right"))
        return self.settings.lengths[min(index, len(self._edges) - 1)].columns

    def crop(self, number: int) -> Crop:
        """Return crop ``number`` of piece ``number // PIECE``."""
        rng, settings = np.random.default_rng([self.seed, number]), self.settings
        columns = self.columns(number // PIECE)
        samples = crop_samples(columns)
        sound, own = self._cut(rng, columns)
        if len(own) < samples and rng.random() < settings.placed_probability:
            own = fit_length(own, samples, rng)
        if rng.random() < settings.mix_probability:
            _, other = self._cut(rng, columns)
            decibels = rng.uniform(settings.mix_lowest_db, settings.mix_highest_db)
            own = mix(own, fit_length(other, len(own), rng), decibels)
        if rng.random() < settings.filter_probability:
            own = filter_smoothly(own, settings.filter_db, rng)
        own = own * np.float32(10 ** (rng.uniform(-settings.gain_db, settings.gain_db) / 20))
        peak = float(np.abs(own).max())
        return Crop(own / np.float32(peak) if peak > 1 else own, sound)

    def _cut(self, rng: np.random.Generator, columns: int) -> tuple[int, Floats]:
        """Cut at most a crop's length from a sound that is not silent; return its index and the samples."""
        samples, sounds, settings = crop_samples(columns), self.sounds, self.settings
        for _ in range(TRIES):
            sound = int(np.searchsorted(self._chance[columns], rng.random(), side="right"))
            speed = math.exp(rng.uniform(-settings.speed, settings.speed))
            if rng.random() >= settings.speed_probability:
                speed = 1.0
            wanted = math.ceil(samples * speed)
            first = int(rng.random() * (max(0, int(sounds.length[sound]) - wanted) + 1))
            own = sounds.cut(sound, first, wanted)
            if speed != 1.0:
                own = play(own, speed)
            if level(own) > SILENCE:
                break
        return sound, own[:samples]


def crop_samples(columns: int) -> int:
    """Return the number of samples in exactly ``columns`` full token columns."""
    return FRAME_HOP * (PATCH * columns - 1) + FRAME_LENGTH


def play(waveform: Floats, speed: float) -> Floats:
    """Play a sound ``speed`` times as fast and as high; at least 25 ms remain."""
    played: Floats = soxr.resample(waveform, SAMPLE_RATE * speed, SAMPLE_RATE, quality="HQ").astype(np.float32)
    return np.pad(played, (0, max(0, FRAME_LENGTH - len(played))))


def fit_length(waveform: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Cut a sound at a length, or pad it with silence at a random position."""
    if len(waveform) >= samples:
        return waveform[:samples]
    before = int(rng.integers(samples - len(waveform) + 1))
    return np.pad(waveform, (before, samples - len(waveform) - before))


def mix(own: Floats, other: Floats, decibels: float) -> Floats:
    """Add ``other`` at a level ``decibels`` below that of ``own``; silence adds nothing."""
    if level(other) <= SILENCE:
        return own
    mixed: Floats = own + other * np.float32(level(own) / level(other) * 10 ** (-decibels / 20))
    return mixed


def level(waveform: Floats) -> float:
    """Return the root mean square."""
    return math.sqrt(float(np.mean(np.square(waveform, dtype=np.float64))))


def filter_smoothly(waveform: Floats, decibels: float, rng: np.random.Generator) -> Floats:
    """Apply a random zero-phase gain, smooth over log frequency, as another microphone or room would.

    The gain is a sum of the first cosines over log(1 + f / 700 Hz), ``decibels`` in standard deviation.
    """
    spectrum = np.fft.rfft(waveform)
    band = np.log1p(np.linspace(0, 8000, len(spectrum)) / 700) / math.log1p(8000 / 700)
    waves = np.cos(math.pi * np.arange(1, FILTER_WAVES + 1)[:, None] * band)
    weight = rng.normal(size=FILTER_WAVES) * (2 / FILTER_WAVES) ** 0.5 * decibels
    return np.fft.irfft(spectrum * 10 ** (weight @ waves / 20), len(waveform)).astype(np.float32)


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.cumsum(weights)
    shares /= shares[-1]
    return shares
