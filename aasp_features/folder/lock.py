"""One writer at a time: a lock that the operating system holds, and drops when the process dies, however it dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from aasp_features.errors import AaSPError


class LockedError(AaSPError, OSError):
    """Another process holds the lock."""


class FileLock:
    """A lock on a file, which is made for it, with its folder; who deletes the file while holding the lock ends it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Take it, without waiting.

        Raises:
            LockedError: another process holds it.
        """
        while self._file is None:
            self.path.parent.mkdir(exist_ok=True)
            try:
                file = self.path.open("ab")
            except FileNotFoundError:  # the former holder deleted the folder in this moment
                continue
            try:
                _lock(file)
            except OSError as error:
                file.close()
                raise LockedError(f"{self.path} is locked by another process.") from error
            if _is_at(file, self.path):
                self._file = file
            else:  # the former holder deleted the file between our opening and locking it
                file.close()

    def release(self) -> None:
        """Give it back; twice is once."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
