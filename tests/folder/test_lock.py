"""One holder at a time; a dead one does not count."""

import subprocess
import sys
from pathlib import Path

import pytest

from aasp_features.folder.lock import FileLock, LockedError

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
