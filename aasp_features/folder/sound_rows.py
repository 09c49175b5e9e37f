"""What the windows of one sound give -> its rows: one, or one for each of its frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aasp_features.config import Pooling
from aasp_features.folder.parts import OpenSound
from aasp_features.folder.spill_file import SpilledVectors, SpillFile
from aasp_features.inference import ClipVector, ColumnVectors, interleave

CHUNK_ROWS = 4096
SUMS = ("total", "squares", "cls")
UNOPENED = OpenSound(0, 0, 0)


class ClipRow:
    """The one row of a sound.

    Args:
        pooling: of the vector.
        before: what earlier parts did of the sound.

    Attributes:
        rows, frames: 1, and 0, as no row stands for a time.
    """

    rows, frames = 1, 0

    def __init__(self, pooling: Pooling, before: OpenSound = UNOPENED) -> None:
        self._clip = ClipVector(pooling)
        self._clip.windows, self._clip.weight = before.rounds, before.frames
        for name, value in before.sums.items():
            setattr(self._clip, name, value)

    def add(self, offset: int, columns: ColumnVectors) -> None:
        """Take the next window's; there is one pass, at offset 0."""
        self._clip.add(columns)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """(n, d) in order, of a sound that has ended."""
        yield self._clip.vector()[None]

    def open_pieces(self) -> Iterator[NDArray[np.float32]]:
        """The same of a sound that goes on: nothing yet."""
        return iter(())

    def opened(self) -> OpenSound:
        """How far it is."""
        sums = {name: np.asarray(getattr(self._clip, name), np.float64) for name in SUMS}
        used = {name: value for name, value in sums.items() if value.ndim}
        return OpenSound(self._clip.windows, 0, self._clip.weight, used)


class FrameRows:
    """A row for each frame of a sound, from passes at several offsets; they lie in the part's spill file.

    All passes have come equally far where a part begins, so a part's rows follow those of the parts before.

    Args:
        spill: of the part.
        offsets: of the passes.
        before: what earlier parts did of the sound.
    """

    def __init__(self, spill: SpillFile, offsets: range, before: OpenSound = UNOPENED) -> None:
        self._passes, self._before, self._rounds = {offset: SpilledVectors(spill) for offset in offsets}, before, 0

    @property
    def rows(self) -> int:
        """So far."""
        return self._before.rows + sum(spilled.rows for spilled in self._passes.values())

    @property
    def frames(self) -> int:
        """Log-mel frames of the sound, from which the rows' times follow."""
        return self._before.frames + self._passes[0].frames

    def add(self, offset: int, columns: ColumnVectors) -> None:
        """Take the next window's of the pass at an offset."""
        self._passes[offset].add(columns)
        self._rounds += offset == 0

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """(n, d) in time's order, of this part."""
        passes = list(self._passes.values())
        for first in range(0, passes[0].rows, CHUNK_ROWS):
            yield interleave([spilled.read(first, first + CHUNK_ROWS) for spilled in passes])

    def open_pieces(self) -> Iterator[NDArray[np.float32]]:
        """The same of a sound that goes on."""
        return self.pieces()

    def opened(self) -> OpenSound:
        """How far it is."""
        return OpenSound(self._before.rounds + self._rounds, self.rows, self.frames)
