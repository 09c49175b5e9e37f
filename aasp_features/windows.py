"""The window plan: how many frames and columns a clip has, and which window emits which column.

``embed``, ``embed_frames``, the folder run and every export follow this plan. Samples are at the model's rate (16 kHz),
frames are 10 ms apart, a column is 16 frames (160 ms). This file does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
class Window:
    """Columns ``[start, stop)`` that go through the encoder together, and ``[emit_start, emit_stop)`` that come out."""

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
        raise OptionError(f"hop must be one of {sorted(HOPS)} seconds, got {hop!r}.")
    return range(0, PATCH, PATCH // HOPS[hop])


def grid_times(frames: int, hop: float) -> list[float]:
    """Return the times, in seconds, at the centres of vectors that start every ``hop`` seconds until the frames end."""
    return [column_time(frames, 0, start) for start in range(0, frames, grid_offsets(hop).step)]


@dataclass(frozen=True)
class CutWindow(Generic[Items]):
    """A window of a clip, cut out: its standardised log-mel, (frames, mels), or its samples, (samples,)."""

    items: Items
    plan: Window

    @property
    def columns(self) -> int:
        """Number of its columns; only a clip's last window can end inside one."""
        return self.plan.columns


class WindowCutter(Generic[Items]):
    """Windows of a clip that comes in pieces, each as soon as it is complete.

    Regular windows start every ``window - 2 * context`` columns and emit all but their context. The last window is
    shifted back to end with the clip, and emits only the columns that are left. A window is handed out as soon as it
    cannot be the last one, so memory stays constant however long the clip is.

    Args:
        window, context: columns of a window, and of its overlap on each side.
        join: copies pieces into one: ``torch.cat`` or ``numpy.concatenate``.
        hop, length: items of a piece from one frame to the next, and in a frame: 1 and 1 for frames of log-mel, 160 and
            400 for samples.
        first_frame: frames left out at the start, which shifts the grid of columns. A clip that has no more frames than
            these gives no window.
    """

    def __init__(
        self,
        window: int,
        context: int,
        join: Callable[[list[Items]], Items],
        *,
        hop: int = 1,
        length: int = 1,
        first_frame: int = 0,
    ) -> None:
        self.window, self.context = window, context
        self._join: Callable[[list[Items]], Items] = join
        self._hop, self._length = hop, length
        self._left_out, self._items = hop * first_frame, 0  # items still to be left out; taken so far
        self._next_start, self._emitted = 0, 0  # columns
        self._held: Items | None = None
        self._held_from = 0  # column of the first item held

    @property
    def frames(self) -> int:
        """Number of frames taken so far."""
        return 0 if self._items == 0 else 1 + (max(self._items, self._length) - self._length) // self._hop

    def push(self, piece: Items) -> Iterator[CutWindow[Items]]:
        """Take the next piece; cut the windows that are complete and not the last."""
        own = piece[self._left_out :]
        self._left_out -= len(piece) - len(own)
        self._items += len(own)
        self._held = own if self._held is None else self._join([self._held, own])
        columns = count_columns(self.frames)
        while self._next_start + self.window < columns:
            start, stop = self._next_start, self._next_start + self.window
            yield self._cut(self._held, start, stop, stop - self.context)
            self._next_start += self.window - 2 * self.context
        # The last window starts at columns - window, where columns is at least one more than was emitted.
        first_needed = max(0, min(self._next_start, self._emitted - self.window + 1))
        self._held = self._held[PATCH * self._hop * (first_needed - self._held_from) :]
        self._held_from = first_needed

    def finish(self) -> Iterator[CutWindow[Items]]:
        """Cut the last window of the clip, unless it has no frames."""
        columns = count_columns(self.frames)
        if self._held is not None and self._emitted < columns:
            yield self._cut(self._held, max(0, columns - self.window), columns, columns)

    def _cut(self, held: Items, start: int, stop: int, emit_stop: int) -> CutWindow[Items]:
        plan, self._emitted = Window(start, stop, self._emitted, emit_stop), emit_stop
        step = PATCH * self._hop
        first, last = step * (start - self._held_from), step * (stop - self._held_from)
        return CutWindow(self._join([held[first : last - self._hop + self._length]]), plan)
