"""Which places of a padded batch are real."""

from __future__ import annotations

import torch
from torch import Tensor


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(batch,) lengths -> (batch, size) bool, true before each length; on the lengths' device."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
