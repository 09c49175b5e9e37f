"""A batch of crops as every network of a step sees it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from aasp_features.config import PATCH


class Batch(NamedTuple):
    """Crops in a batch.

    Attributes:
        log_mel: (batch, frames, mels) standardised, zero past ``frames``.
        frames: (batch,) valid frames.
        first_column: (batch,) where on the grid of positions each crop starts.
        clip: (batch,) which recording each crop was cut from; equal numbers are positives of the contrast.
        waveform: (batch, samples), on the CPU, that the log-mel was made from, zero past a crop's end; None where
            log-mels were cut from a cache.
        features: by name of the external teacher, (batch, numbers): what it said of these very waveforms.
    """

    log_mel: Tensor
    frames: Tensor
    first_column: Tensor
    clip: Tensor
    waveform: Tensor | None = None
    features: dict[str, Tensor] = {}  # noqa: RUF012 (a default that nobody fills)

    @property
    def columns(self) -> int:
        """Token columns of the batch, padding included."""
        return -(-self.log_mel.shape[1] // PATCH)

    def positions(self, grid: Tensor) -> Tensor:
        """The crops' part of the position grid (window, rows, dim) -> (batch, columns, rows, dim)."""
        index = self.first_column[:, None] + torch.arange(self.columns, device=grid.device)
        return grid[index]
