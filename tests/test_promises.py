"""The promises of the encoder hold on random sounds; ``tests/promises.py`` says what each means."""

import pytest
import torch
from promises import PROMISES, largest_difference

from aasp_features import AaSPConfig, AaSPEncoder


@pytest.fixture(scope="module")
def encoder() -> AaSPEncoder:
    torch.manual_seed(0)
    return AaSPEncoder(AaSPConfig.tiny(depth=3, dim=48, last_layers=2))


@pytest.mark.parametrize("name", PROMISES)
def test_promise(encoder: AaSPEncoder, name: str) -> None:
    assert largest_difference(PROMISES[name], encoder, cases=25) <= 1e-5


@pytest.mark.parametrize("patch_embed", ["conv", "lowpass"])
def test_promises_hold_for_the_other_patch_embeddings(patch_embed: str) -> None:
    torch.manual_seed(1)
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=2, dim=48, patch_embed=patch_embed))
    for name in ("alone = in a batch", "padding never matters", "chunked = whole"):
        assert largest_difference(PROMISES[name], encoder, cases=8, seed=1) <= 1e-5
