"""The gradient of a batch, computed in parts: each part of the rows by a thread of its own.

A small network's operations are too short for several cores to share one of them; cores that each do a part of the
batch are busy all the time. Parts are summed in their order, so a step is the same however the threads ran.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from threading import Barrier
from typing import NamedTuple

import torch
from torch import Tensor

from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.objective import Losses, Objective
from aasp_features.train.pretrain.optimizer import trained_parameters
from aasp_features.train.pretrain.precision import autocast


class Part(NamedTuple):
    """What a part of a batch gives, weighted by its share of the rows."""

    losses: dict[str, Tensor]
    total: Tensor
    gradients: tuple[Tensor | None, ...]


class BatchParts:
    """Losses and gradients of a batch whose losses are means over its rows.

    Args:
        objective: without AaSP's own losses, as a part of a batch has not all the negatives of their contrast.
        parts: of a batch, and threads; the cores are shared out between them.
    """

    def __init__(self, objective: Objective, parts: int) -> None:
        self.objective, self.parameters, self.parts = objective, trained_parameters(objective), parts
        self._pool = _threads(parts, torch.get_num_threads())

    def backward(self, batch: Batch, generator: torch.Generator, dropped: float, precision: str) -> Losses:
        """Set every parameter's gradient; give the losses of the whole batch, detached.

        Args:
            batch: of clips.
            generator: on the CPU; the parts' own are seeded from it.
            dropped: see ``Objective``.
            precision: of the forward pass.
        """
        pieces = split(batch, self.parts)
        seeds = torch.randint(2**62, (len(pieces),), generator=generator).tolist()
        shares = [len(piece.log_mel) / len(batch.log_mel) for piece in pieces]
        done = list(self._pool.map(self._part, pieces, seeds, shares, repeat(dropped), repeat(precision)))
        for parameter, *gradients in zip(self.parameters, *(part.gradients for part in done), strict=True):
            parameter.grad = _total([gradient for gradient in gradients if gradient is not None])
        total = torch.stack([part.total for part in done]).sum()
        names = done[0].losses
        return Losses(total, {name: torch.stack([part.losses[name] for part in done]).sum() for name in names}, None)

    def _part(self, piece: Batch, seed: int, share: float, dropped: float, precision: str) -> Part:
        with autocast(piece.log_mel.device, precision):
            losses: Losses = self.objective(piece, torch.Generator().manual_seed(seed), dropped)
        gradients = torch.autograd.grad(share * losses.total, self.parameters, allow_unused=True)
        parts = {name: share * value.detach() for name, value in losses.parts.items()}
        return Part(parts, share * losses.total.detach(), gradients)


def _threads(count: int, cores: int) -> ThreadPoolExecutor:
    """Threads that have begun, and share the cores."""
    begun = Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(max(1, cores // count))
        torch.get_num_threads()  # a thread that never asked would take, when it first computes, what was set last
        begun.wait()

    pool = ThreadPoolExecutor(count, initializer=begin)
    for _ in range(count):  # each begins a thread, as none is free until all have begun
        pool.submit(int)
    begun.wait()
    torch.set_num_threads(cores)  # for the threads of others
    return pool


def split(batch: Batch, parts: int) -> list[Batch]:
    """A batch's rows in order, in so many parts, or as many as there are rows."""
    rows = torch.arange(len(batch.log_mel)).tensor_split(min(parts, len(batch.log_mel)))
    return [batch.rows(slice(int(row[0]), int(row[-1]) + 1)) for row in rows]


def _total(gradients: list[Tensor]) -> Tensor | None:
    return sum(gradients[1:], start=gradients[0]) if gradients else None
