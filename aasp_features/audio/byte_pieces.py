"""A file that is put together of others' bytes: a member of a shard, one of the sounds in a chain, a mended header."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, BinaryIO

BUFFER_BYTES = 2**16


class BytePieces(io.RawIOBase):
    """Read-only and seekable; nothing of it is held in memory but the pieces that are bytes.

    Args:
        file: that the ranges count in.
        pieces: in order: bytes; a range of the file's bytes; or a number of zeros.
        name: what messages call it.
        owned: the file is closed with this one.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[bytes | range | int], name: str, owned: bool = False) -> None:
        self._file, self._pieces, self.name, self._owned = file, pieces, name, owned
        self._ends = list(accumulate(_length(piece) for piece in pieces))
        self._size = self._ends[-1] if pieces else 0
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        """As of any file."""
        return self._place

    def close(self) -> None:
        """As of any file."""
        if self._owned:
            self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; less only at the end, or where the file under it ends."""
        wanted, filled = memoryview(buffer).cast("B"), 0
        while filled < len(wanted) and self._place < self._size:
            number = bisect_right(self._ends, self._place)
            within = self._place - (self._ends[number] - _length(self._pieces[number]))
            given = self._read(self._pieces[number], within, len(wanted) - filled)
            if not given:
                break
            wanted[filled : filled + len(given)] = given
            filled, self._place = filled + len(given), self._place + len(given)
        return filled

    def _read(self, piece: bytes | range | int, within: int, most: int) -> bytes:
        if isinstance(piece, bytes):
            return piece[within : within + most]
        if isinstance(piece, int):
            return bytes(min(most, piece - within))
        self._file.seek(piece.start + within)
        return self._file.read(min(most, piece.stop - piece.start - within))


def join_pieces(file: BinaryIO, pieces: Sequence[bytes | range | int], name: str, owned: bool = False) -> BinaryIO:
    """The same, buffered."""
    return io.BufferedReader(BytePieces(file, pieces, name, owned), BUFFER_BYTES)


def _length(piece: bytes | range | int) -> int:
    if isinstance(piece, range):
        return piece.stop - piece.start
    return piece if isinstance(piece, int) else len(piece)
