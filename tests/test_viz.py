"""Pictures show the numbers that the encoder estimates."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from helpers import plain_sblu

from aasp_features import AaSPConfig, AaSPEncoder, InputError
from aasp_features.viz import plot_rates, strongest_states


def test_the_picture_shows_the_strongest_states(small_encoder: AaSPEncoder) -> None:
    sound = (np.random.default_rng(0).normal(size=16000) * 0.1).astype(np.float32)
    figure = plot_rates(small_encoder, sound, title="noise")
    log_mel = small_encoder.log_mel(torch.from_numpy(sound))
    omega, decay, strength = strongest_states(small_encoder, log_mel)
    dots = figure.axes[0].collections[-1]
    np.testing.assert_allclose(dots.get_array(), omega.ravel())
    assert dots.get_offsets()[1].tolist() == [pytest.approx(0.08), 24]
    assert omega.shape == decay.shape == strength.shape == (7, 8)


def test_strongest_states_against_the_plain_formula(small_encoder: AaSPEncoder) -> None:
    log_mel = torch.randn(32, 128)
    embed = small_encoder.network.patch_embed
    alpha, omega = embed.rates(log_mel[None])
    patches = log_mel.view(2, 16, 8, 16).transpose(1, 2)
    u = embed.input_map(patches - patches.mean(dim=-2, keepdim=True))
    real, imaginary = plain_sblu(u.double(), alpha[0].double(), omega[0].double(), "quadrature")
    modulus = torch.hypot(real, imaginary)
    best = modulus.argmax(dim=-1, keepdim=True)
    found = strongest_states(small_encoder, log_mel)
    np.testing.assert_allclose(found[0], (omega[0].gather(-1, best)[..., 0] / (2 * math.pi)).numpy(), rtol=1e-5)
    np.testing.assert_allclose(found[1], (1 / alpha[0].gather(-1, best)[..., 0]).numpy(), rtol=1e-5)
    np.testing.assert_allclose(found[2], modulus.amax(dim=-1).numpy(), rtol=1e-4)


def test_files_and_sentences(small_encoder: AaSPEncoder, sounds: Path) -> None:
    plot_rates(small_encoder, sounds / "nature" / "rain.flac")
    with pytest.raises(InputError, match="draws one window"):
        plot_rates(small_encoder, np.zeros(16000 * 11, np.float32))
    with pytest.raises(InputError, match="draws one sound"):
        plot_rates(small_encoder, [np.zeros(800), np.zeros(800)])
    plain = AaSPEncoder(AaSPConfig.tiny(depth=1, patch_embed="conv"))
    with pytest.raises(InputError, match="only aape estimates rates; this encoder has conv"):
        plot_rates(plain, np.zeros(800))
