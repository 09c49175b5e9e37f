"""Losses and gradients of a batch in parts, one after the other or each by its own thread.

The operations of a small network are too short to be shared by several cores; separate parts of the batch keep all
cores busy. Parts are summed in order, so a step does not depend on the threads' timing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from threading import Barrier
from typing import NamedTuple

import torch
from torch import Tensor

from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.ema_teacher import Targets
from aasp_features.train.pretrain.objective import Losses, Objective
from aasp_features.train.run.optimizer import trained_parameters
from aasp_features.train.run.precision import autocast


class Part(NamedTuple):
    """Losses and gradients of a part of a batch, weighted by its share of the rows."""

    losses: Losses
    gradients: tuple[Tensor | None, ...]


class BatchParts:
    """Losses and gradients of a batch whose losses are means over its rows.

    Args:
        objective: Objective without AaSP's own losses, whose contrast needs the negatives of the whole batch.
        parts: Number of parts and threads, which share the cores.
    """

    def __init__(self, objective: Objective, parts: int) -> None:
        self.objective, self.parameters, self.parts = objective, trained_parameters(objective), parts
        self._pool = _threads(parts, torch.get_num_threads())

    def backward(self, batch: Batch, generator: torch.Generator, token_dropping: float, precision: str) -> Losses:
        """Set every parameter's gradient, and return the detached losses of the whole batch.

        Args:
            batch: Batch of crops.
            generator: CPU generator, which seeds those of the parts.
            token_dropping: See ``Objective``.
            precision: Precision of the forward pass.
        """
        pieces = [piece._replace(share=None) for piece in split(batch, self.parts)]  # each has its own generator
        seeds = torch.randint(2**62, (len(pieces),), generator=generator).tolist()
        shares = [len(piece.log_mel) / len(batch.log_mel) for piece in pieces]
        done = list(self._pool.map(self._part, pieces, seeds, shares, repeat(token_dropping), repeat(precision)))
        for parameter, *gradients in zip(self.parameters, *(part.gradients for part in done), strict=True):
            parameter.grad = _total([gradient for gradient in gradients if gradient is not None])
        return summed([part.losses for part in done])

    def _part(self, piece: Batch, seed: int, share: float, token_dropping: float, precision: str) -> Part:
        with autocast(piece.log_mel.device, precision):
            losses: Losses = self.objective(piece, torch.Generator().manual_seed(seed), token_dropping)
        gradients = torch.autograd.grad(share * losses.total, self.parameters, allow_unused=True)
        return Part(weighted(losses, share), gradients)


def _threads(count: int, cores: int) -> ThreadPoolExecutor:
    """Return a pool of running threads that share the cores."""
    begun = Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(max(1, cores // count))
        torch.get_num_threads()  # otherwise the thread would take the last value set anywhere at its first operation
        begun.wait()

    pool = ThreadPoolExecutor(count, initializer=begin)
    for _ in range(count):  # each starts a thread, as none is free until all have started
        pool.submit(int)
    begun.wait()
    torch.set_num_threads(cores)  # for other threads
    return pool


def split(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch's rows in order into at most ``parts`` parts."""
    rows = torch.arange(len(batch.log_mel)).tensor_split(min(parts, len(batch.log_mel)))
    return [batch.rows(slice(int(row[0]), int(row[-1]) + 1)) for row in rows]


def weighted(losses: Losses, share: float) -> Losses:
    """Return the losses of a part, detached and multiplied by its share of the rows."""
    parts = {name: share * value.detach() for name, value in losses.parts.items()}
    return losses._replace(total=share * losses.total.detach(), parts=parts)


def summed(losses: Sequence[Losses]) -> Losses:
    """Return the losses of a batch from the weighted ones of its parts, with the masks of the first part."""
    parts = {name: torch.stack([one.parts[name] for one in losses]).sum() for name in losses[0].parts}
    targets = [one.targets for one in losses if one.targets is not None]
    joined = Targets(*(torch.cat(values) for values in zip(*targets, strict=True))) if targets else None
    return Losses(torch.stack([one.total for one in losses]).sum(), parts, joined, losses[0].masks)


def _total(gradients: list[Tensor]) -> Tensor | None:
    return sum(gradients[1:], start=gradients[0]) if gradients else None
