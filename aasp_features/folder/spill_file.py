"""Vectors along time of a part of a run: in one file until the part is committed."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.inference import ColumnVectors


class Extent(NamedTuple):
    """Rows ``[first, first + length)`` of a sound lie at ``position`` of the file."""

    first: int
    length: int
    position: int


class SpillFile:
    """A nameless file that all sounds of a part share, so that their number is not limited by open files.

    Args:
        folder: it lies in; the system's for temporary files unless given. It is made when there is something to write.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @cached_property
    def _file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder)  # see close

    def close(self) -> None:
        """Let it go."""
        if "_file" in self.__dict__:
            self._file.close()

    def append(self, rows: NDArray[np.float32]) -> int:
        """Write rows at the end; returns their position."""
        position = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        return position

    def read(self, position: int, rows: int, width: int) -> NDArray[np.float32]:
        """(rows, width) from a position."""
        self._file.seek(position)
        return np.frombuffer(self._file.read(4 * rows * width), np.float32).reshape(rows, width)


class SpilledVectors:
    """Vectors of one pass over a sound, in a spill file.

    Attributes:
        rows, frames, width: vectors so far, the log-mel frames that they stand for, numbers in a vector.
    """

    def __init__(self, spill: SpillFile) -> None:
        self._spill = spill
        self._extents: list[Extent] = []
        self.rows, self.frames, self.width = 0, 0, 0

    def add(self, columns: ColumnVectors) -> None:
        """Take the next window's."""
        vectors = columns.vectors
        self._extents.append(Extent(self.rows, len(vectors), self._spill.append(vectors)))
        self.rows, self.width = self.rows + len(vectors), vectors.shape[1]
        self.frames += int(columns.frames.sum())

    def read(self, first: int, stop: int) -> NDArray[np.float32]:
        """Rows ``[first, stop)``, fewer where they end."""
        parts = [np.empty((0, self.width), np.float32)]
        for extent in self._extents:
            start, end = max(first, extent.first), min(stop, extent.first + extent.length)
            if start < end:
                position = extent.position + 4 * self.width * (start - extent.first)
                parts.append(self._spill.read(position, end - start, self.width))
        return np.concatenate(parts)
