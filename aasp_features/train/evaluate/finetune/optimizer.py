"""The optimiser of fine-tuning, with layer-wise decay and a schedule of learning rates."""

from __future__ import annotations

import torch

from aasp_features.fine_tuning import layer_groups
from aasp_features.train.evaluate.finetune.model import FineTuned
from aasp_features.train.evaluate.finetune.recipe import FinetuneOptimizerSettings
from aasp_features.train.run.optimizer import note_peaks

MOMENTUM, BETAS = 0.9, (0.9, 0.95)


def build_optimizer(model: FineTuned, settings: FinetuneOptimizerSettings) -> torch.optim.Optimizer:
    """Group parameters by depth, each with its own rate; decay applies to linear layers' matrices only."""
    groups = layer_groups(model, model.network, settings.weight_decay)
    for group in groups:
        factor = settings.layer_decay ** group["depth"] * (settings.encoder_factor if group["depth"] else 1.0)
        group["lr"] = settings.rate * factor
    fused = next(model.parameters()).device.type in ("cpu", "cuda")  # can skip a step without a wait
    optimizer: torch.optim.Optimizer
    if settings.method == "sgd":
        optimizer = torch.optim.SGD(groups, lr=settings.rate, momentum=MOMENTUM, fused=fused)
    else:
        optimizer = torch.optim.AdamW(groups, lr=settings.rate, betas=BETAS, fused=fused)
    note_peaks(optimizer)
    return optimizer
