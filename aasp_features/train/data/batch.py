"""A batch of crops, the same type for cached log-mels and for waveforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.model.log_mel import length_mask
from aasp_features.model.network import AaSPNetwork


class Spans(NamedTuple):
    """Frames of a corpus, one span a row: (rows,) sounds, their first frames, and the numbers of frames."""

    sound: Tensor
    first: Tensor
    frames: Tensor


class Share(NamedTuple):
    """Rows of a step's batch that are computed here, (rows,), and the number of all its rows."""

    rows: Tensor
    total: int


class Batch(NamedTuple):
    """Crops in a batch. Lengths stay on the CPU, so reading them never waits for a device.

    Attributes:
        log_mel: (batch, frames, mels), standardised, zero past each crop's end.
        frame_lengths: (batch,) frames of each crop, on the CPU.
        first_column: (batch,) position of each crop on the position grid, in columns.
        sound: (batch,) sound of each crop; equal numbers are positives of the contrast.
        waveform: (batch, samples) on the CPU, zero past a crop's end; None for crops of cached log-mels.
        features: Features of these waveforms by each external teacher's name, (batch, dim).
        share: Rows of the step's batch that these are; None for all.
    """

    log_mel: Tensor
    frame_lengths: Tensor
    first_column: Tensor
    sound: Tensor
    waveform: Tensor | None = None
    features: dict[str, Tensor] = {}  # noqa: RUF012 (never modified)
    share: Share | None = None

    @property
    def columns(self) -> int:
        """Token columns of the batch, padding included."""
        return -(-self.log_mel.shape[1] // PATCH)

    @property
    def column_frames(self) -> Tensor:
        """Frames of the crop in each column, (batch, columns), 0 to 16, on the CPU."""
        return (self.frame_lengths[:, None] - PATCH * torch.arange(self.columns)).clamp(0, PATCH)

    @property
    def padded(self) -> bool:
        """Whether some tokens are padding, because a crop ends before the last column begins."""
        return int(self.frame_lengths.min()) <= PATCH * (self.columns - 1)

    @property
    def inside(self) -> Tensor:
        """Mask of the log-mels, (batch, frames, 1), false past a crop's end."""
        mask = length_mask(self.frame_lengths, self.log_mel.shape[1])
        return send(mask, self.log_mel.device)[..., None]

    def positions(self, grid: Tensor) -> Tensor:
        """Return the crops' part of the position grid: (window, rows, dim) -> (batch, columns, rows, dim)."""
        index = self.first_column[:, None] + torch.arange(self.columns, device=grid.device)
        return grid[index]

    def patch_tokens(self, network: AaSPNetwork) -> Tensor:
        """Return a network's patch tokens with positions, (batch, columns, rows, dim)."""
        lengths = send(self.frame_lengths, self.log_mel.device)
        return network.embed_patches(self.log_mel, lengths) + self.positions(network.positions)

    def to(self, device: torch.device) -> Batch:
        """Send all but the lengths and the waveform to a device, without waiting for it."""
        return self._replace(
            log_mel=send(self.log_mel, device),
            first_column=send(self.first_column, device),
            sound=send(self.sound, device),
            features={name: send(value, device) for name, value in self.features.items()},
        )

    def rows(self, rows: slice | Tensor) -> Batch:
        """Return some of the crops."""
        share = self.share or Share(torch.arange(len(self.log_mel)), len(self.log_mel))
        return Batch(
            self.log_mel[rows],
            self.frame_lengths[rows],
            self.first_column[rows],
            self.sound[rows],
            None if self.waveform is None else self.waveform[rows],
            {name: value[rows] for name, value in self.features.items()},
            Share(share.rows[rows], share.total),
        )


def draw(
    shape: Sequence[int],
    generator: torch.Generator,
    share: Share | None,
    sample: Callable[..., Tensor] = torch.rand,
) -> Tensor:
    """Draw random numbers for the whole batch and return those of a share, so they do not depend on the division.

    Args:
        shape: Shape of the result, whose first axis holds equally many numbers for each row of the share.
        generator: CPU generator.
        share: Share of the batch; None for all of it.
        sample: Distribution of the numbers.
    """
    if share is None:
        return sample(tuple(shape), generator=generator)
    each = shape[0] // len(share.rows)
    drawn = sample((share.total, each, *shape[1:]), generator=generator)
    return drawn[share.rows].flatten(0, 1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return a CPU generator of a step's random numbers."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Send values to a device, through pinned memory for a GPU, so neither side waits."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
