"""A folder of sounds for each class."""

import tarfile
from pathlib import Path

import pytest
from evaluate_helpers import write_tone

from aasp_features.train.evaluate.tasks.class_folders import read_class_folders


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        for index in range(5):
            write_tone(tmp_path / name / "deep" / f"{index}.flac", 300)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "dog" / "notes.txt").write_text("none")
    task = read_class_folders(tmp_path)
    assert (task.classes, task.labels.tolist()) == (("cat", "dog"), [0] * 5 + [1] * 5)
    assert len(task.folds) == 5
    for fold in task.folds:
        assert sorted(task.labels[task.parts == fold].tolist()) == [0, 1]


def test_one_class_is_no_task(tmp_path: Path) -> None:
    write_tone(tmp_path / "dog" / "1.wav", 300)
    with pytest.raises(ValueError, match="must hold at least two folders with sounds"):
        read_class_folders(tmp_path)
    write_tone(tmp_path / "loose.wav", 300)
    with pytest.raises(
        ValueError, match=r"at least two folders with sounds.* Left out: .*loose\.wav \(sounds outside the class"
    ):
        read_class_folders(tmp_path)
    write_tone(tmp_path / "cat" / "1.wav", 300)
    assert read_class_folders(tmp_path).folds == ["1", "2"]


def test_what_is_no_clip_of_a_class_is_said(tmp_path: Path) -> None:
    """Sounds beside the classes, shards in and beside them, folders without sounds; a class of shards is an error."""
    for name in ("dog", "cat"):
        for index in range(5):
            write_tone(tmp_path / name / f"{index}.wav", 300)
    clean = read_class_folders(tmp_path)
    assert clean.note == ""
    for name in ("a.wav", "b.wav"):
        write_tone(tmp_path / name, 300)
    for place in (tmp_path / "all.tar", tmp_path / "dog" / "more.tar"):
        with tarfile.open(place, "w") as shard:
            shard.add(tmp_path / "a.wav", "a.wav")
    (tmp_path / "none").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("none")
    (tmp_path / "notes.txt").write_text("none")
    task = read_class_folders(tmp_path)
    assert (task.files, task.classes, task.parts.tolist()) == (clean.files, clean.classes, clean.parts.tolist())
    assert f"{tmp_path / 'a.wav'} and 1 more (sounds outside the class folders; move each" in task.note
    assert f"{tmp_path / 'all.tar'} and 1 more (tar shards, which tasks do not read; unpack them)" in task.note
    assert f"{tmp_path / 'docs'} and 1 more (folders without sounds)" in task.note
    assert "notes" not in task.note
    (tmp_path / "dog" / "more.tar").rename(tmp_path / "none" / "more.tar")
    with pytest.raises(ValueError, match=r"the class 'none' has no usable sounds\. Left out: .*more\.tar \(tar shards"):
        read_class_folders(tmp_path)
