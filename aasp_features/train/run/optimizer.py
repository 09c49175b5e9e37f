"""Optimisers, and the schedules of learning rate and EMA momentum over a run's progress from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from aasp_features.train.distributed import average
from aasp_features.train.recipe import ObjectiveSettings, OptimizerSettings
from aasp_features.train.run.muon import Muon


def learning_rate_share(progress: float, warm_up: float, hold: float = 0.0, last: float = 0.0) -> float:
    """Return the learning rate as a share of its peak.

    It warms up linearly over the first ``warm_up`` of the run, is 1 until ``hold``, and falls along half a cosine to
    ``last``.
    """
    if progress < warm_up:
        return progress / warm_up
    fall = max(warm_up, hold)
    rest = (min(progress, 1.0) - fall) / (1.0 - fall) if progress > fall else 0.0
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * rest))


def ema_momentum(progress: float, settings: ObjectiveSettings) -> float:
    """Return the EMA momentum, from ``momentum_start`` to ``momentum_end`` along half a cosine."""
    start, end = settings.momentum_start, settings.momentum_end
    return end - (end - start) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return all parameters that are trained, which excludes the EMA teacher."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def build_optimizers(module: nn.Module, settings: OptimizerSettings) -> dict[str, torch.optim.Optimizer]:
    """Build ``adam`` (AdamW) and, with ``kind="muon"``, ``muon`` for the blocks' matrices.

    Weight decay applies to linear layers' matrices only.
    """
    matrices = {part.weight for part in module.modules() if isinstance(part, nn.Linear)}
    trained = trained_parameters(module)
    blocks = {p for name, p in module.named_parameters() if ".blocks." in name} if settings.kind == "muon" else set()
    by_muon = [p for p in trained if p in matrices and p in blocks]
    groups = [
        {"params": [p for p in trained if p in matrices and p not in blocks], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p not in matrices], "weight_decay": 0.0},
    ]
    fused = trained[0].device.type in ("cpu", "cuda")  # fused steps can be skipped without a synchronisation
    adam = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=fused)
    optimizers: dict[str, torch.optim.Optimizer] = {"adam": adam}
    if by_muon:
        optimizers["muon"] = Muon(by_muon, settings.muon_rate, settings.weight_decay)
    for optimizer in optimizers.values():
        note_peaks(optimizer)
    return optimizers


def note_peaks(optimizer: torch.optim.Optimizer) -> None:
    """Note every group's learning rate as the ``peak`` of its schedule."""
    for group in optimizer.param_groups:
        group["peak"] = group["lr"]


def take_step(optimizers: Iterable[torch.optim.Optimizer], finite: Tensor) -> None:
    """Update weights and moments, or leave all unchanged if the step was not ``finite``.

    The device decides, so it is not waited for.
    """
    for optimizer in optimizers:
        if isinstance(optimizer, Muon):
            optimizer.step(finite)
            continue
        if optimizer.defaults["fused"]:
            optimizer.found_inf = 1.0 - finite.float()  # type: ignore[attr-defined]  # as gradient scalers do
        optimizer.step()


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], share: float) -> None:
    """Set every group's rate to this share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


def finish_gradients(
    parameters: Sequence[nn.Parameter],
    loss: Tensor,
    largest_norm: float,
    unscale: Callable[[], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Average gradients over the processes, and clip their norm.

    If the loss or the gradient is not finite, the gradient becomes zero, so weights and moments stay finite. The device
    decides, alike in every process, so it is not waited for.

    Args:
        parameters: Parameters with gradients.
        loss: Loss of this process, replaced by the mean.
        largest_norm: Largest norm after clipping.
        unscale: Function that divides averaged gradients by the factor of a scaled loss.

    Returns:
        The norm before clipping, and whether loss and gradient are finite.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    average([loss, *gradients])
    if unscale is not None:
        unscale()
    norm = nn.utils.clip_grad_norm_(parameters, largest_norm)
    finite = torch.isfinite(norm) & torch.isfinite(loss)
    for gradient in gradients:
        gradient.masked_fill_(~finite, 0.0)
    return norm, finite
