"""One holder at a time; a dead one does not count."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aasp_features.folder.lock import FileLock, LockedError, NoLocksError

HOLDER = """
import pathlib, sys
from aasp_features.folder.lock import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_held_by_another_process_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match="locked by another process"):
        FileLock(path).acquire()
    holder.kill()
    holder.communicate()
    lock = FileLock(path)
    lock.acquire()
    lock.acquire()  # twice is once
    with pytest.raises(LockedError):
        FileLock(path).acquire()
    lock.release()
    lock.release()
    FileLock(path).acquire()


def test_a_lock_that_was_deleted_is_not_held(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "folder" / "lock")
    assert not lock.held
    lock.acquire()
    assert lock.held
    lock.path.unlink()
    lock.path.touch()  # somebody else's
    assert not lock.held


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(NoLocksError, match=os.strerror(number)):
        FileLock(tmp_path / "folder" / "lock").acquire()
    assert os.listdir(tmp_path) == []
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "work").touch()
    with pytest.raises(NoLocksError):
        FileLock(tmp_path / "folder" / "lock").acquire()
    assert os.listdir(tmp_path / "folder") == ["work"]
