"""Several processes as one run, as launched by torchrun. In a single process, every function is an identity.

Processes must agree on values that decide how a run continues, such as measured times; otherwise one would stop while
the others wait for it. Agreed values are on the CPU, so no device is waited for: the process group has a CPU backend
beside that of the GPUs.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed

from aasp_features.errors import AaSPError, OptionError
from aasp_features.train.errors import TrainError
from aasp_features.train.options import checked_device


@contextmanager
def joined_processes(device: str | None) -> Iterator[torch.device]:
    """Join the other processes of the launcher, if there are any, and yield this process's device.

    An error in one process ends all of them. The first one raises its error; the others exit without a word.

    Args:
        device: Device from the command line. On ``cuda``, each process has the GPU of its number on its machine.

    Raises:
        OptionError: torch cannot use the device on this machine, or the launcher sets no LOCAL_RANK.
        TrainError: Another process ended without an error of its own, as one that is killed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield checked_device(device)
        return
    if "LOCAL_RANK" not in os.environ:
        raise OptionError("WORLD_SIZE is set, but not LOCAL_RANK; launch with torchrun, or unset WORLD_SIZE.")
    from torch.distributed.rendezvous import rendezvous

    store, number, count = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=number, world_size=count)
    if number:
        logging.disable(logging.WARNING)
    try:
        yield _device_of(int(os.environ["LOCAL_RANK"]), device)
        agree_any(False)  # none leaves while others still need it
    except BaseException as error:
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # from the launcher once a process has gone; the sentence comes first
        first, lost = _first_to_end(store), _is_lost(error)
        if first and lost:
            raise TrainError(
                "another process of this run ended; run the same command again to continue from the saved state."
            ) from error
        if first or not (lost or isinstance(error, AaSPError | OSError | KeyboardInterrupt)):
            raise
        sys.exit(getattr(error, "exit_code", 1))
    distributed.destroy_process_group()


def _device_of(local: int, device: str | None) -> torch.device:
    """Return the device of the process with this number on its machine."""
    chosen = checked_device(device)
    if chosen.type != "cuda":
        return chosen
    found = torch.cuda.device_count()
    if str(chosen) != "cuda" or local >= found:
        raise OptionError(
            f"must be cpu, or cuda with a GPU for each process; {found} GPUs were found.", option="device"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _first_to_end(store: Any) -> bool:
    """Return whether no other process has ended with an error before."""
    try:
        return int(store.add("ended", 1)) == 1
    except RuntimeError:  # the process that kept the store has gone
        return True


def _is_lost(error: BaseException) -> bool:
    """Return whether an exchange failed, because another process has gone or does not answer."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def together() -> bool:
    """Return whether several processes train."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Return the index of this process."""
    return distributed.get_rank() if together() else 0


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if together() else 1


def own_rows(total: int) -> slice:
    """Return this process's rows of a batch of ``total``; every process has equally many."""
    count = total // world_size()
    return slice(rank() * count, (rank() + 1) * count)


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


def check_alike(text: str) -> None:
    """Check that all processes have the same sounds, settings and state, described by ``text``.

    Raises:
        TrainError: In every process, if one differs.
    """
    number = float(int(hashlib.sha256(text.encode()).hexdigest()[:12], 16))  # exact
    if agree_any(agree_max(number) != number):
        raise TrainError(
            "the processes have different sounds, settings or run folders; give all of them the same command and data, "
            "and an --out on a disk that they share."
        )


def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over the processes, in one exchange."""
    if not together() or tensors[0].is_meta:
        return
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= world_size()
    means = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, means, strict=True):
        tensor.detach().copy_(mean.view_as(tensor))


def mean_count(count: Tensor) -> Tensor:
    """Return the mean of a count over the processes, so that the mean of their losses is that of the whole batch."""
    if together():
        count = count.float()
        average([count])
    return count


def gather(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes, equally many of each; gradients flow back to the rows' process."""
    return _Gather.apply(rows) if together() else rows  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    """Concatenation whose backward pass sums the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(world_size())]
        if not rows.is_meta:
            distributed.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        if not gradient.is_meta:
            distributed.all_reduce(gradient)
        return gradient[own_rows(len(gradient))]
