"""What only the student hears: noise at the level that was asked for, a band and nothing beside it."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.train.data.noise_augmentation import add_noise, augment_with_noise, limit_band
from aasp_features.train.data.waveform_crops import level
from aasp_features.train.distillation_settings import NoiseAugmentationSettings

RATE = 16000
ALWAYS = NoiseAugmentationSettings(noise_probability=1.0, band_probability=1.0)


def tone(hertz: float, samples: int = RATE, amplitude: float = 0.3) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


@given(decibels=st.floats(-10, 40), seed=st.integers(0, 2**31), samples=st.integers(400, 4000))
def test_noise_lies_so_many_decibels_under_the_sound(decibels: float, seed: int, samples: int) -> None:
    sound = tone(440, samples)
    noise = add_noise(sound, decibels, np.random.default_rng(seed)) - sound
    assert 20 * np.log10(level(sound) / level(noise)) == pytest.approx(decibels, abs=0.05)


def test_noise_is_of_any_colour_from_white_to_brown() -> None:
    slopes = []
    for seed in range(40):
        sound = tone(440, 8 * RATE)
        noise = add_noise(sound, 0.0, np.random.default_rng(seed)) - sound
        hertz, power = scipy.signal.welch(noise, RATE, nperseg=2048)
        kept = (hertz > 100) & (hertz < 7500)
        slopes.append(np.polyfit(np.log(hertz[kept]), np.log(power[kept]), 1)[0])
    assert -2.1 < min(slopes) < -1.7
    assert -0.3 < max(slopes) < 0.1
    assert np.mean(slopes) == pytest.approx(-1, abs=0.3)


def test_a_band_is_what_is_left() -> None:
    low, inside, high = tone(100), tone(1000), tone(6000)
    np.testing.assert_allclose(limit_band(low + inside + high, 300, 3400), inside, atol=1e-5)


@given(seed=st.integers(0, 2**31), samples=st.integers(1, 4000))
def test_an_augmented_crop_is_a_sound_as_long(seed: int, samples: int) -> None:
    sound = tone(440, samples, 0.9)
    one, again = (augment_with_noise(sound, ALWAYS, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(one, again)
    assert one.dtype == np.float32
    assert one.shape == sound.shape
    assert np.abs(one).max() <= 1.0


def test_silence_stays_and_nothing_is_changed_unless_asked_for() -> None:
    assert not augment_with_noise(np.zeros(1000, np.float32), ALWAYS, np.random.default_rng(0)).any()
    sound = tone(440)
    assert np.array_equal(augment_with_noise(sound, NoiseAugmentationSettings(), np.random.default_rng(0)), sound)


def test_shares() -> None:
    half, rng = NoiseAugmentationSettings(noise_probability=0.5), np.random.default_rng(0)
    sound = tone(440, 800)
    changed = sum(not np.array_equal(augment_with_noise(sound, half, rng), sound) for _ in range(400))
    assert 160 < changed < 240
