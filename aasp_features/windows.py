"""The window plan: how many frames and columns a clip has, and which window emits which column.

Plain integers, no torch: ``embed``, ``embed_frames``, the folder run and every export follow this one plan.
Samples are at the model's rate (16 kHz), frames are 10 ms apart, a column is 16 frames (160 ms).
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
    """Columns ``[start, stop)`` go through the encoder together; ``[emit_start, emit_stop)`` come out."""

    start: int
    stop: int
    emit_start: int
    emit_stop: int

    @property
    def columns(self) -> int:
        """How many go through the encoder."""
        return self.stop - self.start

    @property
    def emitted(self) -> slice:
        """Which of these come out."""
        return slice(self.emit_start - self.start, self.emit_stop - self.start)


def count_frames(samples: int) -> int:
    """Log-mel frames of a clip: 1 + ⌊(max(N, 400) - 400) / 160⌋."""
    return 1 + (max(samples, FRAME_LENGTH) - FRAME_LENGTH) // FRAME_HOP


def count_columns(frames: int) -> int:
    """Token columns: ⌈frames / 16⌉; the last may be partly padding."""
    return -(-frames // PATCH)


def valid_frames(frames: int, column: int) -> int:
    """How many of a column's 16 frames are real."""
    return min(PATCH, max(0, frames - PATCH * column))


def column_time(frames: int, column: int, first_frame: int = 0) -> float:
    """Seconds at the centre of a column's valid frames, from integer sample indices.

    ``first_frame`` shifts the column grid (used for grids finer than 160 ms).
    """
    start = FRAME_HOP * (first_frame + PATCH * column)
    span = FRAME_HOP * (valid_frames(frames - first_frame, column) - 1) + FRAME_LENGTH
    return (2 * start + span) / (2 * 16000)


def grid_offsets(hop: float) -> range:
    """First frames of the passes over a spectrogram that together give a vector every ``hop`` seconds.

    Raises:
        OptionError: a hop that is not in ``HOPS``.
    """
    if hop not in HOPS:
        raise OptionError(f"must be one of {', '.join(map(str, HOPS))} seconds, got {hop!r}.", option="hop")
    return range(0, PATCH, PATCH // HOPS[hop])


def grid_times(frames: int, hop: float) -> list[float]:
    """Seconds at the centres of the vectors that ``hop`` gives: one starts every ``hop`` s until the frames end."""
    return [column_time(frames, 0, start) for start in range(0, frames, grid_offsets(hop).step)]


class WindowPlanner:
    """Windows of a clip whose length becomes known only at its end.

    Regular windows start every ``window - 2 * context`` columns and emit all but their context; the last
    window is shifted back to end with the clip and emits only the columns that are left. A window is
    handed out as soon as it cannot be the last one, so memory stays constant however long the clip is.
    """

    def __init__(self, window: int, context: int) -> None:
        self.window, self.context = window, context
        self.hop = window - 2 * context
        self._next_start = 0
        self._emitted = 0

    @property
    def oldest_needed(self) -> int:
        """First column that a later window may still read."""
        return max(0, min(self._next_start, self._emitted - self.window + 1))

    def advance(self, columns: int) -> Iterator[Window]:
        """Regular windows that end before ``columns``, the columns known so far; the last of them may be incomplete."""
        while self._next_start + self.window < columns:
            start, stop = self._next_start, self._next_start + self.window
            yield self._emit(start, stop, stop - self.context)
            self._next_start += self.hop

    def finish(self, columns: int) -> Iterator[Window]:
        """What is left once the clip's number of columns is final (at least 1)."""
        yield from self.advance(columns)
        if self._emitted < columns:
            yield self._emit(max(0, columns - self.window), columns, columns)

    def _emit(self, start: int, stop: int, emit_stop: int) -> Window:
        window = Window(start, stop, self._emitted, emit_stop)
        self._emitted = emit_stop
        return window


def plan_windows(columns: int, window: int, context: int) -> list[Window]:
    """The whole plan of a clip of ``columns`` columns (at least 1)."""
    return list(WindowPlanner(window, context).finish(columns))


@dataclass(frozen=True)
class CutWindow(Generic[Items]):
    """A window of a clip, cut out: its log-mel frames, (frames, mels) standardised, or its samples, (samples,)."""

    items: Items
    plan: Window

    @property
    def columns(self) -> int:
        """How many columns it holds; only a clip's last window can end inside one."""
        return self.plan.columns


class WindowCutter(Generic[Items]):
    """A clip in pieces, as they come -> its windows, each as soon as it is complete.

    Args:
        window, context: columns, as in ``WindowPlanner``.
        join: copies pieces into one: ``torch.cat`` or ``numpy.concatenate``.
        hop, length: items of a piece from one frame to the next, and in a frame: 1 and 1 for frames of log-mel, 160 and
            400 for samples.
        first_frame: frames left out at the start, which shifts the grid of columns; a clip that has no more than
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
        self._planner = WindowPlanner(window, context)
        self._join: Callable[[list[Items]], Items] = join
        self._hop, self._length = hop, length
        self._held: Items | None = None
        self._held_from = 0  # column of the first item held
        self._left_out, self._items = hop * first_frame, 0  # still to be left out; taken so far

    @property
    def frames(self) -> int:
        """Taken so far."""
        return 0 if self._items == 0 else 1 + (max(self._items, self._length) - self._length) // self._hop

    def push(self, piece: Items) -> Iterator[CutWindow[Items]]:
        """Take the next piece."""
        own = piece[self._left_out :]
        self._left_out -= len(piece) - len(own)
        self._items += len(own)
        self._held = own if self._held is None else self._join([self._held, own])
        for plan in self._planner.advance(count_columns(self.frames)):
            yield self._cut(self._held, plan)
        drop = self._planner.oldest_needed - self._held_from
        self._held, self._held_from = self._held[PATCH * self._hop * drop :], self._held_from + drop

    def finish(self) -> Iterator[CutWindow[Items]]:
        """What is left at the end of the clip."""
        if self._held is not None and self.frames > 0:
            for plan in self._planner.finish(count_columns(self.frames)):
                yield self._cut(self._held, plan)

    def _cut(self, held: Items, plan: Window) -> CutWindow[Items]:
        step = PATCH * self._hop
        start, stop = step * (plan.start - self._held_from), step * (plan.stop - self._held_from)
        return CutWindow(self._join([held[start : stop - self._hop + self._length]]), plan)
