"""A batch of spectrogram crops as the two networks see it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from aasp_features.config import PATCH


class Spectrograms(NamedTuple):
    """Crops in a batch.

    Attributes:
        log_mel: (batch, frames, mels) standardised, zero past ``frames``.
        frames: (batch,) valid frames.
        first_column: (batch,) where on the grid of positions each crop starts.
        clip: (batch,) which recording each crop was cut from; equal numbers are positives of the contrast.
    """

    log_mel: Tensor
    frames: Tensor
    first_column: Tensor
    clip: Tensor

    @property
    def columns(self) -> int:
        """Token columns of the batch, padding included."""
        return -(-self.log_mel.shape[1] // PATCH)

    def positions(self, grid: Tensor) -> Tensor:
        """The crop's part of the position grid (window, rows, dim) -> (batch, columns, rows, dim)."""
        index = self.first_column[:, None] + torch.arange(self.columns, device=grid.device)
        return grid[index]
