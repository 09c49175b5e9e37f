"""A running average of weights (EMA): smoother than the weights themselves, so it is what is judged and saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def momentum_at(step: int, momentum: float) -> float:
    """Less at first, so that the average soon forgets where it started."""
    return min(momentum, (1 + step) / (10 + step))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, momentum: float) -> None:
    """average <- momentum * average + (1 - momentum) * model; 0 makes it a copy."""
    own: list[Tensor] = list(average.parameters())
    torch._foreach_lerp_(own, [parameter.detach() for parameter in model.parameters()], 1.0 - momentum)
