"""What the windows of one sound give -> its rows: one, or one for each of its frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aasp_features.config import Pooling
from aasp_features.folder.spill_file import SpilledVectors, SpillFile
from aasp_features.vectors import ClipVector, ColumnVectors, interleave

CHUNK_ROWS = 4096


class ClipRow:
    """The one row of a sound.

    Attributes:
        rows, frames: 1, and 0, as no row stands for a time.
    """

    rows, frames = 1, 0

    def __init__(self, pooling: Pooling) -> None:
        self._clip = ClipVector(pooling)

    def add(self, offset: int, columns: ColumnVectors) -> None:
        """Take the next window's; there is one pass, at offset 0."""
        self._clip.add(columns)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """(n, d) in order."""
        yield self._clip.vector()[None]


class FrameRows:
    """A row for each frame of a sound, from passes at several offsets; they lie in the batch's spill file."""

    def __init__(self, spill: SpillFile, offsets: range) -> None:
        self._passes = {offset: SpilledVectors(spill) for offset in offsets}

    @property
    def rows(self) -> int:
        """So far."""
        return sum(spilled.rows for spilled in self._passes.values())

    @property
    def frames(self) -> int:
        """Log-mel frames of the sound, from which the rows' times follow."""
        return self._passes[0].frames

    def add(self, offset: int, columns: ColumnVectors) -> None:
        """Take the next window's of the pass at an offset."""
        self._passes[offset].add(columns)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """(n, d) in time's order."""
        passes = list(self._passes.values())
        for first in range(0, passes[0].rows, CHUNK_ROWS):
            yield interleave([spilled.read(first, first + CHUNK_ROWS) for spilled in passes])
