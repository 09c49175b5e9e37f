"""One thing to embed: a file, a part of one, or a member of a tar shard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aasp_features.audio import MOST_HOURS, AudioError, AudioStream, stream_audio
from aasp_features.decoding.byte_pieces import join_pieces
from aasp_features.decoding.opening import open_path


@dataclass(frozen=True)
class Sound:
    """Where a sound is.

    Attributes:
        path: of the file, or of the tar shard.
        start, end: seconds, where only a part is meant.
        member: name inside the shard; its bytes are ``[offset, offset + size)`` of the shard.
        sparse: places and lengths of the parts of a sparse member that the shard holds, one behind the other from
            ``offset`` on; the others are zeros.
    """

    path: Path
    start: float | None = None
    end: float | None = None
    member: str | None = None
    offset: int = 0
    size: int = 0
    sparse: tuple[tuple[int, int], ...] | None = None

    @property
    def name(self) -> str:
        """What tables and messages call it."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def suffix(self) -> str:
        """Ending of its name, lower case."""
        return os.path.splitext(self.name)[1].lower()

    def stream(self, sample_rate: int, max_hours: float = MOST_HOURS) -> AudioStream:
        """Open it; errors as ``stream_audio``."""
        source = self.path if self.member is None else self._open_member()
        return stream_audio(source, sample_rate, start=self.start or 0.0, end=self.end, max_hours=max_hours)

    def stamp(self) -> tuple[int, int, int]:
        """Size, and times of change of content and of anything, in ns; zeros where there is no such file, which is
        reported when it is read."""
        try:
            status = self.path.stat()
        except (OSError, ValueError):  # a ValueError for names that no file can have
            return 0, 0, 0
        return self.size or status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _open_member(self) -> BinaryIO:
        shard = open_path(self.path, self.name)
        size, pieces = shard.seek(0, os.SEEK_END), list(self._pieces())
        for piece in pieces:
            if piece < 0 if isinstance(piece, int) else not piece.start <= piece.stop <= size:
                shard.close()
                raise AudioError(f"{self.name}: not in the shard as its header says; the shard is damaged or cut off.")
        return join_pieces(shard, pieces, self.name, owned=True)

    def _pieces(self) -> Iterator[range | int]:
        """Ranges of the shard's bytes, and numbers of zeros between them."""
        place, offset = 0, self.offset
        for start, length in ((0, self.size),) if self.sparse is None else self.sparse:
            yield start - place
            yield range(offset, offset + length)
            place, offset = start + length, offset + length
        yield self.size - place
