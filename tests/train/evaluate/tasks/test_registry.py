"""What --task understands."""

from pathlib import Path

import pytest
from evaluate_helpers import write_tone

from aasp_features.train.evaluate.tasks.registry import read_tasks


def test_tables_and_folders(task_folder: Path) -> None:
    for index in range(12):
        write_tone(task_folder.parent / "classes" / "ab"[index % 2] / f"{index}.wav", 300)
    (task_folder / "other.csv").write_text((task_folder / "labels.csv").read_text())
    wanted = [task_folder / "other.csv", task_folder.parent / "classes", task_folder, task_folder / "labels.csv"]
    assert [task.name for task in read_tasks(list(map(str, wanted[:3])))] == ["other", "classes", "tones"]
    assert [task.name for task in read_tasks([str(task_folder.parent)])] == ["tones"]
    with pytest.raises(ValueError, match="two tasks are named tones"):
        read_tasks(list(map(str, wanted[2:])))


@pytest.mark.parametrize("wanted", ["gone", "gone:/data", "c:/gone"])
def test_what_is_not_there(wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{wanted} is no file or folder"):
        read_tasks([wanted])
