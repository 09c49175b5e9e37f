"""AaSP's three losses, frame, clip and contrast, as functions of tensors; all computed in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def frame_loss(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error at the predicted masked tokens.

    Args:
        predicted, target: (views, queries, dim).
        valid: (views, queries) false at padding, which counts for nothing.
    """
    error = (predicted.float() - target).square().mean(dim=-1)  # (views, queries)
    return (error * valid).sum() / valid.sum()


def clip_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of the clip's own target, standardised per channel over the batch.

    Args:
        predicted: (views, dim), each clip's views in a row.
        target: (batch, dim) not standardised.
    """
    target = standardise(target)
    views = len(predicted) // len(target)
    return functional.mse_loss(predicted.float(), target.repeat_interleave(views, dim=0))


def contrastive_loss(projected: Tensor, sound: Tensor, temperature: float) -> Tensor:
    """Multi-mask contrast: cosine InfoNCE between the views of one sound, against all views of other sounds.

    For each ordered pair of views of one sound the denominator holds that positive and every view of another sound;
    the loss is the mean over pairs, so it does not depend on the order of views.

    Args:
        projected: (views, d).
        sound: (views,) which sound a view's clip was cut from.
        temperature: τ.
    """
    unit = functional.normalize(projected.float(), dim=-1)
    with torch.autocast(unit.device.type, enabled=False):
        similarity = unit @ unit.T / temperature  # (views, views)
    same = sound[:, None] == sound[None]
    others = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(others, similarity) - similarity
    pairs = same & ~torch.eye(len(sound), dtype=torch.bool, device=sound.device)
    return losses.masked_fill(~pairs, 0.0).sum() / pairs.sum().clamp(min=1)


def standardise(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Zero mean and unit variance of each channel over the batch, (batch, dim)."""
    return (x - x.mean(dim=0)) * (x.var(dim=0, unbiased=False) + epsilon).rsqrt()
