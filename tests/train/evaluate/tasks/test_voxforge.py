"""VoxForge in miniature."""

from pathlib import Path

import pytest
from public_task_helpers import mini_voxforge, said

from aasp_features.train.evaluate.tasks.held_out_groups import part_of_group
from aasp_features.train.evaluate.tasks.voxforge import VOXFORGE, uploader


def test_uploaders_are_kept_whole(tmp_path: Path) -> None:
    mini_voxforge(tmp_path)
    task = VOXFORGE.read(tmp_path)
    found = said(task, tmp_path)
    for language in ("de", "fr"):
        for number in range(4):
            name = f"{language}{number}"
            expected = (language, name, part_of_group(name))
            assert found[f"{language}/{name}-20080318-kdl/wav/b0001.wav"] == expected
            assert found[f"{language}/{name}-20090401-abc/wav/b0001.wav"] == expected
    nobody = found["it/Trunk/anonymous-20110402-ujy/flac/it-1.flac"]
    assert nobody[:2] == ("it", "anonymous-20110402-ujy")
    assert len(found) == 17
    assert (task.classes, task.found) == (("de", "en", "es", "fr", "it", "ru"), {"whole": 17})
    assert "hash of the uploader" in task.note


def test_names_of_archives() -> None:
    assert uploader("Aaron-20080318-kdl") == "Aaron"
    assert uploader("a-b-20080318-kdl") == "a-b"
    assert uploader("Aaron-20080318") == "Aaron"
    assert uploader("anonymous-20110402-ujy") == "anonymous-20110402-ujy"
    assert uploader("whatever") == "whatever"


def test_another_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    with pytest.raises(ValueError, match=r"voxforge: .* has no folder de or en or es or fr or it or ru with archives"):
        VOXFORGE.read(tmp_path)
