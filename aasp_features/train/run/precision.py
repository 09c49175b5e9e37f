"""Precision of a step: float32, or autocast to bfloat16 or float16."""

from __future__ import annotations

import torch

from aasp_features.model.transformer import autocast_type


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return an autocast context to bfloat16 or float16, disabled for ``precision="float32"``."""
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(autocast_type(device), dtype=dtype, enabled=precision != "float32")


def known_precision(wanted: str, device: torch.device) -> str | None:
    """Resolve ``auto``: bfloat16 on CUDA devices that support it; None on CPUs where it must be measured."""
    if wanted != "auto":
        return wanted
    if device.type == "cpu":  # AVX2 emulates bfloat16 so slowly that even one measured step would take long
        return "float32" if torch.backends.cpu.get_cpu_capability() == "AVX2" else None
    # Older GPUs emulate bfloat16, which torch calls supported.
    return "bfloat16" if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
