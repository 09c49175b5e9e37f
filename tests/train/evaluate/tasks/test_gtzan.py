"""GTZAN in miniature."""

from pathlib import Path

import pytest
from public_task_helpers import mini_gtzan, said, write_text

from aasp_features.train.evaluate.tasks.gtzan import GTZAN


@pytest.mark.parametrize("genres", ["genres", "genres_original", "Data/genres_original"])
def test_the_filtered_lists_are_followed(genres: str, tmp_path: Path) -> None:
    mini_gtzan(tmp_path)
    (tmp_path / "Data").mkdir()
    (tmp_path / "genres").rename(tmp_path / genres)
    task = GTZAN.read(tmp_path)
    expected = {}
    for name, part in {"train": "train", "valid": "validation", "test": "test"}.items():
        for clip in (tmp_path / f"{name}_filtered.txt").read_text().split():
            expected[f"{genres}/{clip}"] = (clip.split("/")[0], clip, part)
    assert said(task, tmp_path) == expected
    assert (len(task.classes), task.seconds) == (10, 30.0)
    assert task.expected == {"train": 443, "validation": 197, "test": 290}


def test_the_lists_have_to_be_there(tmp_path: Path) -> None:
    mini_gtzan(tmp_path)
    (tmp_path / "valid_filtered.txt").unlink()
    with pytest.raises(
        ValueError, match=r"valid_filtered\.txt does not exist; download the three lists from https://github\.com/jong"
    ):
        GTZAN.read(tmp_path)
    write_text(tmp_path / "valid_filtered.txt", ["blues.00029.wav"])
    with pytest.raises(ValueError, match=r"'blues\.00029\.wav' must be like 'blues/blues\.00029\.wav'"):
        GTZAN.read(tmp_path)
