"""A lock file that the operating system unlocks when the process ends, however it ends."""

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
    """Lock on a file, which is made for it, with its folder. Its holder gives it up by deleting the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Take the lock, without waiting; twice is once.

        Raises:
            LockedError: another process holds it.
            NoLocksError: see the class; what was made for the lock is deleted.
        """
        while not self.held:
            self.release()
            self.path.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # the former holder deleted the folder in this moment, or the file later
                self._file = self.path.open("ab")
                self._lock(self._file)

    @property
    def held(self) -> bool:
        """Whether this process holds the lock, and the file is in its place."""
        with suppress(FileNotFoundError):
            return self._file is not None and os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        return False

    def release(self) -> None:
        """Give the lock back; twice is once."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lock(self, file: IO[bytes]) -> None:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            if error.errno in HELD_BY_ANOTHER:
                raise LockedError(f"{self.path} is locked by another process.") from error
            with suppress(OSError):  # a folder that holds anything else stays
                self.path.unlink()
                self.path.parent.rmdir()
            raise NoLocksError(error.strerror) from error
