"""The network: sizes, masks, layers, gradients."""

import pytest
import torch

from aasp_features import AaSPConfig
from aasp_features.model.network import AaSPNetwork


@pytest.fixture
def network() -> AaSPNetwork:
    torch.manual_seed(0)
    return AaSPNetwork(AaSPConfig.tiny(depth=3))


@pytest.mark.parametrize(
    ("config", "millions"), [(AaSPConfig.tiny(), 5.4), (AaSPConfig.small(), 21.5), (AaSPConfig.base(), 85.4)]
)
def test_sizes(config: AaSPConfig, millions: float) -> None:
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in AaSPNetwork(config).parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.4)


def test_shapes_and_valid_frames(network: AaSPNetwork) -> None:
    features = network(torch.randn(2, 100, 128), torch.tensor([100, 35]))
    assert features.tokens.shape == (2, 7, 8, 192)
    assert features.cls.shape == (2, 192)
    assert features.column_frames.tolist() == [[16] * 6 + [4], [16, 16, 3, 0, 0, 0, 0]]


def test_padding_is_not_read(network: AaSPNetwork) -> None:
    log_mel = torch.randn(2, 96, 128)
    log_mel[1, 40:] = 0
    padded = network(log_mel, torch.tensor([96, 40]))
    alone = network(log_mel[1:, :40])
    torch.testing.assert_close(padded.tokens[1, :3], alone.tokens[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(padded.cls[1], alone.cls[0], atol=1e-5, rtol=1e-5)


def test_layers_average_the_normalised_blocks(network: AaSPNetwork) -> None:
    log_mel = torch.randn(1, 32, 128)
    tokens = network.embed_patches(log_mel) + network.positions[:2]
    x, outputs = network.with_cls(tokens.flatten(1, 2)), []
    for block in network.blocks:
        x = block(x)
        outputs.append(network.norm(x))
    for last_layers in (1, 2, 3):
        expected = torch.stack(outputs[-last_layers:]).mean(dim=0)
        torch.testing.assert_close(network(log_mel, last_layers=last_layers).cls, expected[:, 0])


def test_too_long_a_spectrogram_is_refused(network: AaSPNetwork) -> None:
    with pytest.raises(ValueError, match="longer than the window of 1024"):
        network(torch.zeros(1, 1025, 128))


def test_gradients_reach_every_parameter(network: AaSPNetwork) -> None:
    features = network(torch.randn(1, 48, 128))
    (features.tokens.square().sum() + features.cls.square().sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
