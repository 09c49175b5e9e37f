"""Clips that cannot be read are left out as if they had never been there."""

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import write_tone

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.readable import (
    describe_unreadable,
    reading,
    reasons,
    without_unreadable,
    write_unreadable,
)
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.reading import read_class_folders
from aasp_features.train.evaluate.vector_cache import task_vectors

BROKEN = ("b/1.wav", "a/3.wav")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven sounds of each of two classes, two of them broken."""
    for index in range(7):
        for name in "ab":
            write_tone(tmp_path / "own" / name / f"{index}.wav", 300, index)
    (tmp_path / "own" / BROKEN[0]).write_bytes(b"RIFF")
    (tmp_path / "own" / BROKEN[1]).write_bytes(b"")
    return tmp_path / "own"


def left(folder: Path, cache: Path | None = None) -> Task:
    task = read_class_folders(folder)
    return without_unreadable(task, task_vectors(reading(), task.files, cache)[:, 0] > 0)


def test_as_if_they_had_not_been_there(folder: Path, tmp_path: Path) -> None:
    """The folds, too, are those of the folder without them, so every score is."""
    task = left(folder, tmp_path / "cache")
    again = left(folder, tmp_path / "cache")
    for name in BROKEN:
        (folder / name).unlink()
    clean = read_class_folders(folder)
    for one in (task, again):
        for field in dataclasses.fields(Task):
            if field.name != "unreadable":
                assert np.array_equal(getattr(one, field.name), getattr(clean, field.name)), field.name
    assert list(task.unreadable) == [folder / name for name in reversed(BROKEN)]
    assert task.unreadable == again.unreadable
    assert task.unreadable[folder / BROKEN[1]] == "an empty file; a sound has at least 1 sample."
    assert left(folder).unreadable == {}


def test_a_sound_that_is_repaired_is_read(folder: Path, tmp_path: Path) -> None:
    assert len(left(folder, tmp_path / "cache").files) == 12
    shutil.copy(folder / "a" / "0.wav", folder / BROKEN[0])
    assert len(left(folder, tmp_path / "cache").files) == 13


def test_a_line_counts_them(folder: Path) -> None:
    line = describe_unreadable(left(folder))
    assert line.startswith("2 of 14 clips cannot be read and are skipped: ")
    assert all(str(folder / name) in line for name in BROKEN)
    for index in range(4, 7):
        (folder / "a" / f"{index}.wav").write_bytes(b"x")
    assert describe_unreadable(left(folder)).endswith("; ….")


def test_a_class_that_is_lost_is_an_error(folder: Path) -> None:
    for index in range(7):
        (folder / "a" / f"{index}.wav").write_bytes(b"no sound")
    with pytest.raises(TrainError, match=r"own: no clip of the class 'a' can be read, the first is .*a/0\.wav \(not a"):
        left(folder)


def test_reasons_say_nothing_of_good_files(folder: Path) -> None:
    found = reasons([folder / "a" / "0.wav", folder / BROKEN[0], folder / "gone.wav"])
    assert found[0] == ""
    assert all(found[1:])
    assert not any(str(folder) in reason for reason in found)


def test_the_list_is_of_this_run(tmp_path: Path) -> None:
    write_unreadable(tmp_path, "own", {"a, b.wav": "empty.", "b\udce9.wav": "no sound."})
    with (tmp_path / "unreadable-own.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert list(csv.reader(file)) == [["file", "reason"], ["a, b.wav", "empty."], ["b\udce9.wav", "no sound."]]
    write_unreadable(tmp_path, "own", {})
    assert list(tmp_path.iterdir()) == []
