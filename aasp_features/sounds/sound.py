"""One sound: a file, a part of a file, or a member of a tar shard."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from aasp_features import contents
from aasp_features.audio.byte_pieces import join_pieces
from aasp_features.audio.reading import MAX_HOURS, AudioError, AudioStream, open_path, stream_audio
from aasp_features.contents import Content, Stamp

MAX_HASHED_BYTES = 2**38  # 100 hours in stereo at 96 kHz; a few blocks of a disk can claim to be more
LOCKS = [Lock() for _ in range(64)]  # so that threads that read parts of one file wait for its one hash


@dataclass(frozen=True)
class Sound:
    """Location of a sound.

    Attributes:
        path: of the file, or of the tar shard.
        start, end: seconds, of a part.
        member: name inside the shard; its bytes are ``[offset, offset + size)`` of the shard.
        sparse: positions and lengths of the stored parts of a sparse member, which follow each other from ``offset``
            on; the rest is zeros.
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
        """Name in tables and messages."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def suffix(self) -> str:
        """Ending of its name, in lower case."""
        return os.path.splitext(self.name)[1].lower()

    def stream(self, sample_rate: int, max_hours: float = MAX_HOURS) -> AudioStream:
        """Open the sound; errors as of ``stream_audio``."""
        source = self.path if self.member is None else self._open_member()
        return stream_audio(source, sample_rate, start=self.start or 0.0, end=self.end, max_hours=max_hours)

    def stamp(self) -> Stamp:
        """Return size and times of change; zeros for a missing file, which is reported when it is read."""
        try:
            status = self.path.stat()
        except (OSError, ValueError):  # a ValueError for names that no file can have
            return 0, 0, 0
        return self.size or status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def content(self, known: Content | None = None) -> Content:
        """Return the content of its file or member, which is read only if its stamp is not the known one."""
        return Content.of(self.stamp, self._sha256, known)

    def _sha256(self) -> str:
        """Return the hash of its bytes; hashes of files that have parts are remembered."""
        whole = replace(self, start=None, end=None)
        if self == whole:
            return self._hash()
        with LOCKS[hash(whole) % len(LOCKS)]:
            return _remembered(whole, self.stamp())

    def _hash(self) -> str:
        """Return the hash of the stored bytes; empty where they cannot be read."""
        size, changed, _ = self.stamp()
        if size > MAX_HASHED_BYTES:
            return f"{size} bytes of {changed}"
        try:
            with open_path(self.path, self.name) as file:
                if self.member is None:
                    return contents.sha256(file)
                digest = contents.sha256(file, (piece for piece in self._pieces() if isinstance(piece, range)))
        except (AudioError, OSError, OverflowError):  # the last for positions that no file can have
            return ""
        return digest if self.sparse is None else hashlib.sha256(f"{digest} {self.sparse}".encode()).hexdigest()

    def _open_member(self) -> BinaryIO:
        shard = open_path(self.path, self.name)
        size, pieces = shard.seek(0, os.SEEK_END), list(self._pieces())
        for piece in pieces:
            if piece < 0 if isinstance(piece, int) else not piece.start <= piece.stop <= size:
                shard.close()
                raise AudioError(f"{self.name}: not in the shard as its header says; the shard is damaged or cut off.")
        return join_pieces(shard, pieces, self.name, owned=True)

    def _pieces(self) -> Iterator[range | int]:
        """Yield ranges of the shard's bytes, and numbers of zeros between them."""
        position, offset = 0, self.offset
        for start, length in ((0, self.size),) if self.sparse is None else self.sparse:
            yield start - position
            yield range(offset, offset + length)
            position, offset = start + length, offset + length
        yield self.size - position


@lru_cache(1024)
def _remembered(sound: Sound, stamp: Stamp) -> str:
    """Return the hash of a sound with this stamp; thousands of parts may share a file."""
    return sound._hash()
