"""Gradients of two processes: one flat all-reduce behind the backward pass, or DistributedDataParallel beside it.

``python tests/benchmarks/gradient_exchange.py [--size tiny] [--clips 16] [--seconds 2]`` prints seconds a step, of both
in turn, over gloo on this machine.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from aasp_features import AaSPConfig
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.distributed import average

ROUNDS, STEPS = 7, 3


def timed(network: nn.Module, log_mel: torch.Tensor, exchange: Callable[[], None]) -> float:
    """Return seconds a step."""
    distributed.barrier()
    began = time.perf_counter()
    for _ in range(STEPS):
        network.zero_grad(set_to_none=True)
        network(log_mel).cls.square().mean().backward()
        exchange()
    distributed.barrier()
    return (time.perf_counter() - began) / STEPS


def measure(rank: int, given: argparse.Namespace) -> None:
    """Print the table of this process, the first of two."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517", "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    network = AaSPNetwork(getattr(AaSPConfig, given.size)())
    network.requires_grad_(True)
    overlapping = DistributedDataParallel(network, find_unused_parameters=False)
    log_mel = torch.randn(given.clips, 100 * given.seconds, 128)

    def flat() -> None:
        average([parameter.grad for parameter in network.parameters() if parameter.grad is not None])

    sides = {
        "no exchange": lambda: timed(network, log_mel, lambda: None),
        "one flat all-reduce": lambda: timed(network, log_mel, flat),
        "DistributedDataParallel": lambda: timed(overlapping, log_mel, lambda: None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(ROUNDS + 1):
        for name, side in sides.items():
            found = side()
            if round_:  # the first warms up
                seconds[name].append(found)
    if rank == 0:
        millions = sum(map(torch.numel, network.parameters())) / 1e6
        print(f"{given.size}, {given.clips} clips of {given.seconds} s a process, {millions:.1f} M parameters\n")
        print("| | median, s a step | 25 to 75 % |\n|---|--:|--:|")
        for name, values in seconds.items():
            low, middle, high = np.percentile(values, (25, 50, 75))
            print(f"| {name} | {middle:.3f} | {low:.3f}–{high:.3f} |")
    distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny", choices=["tiny", "base"])
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=2)
    multiprocessing.spawn(measure, (parser.parse_args(),), nprocs=2)


if __name__ == "__main__":
    main()
