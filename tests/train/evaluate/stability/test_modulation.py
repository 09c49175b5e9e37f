"""The reading of modulation rates, by encoders that know them, that know their alias alone, or nothing."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from aasp_features.train.evaluate.stability.modulation import COLUMN_RATE, RATES, modulated_noise, read_modulation

RATE = 2000


def spectra(step: int) -> Callable[[Sequence[np.ndarray], int], np.ndarray]:
    """Spectrum of the loudness, of which every ``step``-th hundredth of a second is kept."""

    def hear(waveforms: Sequence[np.ndarray], rate: int) -> np.ndarray:
        loudness = np.stack([(one.reshape(100, -1) ** 2).mean(axis=1) for one in waveforms])
        kept = (loudness / loudness.mean(axis=1, keepdims=True))[:, ::step]
        return np.abs(np.fft.rfft(kept)).astype(np.float32)

    return hear


def test_rates_and_their_aliases() -> None:
    assert min(RATES) == 3.0
    assert max(RATES) <= 49.0
    assert sum(f + COLUMN_RATE in RATES for f in RATES) == len(RATES) - 6


def test_the_noise_is_modulated_as_asked() -> None:
    generator = np.random.default_rng(0)
    for f in (3.0, 28.0, 45.5):
        loudness = sum(
            np.abs(np.fft.rfft((modulated_noise(f, RATE, generator).reshape(200, -1) ** 2).mean(axis=1)))
            for _ in range(40)
        )
        assert abs(int(loudness[2:].argmax()) + 2 - f) <= 1  # bins of 1 Hz


def test_who_samples_each_patch_reads_the_alias_alone() -> None:
    fine, coarse = (read_modulation(spectra(step), RATE, 24, 24) for step in (1, 16))
    assert fine.explained > 0.5 > coarse.explained + 0.3
    assert fine.told_apart_mean > 80
    assert coarse.told_apart_mean == pytest.approx(50, abs=5)
    assert fine.interval[0] < fine.told_apart_mean < fine.interval[1]
    assert set(fine.told_apart) == {f for f in RATES if f + COLUMN_RATE in RATES}
    assert read_modulation(spectra(16), RATE, 24, 24) == coarse
