"""Tests of linear models on vectors of amplitude-modulated noise: the modulation rate, and its aliases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.classifier import standardise
from aasp_features.train.evaluate.methods import Embed, Waveform
from aasp_features.train.evaluate.metrics import interval

COLUMN_RATE = 6.25  # Hz: patches per second; one sample per patch cannot tell f from f + 6.25 Hz
MAX_RATE = 49.0  # Hz; the log-mel, with 100 frames per second, ends at 50
LOW_RATES = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
RATES = tuple(sorted(low + COLUMN_RATE * k for low in LOW_RATES for k in range(8) if low + COLUMN_RATE * k <= MAX_RATE))
TRAIN, TEST = 32, 16  # clips of each rate
SECONDS, LEVEL = 1.0, 0.05
AT_ONCE = 96


@dataclass(frozen=True)
class ModulationReading:
    """Results on held-out clips.

    Attributes:
        explained: Share of the rate's variance that a ridge regression explains (R², at most 1).
        told_apart: By f, how often f and f + 6.25 Hz are told apart, in %; 50 is chance.
        told_apart_mean: Mean over all f.
        interval: 95 % interval of that mean, bootstrapped over clips.
    """

    explained: float
    told_apart: dict[float, float]
    told_apart_mean: float
    interval: tuple[float, float]


def modulated_noise(modulation: float, rate: int, generator: np.random.Generator) -> Waveform:
    """Return 1 s of noise times 1 + m cos(2πft + φ).

    φ, the depth m (0.2 to 1), the slope of the spectrum (white to brown) and the level (±6 dB) are random, so neither
    the loudness nor its variance reveals f.
    """
    count = round(SECONDS * rate)
    envelope = 1.0 + generator.uniform(0.2, 1.0) * np.cos(
        2 * np.pi * (modulation * np.arange(count) / rate + generator.random())
    )
    spectrum = np.fft.rfft(generator.standard_normal(count))
    slope = np.maximum(np.arange(len(spectrum)), 20 * SECONDS) ** -generator.uniform(0.0, 1.0)  # flat below 20 Hz
    sound = np.fft.irfft(spectrum * slope, count) * envelope
    level = LEVEL * 10 ** (generator.uniform(-6.0, 6.0) / 20)
    return np.asarray(sound * (level / np.sqrt(np.mean(sound**2))), np.float32)


def read_modulation(embed: Embed, rate: int, train: int = TRAIN, test: int = TEST) -> ModulationReading:
    """Embed modulated noise, fit linear models to some clips, and test them on the others.

    There are ``train`` and ``test`` clips of each modulation rate, at a sample rate of ``rate`` Hz.
    """
    generator = np.random.default_rng(0)
    clips = [modulated_noise(f, rate, generator) for f in RATES for _ in range(train + test)]
    batches = [embed(clips[first : first + AT_ONCE], rate) for first in range(0, len(clips), AT_ONCE)]
    vectors = np.concatenate(batches).reshape(len(RATES), train + test, -1)
    given, held = vectors[:, :train], vectors[:, train:]
    right = {f: _told_apart(given, held, index) for index, f in enumerate(RATES) if f + COLUMN_RATE in RATES}
    table = np.stack(list(right.values())).astype(np.float64) * 100.0  # (pairs, 2 · test)
    draws = generator.integers(table.shape[1], size=(1000, table.shape[1]))
    return ModulationReading(
        _explained(given, held),
        {f: 100.0 * float(found.mean()) for f, found in right.items()},
        float(table.mean()),
        interval(table[:, draws].mean(axis=(0, 2)).tolist()),
    )


def _explained(given: NDArray[np.float32], held: NDArray[np.float32]) -> float:
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score

    flat = [part.reshape(-1, part.shape[2]) for part in (given, held)]
    train, test = standardise(*flat)
    model = RidgeCV(alphas=np.logspace(-1, 5, 13)).fit(train, np.repeat(RATES, given.shape[1]))
    return float(r2_score(np.repeat(RATES, held.shape[1]), model.predict(test)))


def _told_apart(given: NDArray[np.float32], held: NDArray[np.float32], index: int) -> NDArray[np.bool_]:
    """Return which held-out clips of a rate and of its alias are recognised, (2 · test,)."""
    from sklearn.linear_model import LogisticRegression

    alias = RATES.index(RATES[index] + COLUMN_RATE)
    train, test = standardise(*(np.concatenate([part[index], part[alias]]) for part in (given, held)))
    truth = np.repeat([0, 1], [given.shape[1], given.shape[1]])
    model = LogisticRegression(C=0.1, max_iter=1000).fit(train, truth)
    return np.asarray(model.predict(test) == np.repeat([0, 1], [held.shape[1], held.shape[1]]))
