"""A file that is put together of others' bytes: a member of a shard, one of the sounds in a chain, a mended header."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, BinaryIO

BUFFER_BYTES = 2**16


class BytePieces(io.RawIOBase):
    """A read-only, seekable file of which nothing is held in memory but the pieces that are bytes.

    Args:
        file: that the ranges count in.
        pieces: in order: bytes; a range of the file's bytes; or a number of zeros.
        name: what messages call it.
        owned: the file is closed with this one.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[bytes | range | int], name: str, owned: bool = False) -> None:
        self._file, self._pieces, self.name, self._owned = file, pieces, name, owned
        self._lengths = [_length(piece) for piece in pieces]
        self._ends = list(accumulate(self._lengths))
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte, which may lie behind the end, as in any file."""
        size = self._ends[-1] if self._ends else 0
        self._position = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size}[whence])
        return self._position

    def close(self) -> None:
        """Close this file, and the one under it if it is owned."""
        if self._owned:
            self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; less only at the end, or where the file under it ends."""
        wanted, filled = memoryview(buffer).cast("B"), 0
        while filled < len(wanted) and (index := bisect_right(self._ends, self._position)) < len(self._pieces):
            within = self._position - (self._ends[index] - self._lengths[index])
            given = self._read(self._pieces[index], within, len(wanted) - filled)
            if not given:
                break
            wanted[filled : filled + len(given)] = given
            filled, self._position = filled + len(given), self._position + len(given)
        return filled

    def _read(self, piece: bytes | range | int, within: int, most: int) -> bytes:
        if isinstance(piece, bytes):
            return piece[within : within + most]
        if isinstance(piece, int):
            return bytes(min(most, piece - within))
        self._file.seek(piece.start + within)
        return self._file.read(min(most, _length(piece) - within))


def join_pieces(file: BinaryIO, pieces: Sequence[bytes | range | int], name: str, owned: bool = False) -> BinaryIO:
    """Return ``BytePieces``, buffered."""
    return io.BufferedReader(BytePieces(file, pieces, name, owned), BUFFER_BYTES)


def _length(piece: bytes | range | int) -> int:
    if isinstance(piece, range):
        return piece.stop - piece.start  # its len() has a limit
    return piece if isinstance(piece, int) else len(piece)
