"""The rules that X-ARES' checker applies, and what it does not check: padding."""

import numpy as np
import pytest
import torch

from aasp_features.integrations import xares


@pytest.fixture(scope="module")
def encoder() -> xares.AaSPXaresEncoder:
    return xares.AaSPXaresEncoder()


def noise(samples: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(samples).normal(size=samples).astype(np.float32) * 0.1)


def test_one_name_ends_with_encoder() -> None:
    assert [name for name in dir(xares) if name.endswith("Encoder")] == ["AaSPXaresEncoder"]


def test_the_checkers_rules(encoder: xares.AaSPXaresEncoder) -> None:
    assert isinstance(encoder, torch.nn.Module)
    assert isinstance(encoder.sampling_rate, int)
    assert isinstance(encoder.output_dim, int)
    assert encoder.hop_size_in_ms > 0
    encoded = encoder(torch.randn(2, 50000))
    assert encoded.ndim == 3
    assert encoded.shape[0] == 2
    assert encoded.shape[2] == encoder.output_dim
    assert abs(encoded.shape[1] - 50000 / 16 / encoder.hop_size_in_ms) <= 1


def test_zeros_at_the_end_change_nothing(encoder: xares.AaSPXaresEncoder) -> None:
    sound = noise(20000)
    alone = encoder(sound)[0]
    padded = encoder(torch.stack([torch.nn.functional.pad(sound, (0, 30000)), noise(50000)]))[0]
    torch.testing.assert_close(padded[: len(alone)], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(padded.mean(dim=0), alone.mean(dim=0), atol=1e-5, rtol=1e-4)
    assert len(padded) > len(alone)


@pytest.mark.parametrize("samples", [1, 400, 16000 * 11])
def test_lengths_and_silence(encoder: xares.AaSPXaresEncoder, samples: int) -> None:
    assert torch.isfinite(encoder(torch.zeros(1, samples))).all()
