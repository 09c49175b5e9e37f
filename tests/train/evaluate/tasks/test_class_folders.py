"""A folder of sounds for each class."""

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
    with pytest.raises(ValueError, match="holds no two folders with sounds"):
        read_class_folders(tmp_path)
    write_tone(tmp_path / "cat" / "1.wav", 300)
    with pytest.raises(ValueError, match="no class has 5 clips"):
        read_class_folders(tmp_path)
