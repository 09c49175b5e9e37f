"""The optimiser of fine-tuning, with layer-wise decay and a schedule of learning rates."""

from __future__ import annotations

import math

import torch

from aasp_features.fine_tuning import layer_groups
from aasp_features.train.finetune.model import FineTuned
from aasp_features.train.finetune.recipe import FinetuneOptimizerSettings

MOMENTUM, BETAS = 0.9, (0.9, 0.95)


def build_optimizer(model: FineTuned, settings: FinetuneOptimizerSettings) -> torch.optim.Optimizer:
    """Group parameters by depth, with a ``factor`` on the rate; decay applies to linear layers' matrices only."""
    described = [
        {
            **group,
            "factor": settings.layer_decay ** group["depth"] * (settings.encoder_factor if group["depth"] else 1.0),
        }
        for group in layer_groups(model, model.network, settings.weight_decay)
    ]
    fused = next(model.parameters()).device.type in ("cpu", "cuda")  # can skip a step without a wait
    if settings.method == "sgd":
        return torch.optim.SGD(described, lr=settings.rate, momentum=MOMENTUM, fused=fused)
    return torch.optim.AdamW(described, lr=settings.rate, betas=BETAS, fused=fused)


def set_rates(optimizer: torch.optim.Optimizer, done: float, settings: FinetuneOptimizerSettings) -> float:
    """Set every group's rate at a fraction of the run, and return the linear layer's."""
    rate = rate_at(done, settings)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def rate_at(done: float, settings: FinetuneOptimizerSettings) -> float:
    """Return the rate after linear warm-up, then along half a cosine to the last rate."""
    if done < settings.warm_up:
        return settings.rate * done / settings.warm_up
    rest = (min(done, 1.0) - settings.warm_up) / (1.0 - settings.warm_up)
    last = settings.rate * settings.last_rate
    return last + (settings.rate - last) * 0.5 * (1.0 + math.cos(math.pi * rest))
