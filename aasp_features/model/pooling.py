"""Tokens → frame vectors and clip vectors, differentiable; ``inference.ClipVector`` pools a window at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from aasp_features.config import VARIANCE_FLOOR, Pooling
from aasp_features.model.network import Features


def pool_frames(features: Features, pooling: Pooling) -> Tensor:
    """Return one vector for each column, (batch, columns, d).

    ``frequency`` and ``frequency+std`` concatenate the rows (d = rows x dim); other poolings average them (d = dim).
    """
    if pooling.startswith("frequency"):
        return features.tokens.flatten(2)
    return features.tokens.mean(dim=2)


def pool_clip(features: Features, pooling: Pooling) -> Tensor:
    """Return one vector for each clip, (batch, d), d as of ``config.pooled_dim``; columns weigh their valid frames."""
    if pooling == "cls":
        return features.cls
    weight = features.column_frames.to(features.tokens.dtype)  # (batch, columns)
    weight = weight / weight.sum(dim=1, keepdim=True)
    columns = pool_frames(features, pooling)
    mean = torch.einsum("bc,bcd->bd", weight, columns)
    if pooling == "mean+cls":
        return torch.cat([mean, features.cls], dim=-1)
    if pooling.endswith("+std"):
        variance = torch.einsum("bc,bcd->bd", weight, (columns - mean[:, None]).square())
        return torch.cat([mean, (variance + VARIANCE_FLOOR).sqrt()], dim=-1)
    return mean


def similarity(a: Any, b: Any) -> Tensor:
    """Return the cosines of vectors (n, d) with vectors (m, d), arrays or tensors, as (n, m); (d,) counts as one.

    The vectors of a checkpoint may share a large part. ``aasp_features.search`` subtracts the collection's mean first.
    """
    first, second = (torch.as_tensor(each).float() for each in (a, b))
    rows, columns = (normalize(each[None] if each.ndim == 1 else each, dim=-1) for each in (first, second))
    return rows @ columns.T
