"""A batch of clips as every network of a step sees it: one type, whether log-mels were cached or made of waveforms."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.model.log_mel import length_mask
from aasp_features.model.network import AaSPNetwork


class Batch(NamedTuple):
    """Clips in a batch. What is known of their lengths stays on the CPU, so that no question waits for a device.

    Attributes:
        log_mel: (batch, frames, mels) standardised, zero past each clip's end.
        frame_lengths: (batch,) frames of each clip, on the CPU.
        first_column: (batch,) where on the grid of positions each clip starts.
        sound: (batch,) which sound each clip was cut from; equal numbers are positives of the contrast.
        waveform: (batch, samples), on the CPU, that the log-mel was made from, zero past a clip's end; None where
            log-mels were cut from a cache.
        features: by name of the external teacher, (batch, numbers): what it said of these very waveforms.
    """

    log_mel: Tensor
    frame_lengths: Tensor
    first_column: Tensor
    sound: Tensor
    waveform: Tensor | None = None
    features: dict[str, Tensor] = {}  # noqa: RUF012 (a default that nobody fills)

    @property
    def columns(self) -> int:
        """Token columns of the batch, padding included."""
        return -(-self.log_mel.shape[1] // PATCH)

    @property
    def column_frames(self) -> Tensor:
        """Frames of the clip in each column, (batch, columns), 0…16, on the CPU."""
        return (self.frame_lengths[:, None] - PATCH * torch.arange(self.columns)).clamp(0, PATCH)

    @property
    def padded(self) -> bool:
        """Does a clip end before the last column begins, so that there are tokens that must not be read?"""
        return int(self.frame_lengths.min()) <= PATCH * (self.columns - 1)

    @property
    def inside(self) -> Tensor:
        """(batch, frames, 1) false past a clip's end, beside the log-mels."""
        mask = length_mask(self.frame_lengths, self.log_mel.shape[1])
        return send(mask, self.log_mel.device)[..., None]

    def positions(self, grid: Tensor) -> Tensor:
        """The clips' part of the position grid (window, rows, dim) -> (batch, columns, rows, dim)."""
        index = self.first_column[:, None] + torch.arange(self.columns, device=grid.device)
        return grid[index]

    def patch_tokens(self, network: AaSPNetwork) -> Tensor:
        """A network's patch tokens with positions, (batch, columns, rows, dim)."""
        lengths = send(self.frame_lengths, self.log_mel.device)
        return network.embed_patches(self.log_mel, lengths) + self.positions(network.positions)

    def to(self, device: torch.device) -> Batch:
        """On another device, all but the lengths and the waveform, without waiting for it."""
        return self._replace(
            log_mel=send(self.log_mel, device),
            first_column=send(self.first_column, device),
            sound=send(self.sound, device),
            features={name: send(value, device) for name, value in self.features.items()},
        )

    def rows(self, rows: slice) -> Batch:
        """Some of the clips."""
        return Batch(
            self.log_mel[rows],
            self.frame_lengths[rows],
            self.first_column[rows],
            self.sound[rows],
            None if self.waveform is None else self.waveform[rows],
            {name: value[rows] for name, value in self.features.items()},
        )


def send(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device; to a GPU through pinned memory, so that neither waits for the other."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
