"""AaSP's frame, clip and contrast losses, as functions of tensors in float32.

Of several processes, each has the loss of its own rows. The mean of their losses is that of the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from aasp_features.model.transformer import autocast_type
from aasp_features.train.distributed import gather, mean_count, own_rows, rank, world_size


def frame_loss(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean squared error of the predicted masked tokens, (views, queries, dim).

    ``valid``, (views, queries), is false at padding, which is ignored.
    """
    error = (predicted.float() - target).square().mean(dim=-1)  # (views, queries)
    return (error * valid).sum() / mean_count(valid.sum())


def clip_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of the clip targets, standardised per channel over all processes' batch.

    Args:
        predicted: (views, dim), each clip's views in a row.
        target: (batch, dim), not standardised.
    """
    target = standardise(gather(target))[own_rows(len(target) * world_size())]
    views = len(predicted) // len(target)
    return functional.mse_loss(predicted.float(), target.repeat_interleave(views, dim=0))


def contrastive_loss(projected: Tensor, sound: Tensor, temperature: float) -> Tensor:
    """Return the multi-mask contrast: cosine InfoNCE between views of one sound, against other sounds' views.

    For each ordered pair of views of one sound, the denominator holds that positive and every view of another sound, in
    any process. The loss is the mean over pairs, so it does not depend on the order of views.

    Args:
        projected: (views, d).
        sound: (views,) sound of each view.
        temperature: Temperature τ.
    """
    unit = functional.normalize(projected.float(), dim=-1)
    with torch.autocast(autocast_type(unit.device), enabled=False):
        similarity = unit @ gather(unit).T / temperature  # (views, all views)
    same = sound[:, None] == gather(sound)[None]
    others = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(others, similarity) - similarity
    pairs = same.clone()
    pairs.diagonal(offset=rank() * len(sound)).fill_(False)
    return losses.masked_fill(~pairs, 0.0).sum() / mean_count(pairs.sum()).clamp(min=1)


def standardise(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Standardise each channel over the batch, (batch, dim)."""
    return (x - x.mean(dim=0)) * (x.var(dim=0, unbiased=False) + epsilon).rsqrt()
