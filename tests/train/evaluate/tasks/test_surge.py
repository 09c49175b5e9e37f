"""The Surge dataset in miniature."""

from pathlib import Path

import pytest
from public_task_helpers import mini_surge, said

from aasp_features.train.evaluate.tasks.surge import SURGE


def test_tones_are_kept_whole(tmp_path: Path) -> None:
    mini_surge(tmp_path)
    task = SURGE.read(tmp_path)
    parts = {"a": "train", "b": "validation", "c": "test"}
    assert said(task, tmp_path) == {
        f"tone-{tone}-velocity64/{pitch}.wav": (pitch, f"tone-{tone}-velocity64", part)
        for tone, part in parts.items()
        for pitch in ("21", "99", "108")
    }
    assert task.classes == ("21", "99", "108")  # by number
    assert sum(task.expected.values()) == 88 * (1692 + 195 + 197)


def test_every_tone_has_every_pitch(tmp_path: Path) -> None:
    mini_surge(tmp_path)
    gone = tmp_path / "tone-b-velocity64" / "99.wav"
    gone.unlink()
    task = SURGE.read(tmp_path)
    assert task.missing == (gone.with_suffix(".ogg"),)
    assert task.found == {"train": 3, "validation": 2, "test": 3}


def test_the_list_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"dataset_surge_tone_splits\.csv does not exist; download the list from https://"
    ):
        SURGE.read(tmp_path)
    (tmp_path / "dataset_surge_tone_splits.csv").write_text("tone,split\na,train\n")
    with pytest.raises(ValueError, match="has none of the 1 folders that"):
        SURGE.read(tmp_path)
    (tmp_path / "dataset_surge_tone_splits.csv").write_text("tone,split\na,training\n")
    with pytest.raises(ValueError, match="a is in the part 'training', but parts must be train, valid, test"):
        SURGE.read(tmp_path)
