"""AaSP's frame, clip and contrast losses, as functions of tensors in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def frame_loss(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean squared error of the predicted masked tokens, (views, queries, dim).

    ``valid``, (views, queries), is false at padding, which is ignored.
    """
    error = (predicted.float() - target).square().mean(dim=-1)  # (views, queries)
    return (error * valid).sum() / valid.sum()


def clip_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of the clip targets, standardised per channel over the batch.

    Args:
        predicted: (views, dim), each clip's views in a row.
        target: (batch, dim), not standardised.
    """
    target = standardise(target)
    views = len(predicted) // len(target)
    return functional.mse_loss(predicted.float(), target.repeat_interleave(views, dim=0))


def contrastive_loss(projected: Tensor, sound: Tensor, temperature: float) -> Tensor:
    """Return the multi-mask contrast: cosine InfoNCE between views of one sound, against other sounds' views.

    For each ordered pair of views of one sound, the denominator holds that positive and every view of another sound.
    The loss is the mean over pairs, so it does not depend on the order of views.

    Args:
        projected: (views, d).
        sound: (views,) sound of each view.
        temperature: Temperature τ.
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
    """Standardise each channel over the batch, (batch, dim)."""
    return (x - x.mean(dim=0)) * (x.var(dim=0, unbiased=False) + epsilon).rsqrt()
