"""Tokens -> frame vectors and clip vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from aasp_features.config import Pooling
from aasp_features.network import Features


def pool_frames(features: Features, pooling: Pooling) -> Tensor:
    """One vector for each column, (batch, columns, d).

    ``frequency`` concatenates the rows (d = rows x dim); every other pooling averages them (d = dim).
    """
    if pooling == "frequency":
        return features.tokens.flatten(2)
    return features.tokens.mean(dim=2)


def pool_clip(features: Features, pooling: Pooling) -> Tensor:
    """One vector for each clip, (batch, d): columns are weighted by their valid frames; d as ``config.pooled_dim``."""
    if pooling == "cls":
        return features.cls
    weight = features.valid.to(features.tokens.dtype)  # (batch, columns)
    weight = weight / weight.sum(dim=1, keepdim=True)
    mean = torch.einsum("bc,bcd->bd", weight, pool_frames(features, pooling))
    return torch.cat([mean, features.cls], dim=-1) if pooling == "mean+cls" else mean
