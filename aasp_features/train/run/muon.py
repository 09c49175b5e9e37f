"""Muon (Jordan et al., 2024): momentum with orthogonalised matrices, for a network's hidden layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a quintic that is steep at 0: singular values become 0.7 to 1.2
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum, scaled by max(1, √(rows / columns)), with decoupled weight decay.

    The iteration runs in the parameters' dtype. ``torch.optim.Muon`` runs it in bfloat16, which many CPUs lack, and
    cannot skip a step.

    Args:
        matrices: Parameters with two axes.
        lr: Learning rate.
        weight_decay: Decay per step, multiplied by the learning rate.
        momentum: Decay of the running gradient.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, finite: Tensor | None = None) -> None:  # type: ignore[override]  # there is no closure
        """Update weights and momentum, or nothing if ``finite`` is false, without waiting for the device."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for matrices in by_shape.values():
                self._step(matrices, group, finite)

    def _step(self, matrices: list[nn.Parameter], group: dict[str, Any], finite: Tensor | None) -> None:
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)
        taken = torch.ones((), dtype=torch.bool, device=matrices[0].device) if finite is None else finite
        gradient = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
        running = torch.stack([self.state[matrix]["momentum"] for matrix in matrices])
        moved = running.lerp(gradient, 1 - group["momentum"])
        update = orthogonalised(gradient.lerp(moved, group["momentum"]))
        scale = group["lr"] * max(1.0, matrices[0].shape[0] / matrices[0].shape[1]) ** 0.5
        for index, matrix in enumerate(matrices):
            self.state[matrix]["momentum"].copy_(torch.where(taken, moved[index], running[index]))
            decayed = (1 - group["lr"] * group["weight_decay"]) * matrix
            matrix.copy_(torch.where(taken, decayed - scale * update[index], matrix))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Bring the singular values of (n, rows, columns) near 1 by a Newton-Schulz iteration."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
