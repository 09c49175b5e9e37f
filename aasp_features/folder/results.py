"""What a run collects for one sound: its clip vector, or its frame vectors, which spill to disk when they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPILL_BYTES = 2**20
CHUNK_ROWS = 4096


class SpilledFrames:
    """Frame vectors of one pass over a sound, at constant memory; a ``Result`` of ``batching``.

    Attributes:
        rows, frames: vectors so far, and the log-mel frames that they stand for.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(SPILL_BYTES, dir=str(folder))  # noqa: SIM115 (see close)
        self.rows, self.frames, self.width = 0, 0, 0

    def add(self, frames: NDArray[np.float32], valid: NDArray[np.int64], cls: NDArray[np.float32]) -> None:
        """See ``batching.Result.add``."""
        self._file.write(np.ascontiguousarray(frames).tobytes())
        self.rows, self.width = self.rows + len(frames), frames.shape[1]
        self.frames += int(valid.sum())

    def finish(self) -> SpilledFrames:
        """Nothing more to do."""
        return self

    def read(self, first: int, stop: int) -> NDArray[np.float32]:
        """Rows ``[first, stop)``, fewer where they end."""
        stop = min(stop, self.rows)
        if first >= stop:
            return np.empty((0, self.width), np.float32)
        self._file.seek(4 * self.width * first)
        content = self._file.read(4 * self.width * (stop - first))
        return np.frombuffer(content, np.float32).reshape(-1, self.width)

    def close(self) -> None:
        """Drop the rows."""
        self._file.close()


def interleaved_chunks(passes: list[SpilledFrames]) -> Iterator[NDArray[np.float32]]:
    """The rows of k passes at k offsets in time's order, in pieces."""
    width, count = passes[0].width, len(passes)
    for first in range(0, passes[0].rows, CHUNK_ROWS):
        parts = [spilled.read(first, first + CHUNK_ROWS) for spilled in passes]
        merged = np.empty((sum(map(len, parts)), width), np.float32)
        for place, part in enumerate(parts):
            merged[place::count] = part
        yield merged
