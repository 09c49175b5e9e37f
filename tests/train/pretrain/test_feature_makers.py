"""Processes that make features: one set of them at a time, waited for, and heard when they fail."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from teacher_helpers import open_features, teacher, write_callable

from aasp_features.folder.lock import FileLock
from aasp_features.train.pretrain.feature_makers import LOCK_FILE, Makers

pytest.importorskip("onnxruntime")


def test_what_another_process_makes_is_waited_for(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    features = open_features(sound_folder, tmp_path, teachers)
    lock = FileLock(tmp_path / LOCK_FILE)
    lock.acquire()  # as the other process does
    waiting = ThreadPoolExecutor(1).submit(Makers(features, 1, workers=0).wait)
    features.make(0, [teacher(path) for path in sorted(teachers.glob("*.yaml"))])
    assert waiting.result() == 1
    lock.release()


def test_one_maker_at_a_time_and_none(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    features = open_features(sound_folder, tmp_path, teachers)
    lock = FileLock(tmp_path / LOCK_FILE)
    lock.acquire()
    with pytest.raises(ValueError, match="another process computes features"):
        Makers(features, 1, workers=1)
    lock.release()
    with pytest.raises(ValueError, match="holds features of 0 crops, but 256 are needed"):
        Makers(features, 1, workers=0).wait()


def test_a_teacher_that_fails_later_ends_the_wait(sound_folder: Path, tmp_path: Path) -> None:
    code = "def load(files):\n    return lambda x: x[:, :2] / (x.shape[1] == 16000)\n"  # infinite for crops
    write_callable(tmp_path / "t", code=code)
    makers = Makers(open_features(sound_folder, tmp_path / "f", tmp_path / "t"), 1, workers=1)
    try:
        with pytest.raises(ValueError, match=r"failed with exit code 1"):
            makers.wait()
    finally:
        makers.stop()
