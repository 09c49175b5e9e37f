"""The running average (EMA) of the weights, which is validated and saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def momentum_at(step: int, momentum: float) -> float:
    """Return a momentum that starts low, so the average soon forgets its start."""
    return min(momentum, (1 + step) / (10 + step))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, momentum: float) -> None:
    """Update average <- momentum * average + (1 - momentum) * model; momentum 0 copies the model."""
    own: list[Tensor] = list(average.parameters())
    torch._foreach_lerp_(own, [parameter.detach() for parameter in model.parameters()], 1.0 - momentum)
