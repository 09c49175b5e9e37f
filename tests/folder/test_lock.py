"""One holder at a time; ``test_output.py`` has one that dies."""

import errno
import os
from pathlib import Path

import pytest

from aasp_features.folder.lock import FileLock, LockedError, NoLocksError


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    lock, other = (FileLock(tmp_path / "folder" / "lock") for _ in range(2))
    assert not lock.held
    for _ in range(2):  # twice is once
        lock.acquire()
    assert lock.held
    with pytest.raises(LockedError, match="locked by another process"):
        other.acquire()
    lock.release()
    lock.release()
    other.acquire()
    assert (lock.held, other.held) == (False, True)
    other.path.unlink()
    other.path.touch()  # somebody else's
    assert not other.held


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
@pytest.mark.parametrize("work", [False, True])
def test_a_file_system_without_locks_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, work: bool
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", no_locks)
    if work:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "work").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NoLocksError, match=os.strerror(number)):
        FileLock(tmp_path / "folder" / "lock").acquire()
    assert sorted(tmp_path.rglob("*")) == before
