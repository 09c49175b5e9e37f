"""The three losses of pre-training, as functions of tensors; all computed in float32."""

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


def utterance_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of the whole clip's target, standardised per channel over the batch.

    Args:
        predicted: (views, dim), each spectrogram's views in a row.
        target: (batch, dim) not standardised.
    """
    target = standardise(target)
    views = len(predicted) // len(target)
    return functional.mse_loss(predicted.float(), target.repeat_interleave(views, dim=0))


def contrastive_loss(projected: Tensor, clip: Tensor, temperature: float) -> Tensor:
    """Multi-mask contrast: cosine InfoNCE between the views of one clip, against all views of other clips.

    For each ordered pair of views of one clip the denominator holds that positive and every view of another clip;
    the loss is the mean over pairs, so it does not depend on the order of views.

    Args:
        projected: (views, d).
        clip: (views,) which clip a view belongs to.
        temperature: τ.
    """
    unit = functional.normalize(projected.float(), dim=-1)
    with torch.autocast(unit.device.type, enabled=False):
        similarity = unit @ unit.T / temperature  # (views, views)
    same = clip[:, None] == clip[None]
    others = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(others, similarity) - similarity
    pairs = same & ~torch.eye(len(clip), dtype=torch.bool, device=clip.device)
    return losses.masked_fill(~pairs, 0.0).sum() / pairs.sum().clamp(min=1)


def standardise(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Zero mean and unit variance of each channel over the batch, (batch, dim)."""
    return (x - x.mean(dim=0)) * (x.var(dim=0, unbiased=False) + epsilon).rsqrt()
