"""Facts of a checkpoint, by name."""

import pytest

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.train.release.info import describe, describe_config, describe_patch_embedding


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"states": 8, "kernel": "one_sided", "features": "complex"},
            "aape: 8 states, one_sided kernel, complex values",
        ),
        ({}, "aape: 16 states, quadrature kernel, complex values and moduli"),
        ({"patch_embed": "conv"}, "conv: a linear map of each 16 x 16 patch"),
        (
            {"patch_embed": "lowpass", "lowpass_cutoff": 2.5, "lowpass_taps": 49},
            "lowpass: modulations above 2.5 Hz removed along time (49 taps), then a linear map of each 16 x 16 patch",
        ),
    ],
)
def test_each_patch_embedding_is_told_by_what_it_has(changes: dict[str, object], words: str) -> None:
    assert describe_patch_embedding(AaSPConfig.tiny(**changes)) == words


def test_an_encoder_adds_what_only_it_knows(small_encoder: AaSPEncoder) -> None:
    facts = describe(small_encoder, seconds=0.5)
    assert list(facts) == ["name", "sha256", *describe_config(small_encoder.config), "speed here"]
    count = sum(value.numel() for value in small_encoder.network.state_dict().values()) / 1e6
    assert facts["network"] == f"2 blocks, 192 wide, 3 heads, {count:.1f} M parameters"
