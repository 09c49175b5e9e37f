"""The window plan: how many frames and columns a clip has, and which window emits which column.

``embed``, ``embed_frames``, the folder run and every export follow this plan. Samples are at the model's rate (16 kHz),
frames are 10 ms apart, a column is 16 frames (160 ms). This file does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, PATCH
from aasp_features.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Items = TypeVar("Items", "Tensor", "NDArray[np.float32]")

COLUMN_SECONDS = 0.16
HOPS = {0.16: 1, 0.08: 2, 0.04: 4, 0.02: 8, 0.01: 16}  # seconds -> passes over the spectrogram


@dataclass(frozen=True)
class Window(Generic[Items]):
    """A window of a clip.

    Attributes:
        items: its standardised log-mel, (frames, mels), or its samples, (samples,). Only a clip's last window can end
            inside a column.
        start, stop: columns ``[start, stop)`` of the clip, which go through the encoder together.
        emit_start, emit_stop: columns ``[emit_start, emit_stop)`` of the clip, whose vectors come out.
    """

    items: Items
    start: int
    stop: int
    emit_start: int
    emit_stop: int

    @property
    def columns(self) -> int:
        """Number of columns that go through the encoder."""
        return self.stop - self.start

    @property
    def emitted(self) -> slice:
        """Slice of these that come out."""
        return slice(self.emit_start - self.start, self.emit_stop - self.start)


def count_frames(samples: int) -> int:
    """Count the log-mel frames of a clip of N samples: 1 + ⌊(max(N, 400) - 400) / 160⌋."""
    return 1 + (max(samples, FRAME_LENGTH) - FRAME_LENGTH) // FRAME_HOP


def count_columns(frames: int) -> int:
    """Count token columns: ⌈frames / 16⌉; the last may be partly padding."""
    return -(-frames // PATCH)


def valid_frames(frames: int, column: int) -> int:
    """Count how many of a column's 16 frames are real."""
    return min(PATCH, max(0, frames - PATCH * column))


def column_time(frames: int, column: int, first_frame: int = 0) -> float:
    """Return the time at the centre of a column's valid frames, in seconds, from integer sample indices.

    ``first_frame`` shifts the column grid (used for grids finer than 160 ms).
    """
    start = FRAME_HOP * (first_frame + PATCH * column)
    span = FRAME_HOP * (valid_frames(frames - first_frame, column) - 1) + FRAME_LENGTH
    return (2 * start + span) / (2 * 16000)


def grid_offsets(hop: float) -> range:
    """Return the first frames of the passes over a spectrogram that together give a vector every ``hop`` seconds.

    Raises:
        OptionError: a hop other than 0.16, 0.08, 0.04, 0.02 or 0.01.
    """
    if hop not in HOPS:
        raise OptionError(f"must be one of {', '.join(map(str, HOPS))} seconds, got {hop!r}.", option="hop")
    return range(0, PATCH, PATCH // HOPS[hop])


def grid_times(frames: int, hop: float) -> list[float]:
    """Return the times, in seconds, at the centres of vectors that start every ``hop`` seconds until the frames end."""
    return [column_time(frames, 0, start) for start in range(0, frames, grid_offsets(hop).step)]
