"""Several processes as one run. Without a process group, every function is an identity.

Processes must agree on values that decide how a run continues, such as measured times; otherwise one would stop while
the others wait for it. Agreed values are on the CPU, so no device is waited for: the process group needs a CPU backend,
as in ``init_process_group("cpu:gloo,cuda:nccl")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed


def together() -> bool:
    """Return whether several processes train."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Return the index of this process."""
    return distributed.get_rank() if together() else 0


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if together() else 1


def agree_max(value: float) -> float:
    """Return the largest of the processes' values."""
    if not together():
        return value
    agreed = torch.tensor(value, dtype=torch.float64)
    distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
    return float(agreed)


def agree_any(value: bool) -> bool:
    """Return whether the value is true in any process."""
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
    """Concatenate the rows of all processes, equally many of each; gradients flow back to the rows' process."""
    return _Gather.apply(rows) if together() else rows  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    """Concatenation whose backward pass sums the gradients of all processes."""

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
