"""VoxCeleb1 in miniature."""

from pathlib import Path

import pytest
from public_task_helpers import mini_vc1, said, write_text

from aasp_features.train.evaluate.tasks.voxceleb import VOXCELEB1


def test_the_official_list_is_followed(tmp_path: Path) -> None:
    mini_vc1(tmp_path)
    task = VOXCELEB1.read(tmp_path)
    parts = {"1": "train", "2": "validation", "3": "test"}
    expected = {}
    for line in (tmp_path / "iden_split.txt").read_text().split("\n")[:-1]:
        number, name = line.split(" ")
        speaker, video = name.split("/")[:2]
        expected[f"wav/{name}"] = (speaker, f"{speaker}/{video}", parts[number])
    assert said(task, tmp_path) == expected
    assert task.classes == ("id10001", "id10002")
    assert sum(task.expected.values()) == 153_516


@pytest.mark.parametrize(
    "line", ["1 id10001/00001.wav", "id10001/1zcIwhmdeo4/00001.wav", "4 id10001/1zcIwhmdeo4/1.wav"]
)
def test_wrong_lines_are_a_sentence(line: str, tmp_path: Path) -> None:
    write_text(tmp_path / "iden_split.txt", [line])
    with pytest.raises(ValueError, match=r"must be like '1 id10001/VIDEO|in the part '4', but parts must be 1, 2, 3"):
        VOXCELEB1.read(tmp_path)
