"""The optimiser, and its schedule: learning rate and teacher momentum as functions of a run's progress, 0 to 1."""

from __future__ import annotations

import math

import torch
from torch import nn

from aasp_features.train.pretrain.objective import Objective
from aasp_features.train.recipe import Recipe


def learning_rate(progress: float, peak: float, warm_up: float, hold: float = 0.0) -> float:
    """Linear warm-up over the first ``warm_up`` of the run, ``peak`` until ``hold``, then half a cosine to zero."""
    if progress < warm_up:
        return peak * progress / warm_up
    fall = max(warm_up, hold)
    rest = (min(progress, 1.0) - fall) / (1.0 - fall) if progress > fall else 0.0
    return peak * 0.5 * (1.0 + math.cos(math.pi * rest))


def teacher_momentum(progress: float, start: float, end: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end - (end - start) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def build_optimizer(objective: Objective, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with weight decay on the matrices of linear maps only."""
    matrices = {module.weight for module in objective.modules() if isinstance(module, nn.Linear)}
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p in matrices], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p not in matrices], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))
