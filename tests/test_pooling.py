"""Pooling, against the sums written out."""

import numpy as np
import pytest
import torch

from aasp_features.network import Features
from aasp_features.pooling import pool_clip, pool_frames


@pytest.fixture
def features() -> Features:
    torch.manual_seed(0)
    return Features(torch.randn(2, 3, 8, 4), torch.randn(2, 4), torch.tensor([[16, 16, 5], [16, 2, 0]]))


def test_frames(features: Features) -> None:
    tokens = features.tokens.numpy()
    np.testing.assert_allclose(pool_frames(features, "mean"), tokens.mean(axis=2), atol=1e-6)
    np.testing.assert_array_equal(pool_frames(features, "frequency")[1, 2], tokens[1, 2].reshape(-1))


@pytest.mark.parametrize("clip", [0, 1])
def test_clip_mean_is_weighted_by_valid_frames(features: Features, clip: int) -> None:
    tokens, weights = features.tokens[clip].numpy(), features.valid[clip].numpy()
    rows = [np.average(tokens[:, row], axis=0, weights=weights) for row in range(8)]
    np.testing.assert_allclose(pool_clip(features, "frequency")[clip], np.concatenate(rows), atol=1e-6)
    np.testing.assert_allclose(pool_clip(features, "mean")[clip], np.mean(rows, axis=0), atol=1e-6)
    np.testing.assert_array_equal(pool_clip(features, "cls")[clip], features.cls[clip])
    both = pool_clip(features, "mean+cls")[clip].numpy()
    np.testing.assert_allclose(both, np.concatenate([np.mean(rows, axis=0), features.cls[clip].numpy()]), atol=1e-6)


def test_padded_columns_weigh_nothing(features: Features) -> None:
    changed = features._replace(tokens=features.tokens.clone())
    changed.tokens[1, 2] = 1e6
    for pooling in ("mean", "frequency", "mean+cls", "cls"):
        torch.testing.assert_close(pool_clip(features, pooling)[1], pool_clip(changed, pooling)[1])
