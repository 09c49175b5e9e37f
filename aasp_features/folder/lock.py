"""One writer at a time: a lock that the operating system holds, and drops when the process dies, however it dies."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from aasp_features.errors import AaSPError

HELD_BY_ANOTHER = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


class LockedError(AaSPError, OSError):
    """Another process holds the lock."""


class NoLocksError(AaSPError, OSError):
    """The file system has no locks."""


class FileLock:
    """A lock on a file, which is made for it, with its folder; who deletes the file while holding the lock ends it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Take it, without waiting.

        Raises:
            LockedError: another process holds it.
            NoLocksError: see the class; what was made for the lock is gone again.
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
                if error.errno in HELD_BY_ANOTHER:
                    raise LockedError(f"{self.path} is locked by another process.") from error
                with suppress(OSError):  # a folder that holds anything else stays
                    self.path.unlink()
                    self.path.parent.rmdir()
                raise NoLocksError(error.strerror) from error
            if self._is_at(file):
                self._file = file
            else:  # the former holder deleted the file between our opening and locking it
                file.close()

    @property
    def held(self) -> bool:
        """Is it held by this process, and in its place?"""
        return self._file is not None and self._is_at(self._file)

    def release(self) -> None:
        """Give it back; twice is once."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_at(self, file: IO[bytes]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
