"""Several processes as one run. Every function is an identity where torch.distributed has no process group.

What decides how a run goes on, such as a time that was measured, has to be agreed, or one process would stop while the
others wait for it. Agreed values are numbers on the CPU, so that no device is waited for: the process group needs a
backend for them, as ``init_process_group("cpu:gloo,cuda:nccl")`` has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed


def together() -> bool:
    """Do several processes train?"""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if together() else 0


def world_size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if together() else 1


def agree_max(value: float) -> float:
    """The largest of the processes' values."""
    if not together():
        return value
    agreed = torch.tensor(value, dtype=torch.float64)
    distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
    return float(agreed)


def agree_any(value: bool) -> bool:
    """Does any process say so?"""
    return agree_max(float(value)) > 0


def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over the processes, in one exchange."""
    if not together():
        return
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= world_size()
    means = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, means, strict=True):
        tensor.detach().copy_(mean.view_as(tensor))


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, one after the other; each has as many. Gradients flow back to where rows come from."""
    return _Gather.apply(rows) if together() else rows  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    """A row's gradient is the sum of what every process makes of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(world_size())]
        distributed.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.tensor_split(world_size())[rank()]
