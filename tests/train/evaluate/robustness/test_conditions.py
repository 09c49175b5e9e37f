"""What is done to sounds, against plain formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.train.evaluate.robustness.conditions import (
    CONDITIONS,
    amplified,
    cut,
    telephone,
    through_opus,
    with_noise,
)

RATE = 16000
SEEDED = np.random.default_rng(0)


def sound(samples: int, seed: int = 0) -> np.ndarray:
    """Noise under a tone."""
    noise = np.random.default_rng(seed).normal(size=samples) * 0.05
    return (noise + 0.3 * np.sin(2 * np.pi * 800 / RATE * np.arange(samples))).astype(np.float32)


@given(samples=st.integers(1, 40_000), rate=st.sampled_from([8000, 16000, 32000, 44100, 192_000]))
def test_every_condition_gives_a_sound(samples: int, rate: int) -> None:
    given_sound = sound(samples)
    before = given_sound.copy()
    for condition in CONDITIONS:
        if "Opus" in condition.name and samples > 2000:  # its own test
            continue
        first, again = (condition.change(given_sound, rate, np.random.default_rng(3)) for _ in range(2))
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert 1 <= len(first) <= samples
        assert len(first) == samples or condition.name.startswith("cut to")
        np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(given_sound, before)
    assert len({condition.name for condition in CONDITIONS}) == len(CONDITIONS)


def test_the_middle_is_kept() -> None:
    ramp = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(cut(ramp, 100, SEEDED, seconds=0.2), np.arange(40, 60))
    np.testing.assert_array_equal(cut(ramp, 100, SEEDED, seconds=3.0), ramp)
    assert len(cut(ramp, 100, SEEDED, seconds=1e-9)) == 1


@pytest.mark.parametrize("seconds", [1, 10])
@pytest.mark.parametrize("decibels", [20, 10, 0])
def test_noise_is_pink_and_so_far_under_the_sound_where_it_is_heard(decibels: float, seconds: int) -> None:
    clean = sound(seconds * RATE)
    noise = (with_noise(clean, RATE, np.random.default_rng(1), decibels=decibels) - clean).astype(np.float64)
    ratio = np.mean(clean.astype(np.float64) ** 2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(decibels, abs=0.01)
    power, frequencies = np.abs(np.fft.rfft(noise)) ** 2, np.fft.rfftfreq(len(noise), 1 / RATE)
    assert power[frequencies < 20].sum() < 1e-6 * power.sum()
    octaves = [power[(frequencies >= low) & (frequencies < 2 * low)].sum() for low in (125, 250, 500, 1000, 2000, 4000)]
    assert max(octaves) / min(octaves) < 1.5  # each octave has as much power as the others
    silence = np.zeros(100, np.float32)
    np.testing.assert_array_equal(with_noise(silence, RATE, np.random.default_rng(1), decibels=decibels), silence)


def test_a_telephone_lets_its_band_through() -> None:
    time = np.arange(RATE) / RATE
    for hertz in (100, 299, 301, 1000, 3399, 3401, 6000):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        heard = telephone(tone, RATE, SEEDED)
        np.testing.assert_allclose(heard, tone if 300 < hertz < 3400 else np.zeros_like(tone), atol=1e-5)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_codec_keeps_place_length_and_level(rate: int) -> None:
    time = np.arange(2 * rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)
    heard = through_opus(tone, rate, SEEDED)
    assert heard.shape == tone.shape
    assert np.corrcoef(heard, tone)[0, 1] > 0.98  # a shift of a quarter of a period, 9 samples at 16 kHz, would give 0
    assert np.std(heard) == pytest.approx(np.std(tone), rel=0.1)
    assert not np.array_equal(heard, tone)


@pytest.mark.parametrize("decibels", [20, -20])
def test_gain(decibels: float) -> None:
    quiet = sound(100)
    np.testing.assert_allclose(
        amplified(quiet, RATE, SEEDED, decibels=decibels), quiet * 10 ** (decibels / 20), rtol=1e-6
    )
