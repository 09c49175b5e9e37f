"""The plainest teacher: what its numbers must do when the sound changes."""

import math

import numpy as np
import pytest

from aasp_features.train.pretrain.log_mel_teacher import load


def test_level_moves_means_and_leaves_deviations() -> None:
    sound = np.random.default_rng(0).normal(size=(2, 16000)).astype(np.float32) * 0.1
    told, louder = load({})(sound), load({})(2 * sound)
    assert told.shape == (2, 256)
    np.testing.assert_allclose(louder[:, :128] - told[:, :128], 2 * math.log(2), atol=1e-4)
    np.testing.assert_allclose(louder[:, 128:], told[:, 128:], atol=1e-4)
    np.testing.assert_allclose(load({})(sound[1:]), told[1:], atol=1e-5)


@pytest.mark.parametrize("hertz", [500, 2000, 6000])
def test_a_steady_tone_is_in_its_band_and_does_not_vary(hertz: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000).astype(np.float32)
    mean, deviation = np.split(load({})(tone[None])[0], 2)
    mel_low, mel_high, mel = (1127 * math.log(1 + f / 700) for f in (20, 8000, hertz))
    band = (mel - mel_low) / (mel_high - mel_low) * 129 - 1  # 128 triangles between 130 points
    assert abs(int(mean.argmax()) - band) <= 1
    assert deviation[mean.argmax()] < 1e-3
