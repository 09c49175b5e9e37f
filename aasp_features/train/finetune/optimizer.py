"""The optimiser of fine-tuning, with layer-wise decay and a schedule of learning rates."""

from __future__ import annotations

import math

import torch
from torch import nn

from aasp_features.train.finetune.model import FineTuned
from aasp_features.train.finetune.recipe import FinetuneOptimizerSettings

MOMENTUM, BETAS = 0.9, (0.9, 0.95)


def depth_below_head(name: str, blocks: int) -> int:
    """Return the depth of a parameter of ``FineTuned`` below the linear layer.

    It is 0 for the linear layer and the last norm, 1 for the last block, one more for each block before it, and
    ``blocks + 1`` for the stem (patch embedding and [CLS]).
    """
    part = name.removeprefix("network.")
    if part.startswith("blocks."):
        return blocks - int(part.split(".")[1])
    return blocks + 1 if part.startswith(("patch_embed.", "cls")) else 0


def build_optimizer(model: FineTuned, settings: FinetuneOptimizerSettings) -> torch.optim.Optimizer:
    """Group parameters by depth, with a ``factor`` on the rate; decay applies to linear layers' matrices only."""
    matrices = {part.weight for part in model.modules() if isinstance(part, nn.Linear)}
    blocks = len(model.network.blocks)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((depth_below_head(name, blocks), parameter in matrices), []).append(parameter)
    described = [
        {
            "params": parameters,
            "factor": settings.layer_decay**depth * (settings.encoder_factor if depth else 1.0),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
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
