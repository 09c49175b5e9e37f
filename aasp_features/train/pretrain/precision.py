"""What a step is computed in: float32, or bfloat16 autocast."""

from __future__ import annotations

import torch


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 autocast where ``precision`` says so."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def known_precision(wanted: str, device: torch.device) -> str | None:
    """``auto`` is bfloat16 on CUDA devices that have it; on a CPU that may have it, it has to be measured: None."""
    if wanted != "auto":
        return wanted
    if device.type == "cpu":  # AVX2 has no instructions for it, and even one step to measure would take long
        return "float32" if torch.backends.cpu.get_cpu_capability() == "AVX2" else None
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
