"""Contents of files: their sha256, and how to see quickly that they are still the same.

One rule everywhere: size and times of change decide that nothing was changed; where any of them differs, a hash of the
bytes decides. A copy, a new owner and a hard link change a time, and no byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

PIECE = 2**20  # bytes hashed at once
Stamp = tuple[int, int, int]


class Content(NamedTuple):
    """Content of a file at one moment.

    Attributes:
        stamp: size in bytes, and times of change of content (mtime) and of anything (ctime), in ns.
        sha256: of the bytes; empty where they cannot be read.
    """

    stamp: Stamp
    sha256: str

    @classmethod
    def of(cls, stamp: Callable[[], Stamp], sha256: Callable[[], str], known: Content | None = None) -> Content:
        """Return the content of now; the bytes are read only if their stamp is not the known one."""
        now = stamp()  # before the bytes: what changes while they are read has another stamp afterwards
        return known if known is not None and known.stamp == now else cls(now, sha256())


def sha256(file: BinaryIO | Path, ranges: Iterable[range] | None = None) -> str:
    """Hash a file, or ranges of its bytes as far as there are some; return hexadecimal digits."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return sha256(opened, ranges)
    digest = hashlib.sha256()
    for each in [range(2**63)] if ranges is None else ranges:
        file.seek(each.start)
        left = each.stop - each.start
        while left and (piece := file.read(min(left, PIECE))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
