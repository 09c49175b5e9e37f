"""How many windows go through the network together, where the user does not say."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from aasp_features.config import AaSPConfig

MOST = {"cpu": 32, "cuda": 256}  # beyond these nothing gets faster
SHARE = 1 / 8  # of the memory, for what a batch needs
LIVE_VALUES = 16  # numbers held for each value of a token: its state, queries, keys, values, hidden layer, last blocks
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def choose_batch_size(config: AaSPConfig, device: str) -> int:
    """A power of two, so that a batch of full windows takes at most an eighth of the memory.

    It depends on the machine and the network only, not on what else runs, so a run that goes on takes the same.

    Args:
        config: of the encoder.
        device: kind of device, ``cpu``, ``cuda`` or another.
    """
    window = 4 * LIVE_VALUES * config.dim * config.rows * config.window  # bytes
    fitting = max(1, int(SHARE * memory(device) / window))
    return int(min(MOST.get(device, 32), 2 ** (fitting.bit_length() - 1)))


def memory(device: str) -> int:
    """Bytes of the first GPU, or of this machine or container."""
    if device == "cuda" and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    machine = 4 * 2**30
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return machine
