"""Precision of a step: float32, or bfloat16 autocast."""

from __future__ import annotations

import torch


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return a bfloat16 autocast context, enabled for ``precision="bfloat16"``."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def known_precision(wanted: str, device: torch.device) -> str | None:
    """Resolve ``auto``: bfloat16 on CUDA devices that support it; None on CPUs where it must be measured."""
    if wanted != "auto":
        return wanted
    if device.type == "cpu":  # AVX2 emulates bfloat16 so slowly that even one measured step would take long
        return "float32" if torch.backends.cpu.get_cpu_capability() == "AVX2" else None
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
