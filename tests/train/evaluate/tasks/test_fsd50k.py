"""FSD50K in miniature."""

from pathlib import Path

import pytest
from public_task_helpers import mini_fsd50k, said, write_text

from aasp_features.train.evaluate.tasks.fsd50k import FSD50K

EXPECTED = {
    "dev/1": ({"Bark", "Dog"}, "1", "train"),
    "dev/2": ({"Cat"}, "2", "train"),
    "dev/3": ({"Dog"}, "3", "validation"),
    "eval/4": ({"Cat", "Dog"}, "4", "test"),
}


def test_the_official_lists_are_followed(tmp_path: Path) -> None:
    mini_fsd50k(tmp_path)
    task = FSD50K.read(tmp_path)
    places = {f"FSD50K.{clip.replace('/', '_audio/')}.wav": values for clip, values in EXPECTED.items()}
    assert said(task, tmp_path) == places
    assert (task.classes, task.metric.name) == (("Bark", "Cat", "Dog"), "mAP")
    assert sum(task.expected.values()) == 51_197
    assert task.found == {"train": 2, "validation": 1, "test": 1}


def test_the_layout_of_the_hubs_copy(tmp_path: Path) -> None:
    mini_fsd50k(tmp_path)
    (tmp_path / "clips").mkdir()
    (tmp_path / "FSD50K.ground_truth").rename(tmp_path / "labels")
    (tmp_path / "FSD50K.dev_audio").rename(tmp_path / "clips" / "dev")
    (tmp_path / "FSD50K.eval_audio").rename(tmp_path / "clips" / "eval")
    places = {f"clips/{clip}.wav": values for clip, values in EXPECTED.items()}
    assert said(FSD50K.read(tmp_path), tmp_path) == places


def test_a_wrong_vocabulary_is_a_sentence(tmp_path: Path) -> None:
    mini_fsd50k(tmp_path)
    write_text(tmp_path / "FSD50K.ground_truth" / "vocabulary.csv", ["Bark"])
    with pytest.raises(ValueError, match=r"vocabulary\.csv: every row must be like '0,Accelerating"):
        FSD50K.read(tmp_path)
