"""One thing to embed: a file, a part of one, or a member of a tar shard."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

from aasp_features.audio import AudioStream, stream_audio


@dataclass(frozen=True)
class Sound:
    """Where a sound is.

    Attributes:
        path: of the file, or of the tar shard.
        start, end: seconds, where only a part is meant.
        member: name inside the shard; its bytes are ``[offset, offset + size)`` of the shard.
    """

    path: Path
    start: float | None = None
    end: float | None = None
    member: str | None = None
    offset: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """What tables and messages call it."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def suffix(self) -> str:
        """Ending of its name, lower case."""
        return os.path.splitext(self.name)[1].lower()

    def stream(self, sample_rate: int) -> AudioStream:
        """Open it; errors as ``stream_audio``."""
        source = self.path if self.member is None else self._read_member(self.member)
        return stream_audio(source, sample_rate, start=self.start or 0.0, end=self.end)

    def stamp(self) -> tuple[int, int, int]:
        """Size, and times of change of content and of anything, in ns; zeros where there is no such file, which is
        reported when it is read."""
        try:
            status = self.path.stat()
        except OSError:
            return 0, 0, 0
        return self.size or status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _read_member(self, member: str) -> io.BytesIO:
        with self.path.open("rb") as shard:
            shard.seek(self.offset)
            content = io.BytesIO(shard.read(self.size))
        content.name = member  # what messages call it, and how its format is told
        return content
