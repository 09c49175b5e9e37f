"""The optimisers, and their schedule: learning rate and teacher momentum as functions of a run's progress, 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from aasp_features.train.pretrain.distributed import average
from aasp_features.train.pretrain.muon import Muon
from aasp_features.train.recipe import ObjectiveSettings, OptimizerSettings


def learning_rate_share(progress: float, settings: OptimizerSettings) -> float:
    """Share of the highest rate: linear warm-up over the first ``warm_up`` of the run, 1 until ``hold``, then half a
    cosine to zero."""
    warm_up = settings.warm_up
    if progress < warm_up:
        return progress / warm_up
    fall = max(warm_up, settings.hold)
    rest = (min(progress, 1.0) - fall) / (1.0 - fall) if progress > fall else 0.0
    return 0.5 * (1.0 + math.cos(math.pi * rest))


def teacher_momentum(progress: float, settings: ObjectiveSettings) -> float:
    """From ``momentum_start`` to ``momentum_end`` along half a cosine."""
    start, end = settings.momentum_start, settings.momentum_end
    return end - (end - start) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Everything but the teacher."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def build_optimizers(module: nn.Module, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """AdamW, and with ``kind="muon"`` Muon for the matrices of the blocks.

    Weight decay is on the matrices of linear maps only. Each group's ``peak`` is its highest learning rate.
    """
    matrices = {part.weight for part in module.modules() if isinstance(part, nn.Linear)}
    trained = trained_parameters(module)
    blocks = {p for name, p in module.named_parameters() if ".blocks." in name} if settings.kind == "muon" else set()
    by_muon = [p for p in trained if p in matrices and p in blocks]
    groups = [
        {"params": [p for p in trained if p in matrices and p not in blocks], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p not in matrices], "weight_decay": 0.0},
    ]
    fused = trained[0].device.type in ("cpu", "cuda")  # can leave a step out without being waited for
    adam = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=fused)
    muon = [Muon(by_muon, settings.muon_rate, settings.weight_decay)] if by_muon else []
    for optimizer in (adam, *muon):
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return [adam, *muon]


def take_step(optimizers: Iterable[torch.optim.Optimizer], finite: Tensor) -> None:
    """Move weights and moments, unless the step was not ``finite``: then nothing changes, not by decay either.

    That is decided on the device, which need not be waited for.
    """
    for optimizer in optimizers:
        if isinstance(optimizer, Muon):
            optimizer.step(finite)
            continue
        if optimizer.defaults["fused"]:
            optimizer.found_inf = 1.0 - finite.float()  # type: ignore[attr-defined]  # what gradient scalers set
        optimizer.step()


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], share: float) -> None:
    """Give every group this share of its highest rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


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
