"""The optimiser, and its schedule: learning rate and teacher momentum as functions of a run's progress, 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aasp_features.train.pretrain.distributed import average
from aasp_features.train.recipe import ObjectiveSettings, OptimizerSettings


def learning_rate(progress: float, settings: OptimizerSettings) -> float:
    """Linear warm-up over the first ``warm_up`` of the run, its peak until ``hold``, then half a cosine to zero."""
    peak, warm_up = settings.learning_rate, settings.warm_up
    if progress < warm_up:
        return peak * progress / warm_up
    fall = max(warm_up, settings.hold)
    rest = (min(progress, 1.0) - fall) / (1.0 - fall) if progress > fall else 0.0
    return peak * 0.5 * (1.0 + math.cos(math.pi * rest))


def teacher_momentum(progress: float, settings: ObjectiveSettings) -> float:
    """From ``momentum_start`` to ``momentum_end`` along half a cosine."""
    start, end = settings.momentum_start, settings.momentum_end
    return end - (end - start) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Everything but the teacher."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on the matrices of linear maps only."""
    matrices = {part.weight for part in module.modules() if isinstance(part, nn.Linear)}
    trained = trained_parameters(module)
    groups = [
        {"params": [p for p in trained if p in matrices], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p not in matrices], "weight_decay": 0.0},
    ]
    fused = trained[0].device.type in ("cpu", "cuda")  # can leave a step out without being waited for
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=fused)


def take_step(optimizer: torch.optim.AdamW, finite: Tensor) -> None:
    """Move weights and moments, unless the step was not ``finite``: then nothing changes, not by decay either.

    That is decided on the device, which need not be waited for.
    """
    if optimizer.defaults["fused"]:
        optimizer.found_inf = 1.0 - finite.float()  # type: ignore[attr-defined]  # what gradient scalers set
    optimizer.step()


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Of every parameter."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def finish_gradients(parameters: Sequence[nn.Parameter], loss: Tensor, largest_norm: float) -> tuple[Tensor, Tensor]:
    """Average gradients over the processes, and clip their norm.

    Where loss or gradient is not finite, the gradient becomes zero, so that weights and moments stay finite. That is
    decided on the device, which need not be waited for, and alike in every process, for the loss is averaged, too.

    Args:
        parameters: with their gradients.
        loss: of this process; becomes the mean.
        largest_norm: to which larger ones are scaled.

    Returns:
        The norm before clipping, and whether all was finite.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    average([loss, *gradients])
    norm = nn.utils.clip_grad_norm_(parameters, largest_norm)
    finite = torch.isfinite(norm) & torch.isfinite(loss)
    for gradient in gradients:
        gradient.masked_fill_(~finite, 0.0)
    return norm, finite
