"""Crops by number: the sound of crop n is a function of the corpus, the settings, the seed and n alone.

So what a teacher says of crop n can be computed once and kept, and the student hears the very same sound in any later
epoch or process. Crops come in pieces of ``PIECE`` crops of one length. Everything that changes a crop happens to the
waveform: tempo with pitch, place, another sound beside it, a filter, level.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, PATCH
from aasp_features.train.data.waveforms import Waveforms
from aasp_features.train.distillation_settings import CropSettings

PIECE = 256  # crops that are made, kept and lost together
GOLDEN = (math.sqrt(5) - 1) / 2
SILENCE = 1e-4  # root mean square under which a cut is drawn again (-80 dB)
TRIES = 20
FILTER_WAVES = 4
Floats = NDArray[np.float32]


class Crop(NamedTuple):
    """One crop: (samples,) float32 in +-1 at 16 kHz, and the number of the sound that it is named after."""

    waveform: Floats
    sound: int


class Cropper:
    """Makes crops by number.

    Args:
        sounds: the corpus.
        settings, seed: with the number, everything that decides a crop.
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
        """Length of a piece's crops in token columns. In any run of pieces the lengths have their shares."""
        place = int(np.searchsorted(self._edges, (piece * GOLDEN) % 1.0, side="right"))
        return self.settings.lengths[min(place, len(self._edges) - 1)].columns

    def crop(self, number: int) -> Crop:
        """Crop ``number``, of piece ``number // PIECE``."""
        rng, settings = np.random.default_rng([self.seed, number]), self.settings
        columns = self.columns(number // PIECE)
        samples = crop_samples(columns)
        sound, own = self._cut(rng, columns)
        if len(own) < samples and rng.random() < settings.placed_probability:
            own = place(own, samples, rng)
        if rng.random() < settings.mix_probability:
            _, other = self._cut(rng, columns)
            decibels = rng.uniform(settings.mix_lowest_db, settings.mix_highest_db)
            own = mix(own, place(other, len(own), rng), decibels)
        if rng.random() < settings.filter_probability:
            own = filter_smoothly(own, settings.filter_db, rng)
        own = own * np.float32(10 ** (rng.uniform(-settings.gain_db, settings.gain_db) / 20))
        peak = float(np.abs(own).max())
        return Crop(own / np.float32(peak) if peak > 1 else own, sound)

    def _cut(self, rng: np.random.Generator, columns: int) -> tuple[int, Floats]:
        """At most a crop's length of a sound that is not silent; its number, and the samples."""
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
    """Samples that give exactly ``columns`` full token columns."""
    return FRAME_HOP * (PATCH * columns - 1) + FRAME_LENGTH


def play(waveform: Floats, speed: float) -> Floats:
    """``speed`` times as fast, and as high; at least 25 ms of it."""
    played: Floats = soxr.resample(waveform, 16000 * speed, 16000, quality="HQ").astype(np.float32)
    return np.pad(played, (0, max(0, FRAME_LENGTH - len(played))))


def place(waveform: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Bring to a length: cut at its end, or put at a random place in silence."""
    if len(waveform) >= samples:
        return waveform[:samples]
    before = int(rng.integers(samples - len(waveform) + 1))
    return np.pad(waveform, (before, samples - len(waveform) - before))


def mix(own: Floats, other: Floats, decibels: float) -> Floats:
    """Add ``other`` so that its level lies ``decibels`` under that of ``own``; silence adds nothing."""
    if level(other) <= SILENCE:
        return own
    mixed: Floats = own + other * np.float32(level(own) / level(other) * 10 ** (-decibels / 20))
    return mixed


def level(waveform: Floats) -> float:
    """Root mean square."""
    return math.sqrt(float(np.mean(np.square(waveform, dtype=np.float64))))


def filter_smoothly(waveform: Floats, decibels: float, rng: np.random.Generator) -> Floats:
    """Another microphone, another room: a zero-phase gain that is smooth over log frequency.

    It is a sum of the first cosines over log(1 + f / 700 Hz), ``decibels`` in standard deviation.
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
