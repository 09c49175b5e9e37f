"""Pooling, against the sums written out."""

from typing import get_args

import numpy as np
import pytest
import torch

from aasp_features.config import Pooling, pooled_dim
from aasp_features.inference import ClipVector, ColumnVectors
from aasp_features.model.network import Features
from aasp_features.model.pooling import pool_clip, pool_frames


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
    tokens, weights = features.tokens[clip].numpy(), features.column_frames[clip].numpy()
    rows = [np.average(tokens[:, row], axis=0, weights=weights) for row in range(8)]
    np.testing.assert_allclose(pool_clip(features, "frequency")[clip], np.concatenate(rows), atol=1e-6)
    np.testing.assert_allclose(pool_clip(features, "mean")[clip], np.mean(rows, axis=0), atol=1e-6)
    np.testing.assert_array_equal(pool_clip(features, "cls")[clip], features.cls[clip])
    both = pool_clip(features, "mean+cls")[clip].numpy()
    np.testing.assert_allclose(both, np.concatenate([np.mean(rows, axis=0), features.cls[clip].numpy()]), atol=1e-6)


@pytest.mark.parametrize("clip", [0, 1])
def test_deviations_are_weighted_by_valid_frames(features: Features, clip: int) -> None:
    """Against every valid frame written out as often as it counts."""
    for pooling, base in (("frequency+std", "frequency"), ("mean+std", "mean")):
        frames = np.repeat(pool_frames(features, base)[clip].numpy(), features.column_frames[clip].numpy(), axis=0)
        expected = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
        np.testing.assert_allclose(pool_clip(features, pooling)[clip], expected, atol=1e-6)


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_a_window_at_a_time_equals_all_at_once(features: Features, pooling: Pooling) -> None:
    columns, expected = pool_frames(features, pooling), pool_clip(features, pooling)
    for clip in (0, 1):
        collected = ClipVector(pooling)
        for piece in (slice(0, 1), slice(1, 3)):
            frames = features.column_frames[clip, piece].numpy()
            collected.add(ColumnVectors(columns[clip, piece].numpy(), frames, features.cls[clip].numpy()))
        vector = collected.vector()
        assert vector.shape == (pooled_dim(4, 8, pooling),)
        np.testing.assert_allclose(vector, expected[clip], atol=1e-6)


def test_no_variation_has_a_slope(features: Features) -> None:
    tokens = torch.ones(1, 3, 8, 4, requires_grad=True)
    pool_clip(Features(tokens, features.cls[:1], features.column_frames[:1]), "mean+std").sum().backward()
    assert torch.isfinite(tokens.grad).all()


def test_padded_columns_weigh_nothing(features: Features) -> None:
    changed = features._replace(tokens=features.tokens.clone())
    changed.tokens[1, 2] = 1e6
    for pooling in get_args(Pooling):
        torch.testing.assert_close(pool_clip(features, pooling)[1], pool_clip(changed, pooling)[1])
