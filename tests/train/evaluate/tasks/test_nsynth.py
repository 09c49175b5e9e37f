"""NSynth in miniature."""

import json
from pathlib import Path

import pytest
from public_task_helpers import mini_nsynth, said, write_text

from aasp_features.train.evaluate.tasks.nsynth import NSYNTH


def test_the_official_lists_are_followed(tmp_path: Path) -> None:
    mini_nsynth(tmp_path)
    task = NSYNTH.read(tmp_path)
    expected = {}
    for name, part in {"train": "train", "valid": "validation", "test": "test"}.items():
        for note, values in json.loads((tmp_path / f"nsynth-{name}" / "examples.json").read_text()).items():
            clip = f"nsynth-{name}/audio/{note}.wav"
            expected[clip] = (values["instrument_family_str"], values["instrument_str"], part)
    assert said(task, tmp_path) == expected
    assert (len(set(task.classes)), sum(task.expected.values())) == (11, 305_979)
    assert task.found == {"train": 6, "validation": 2, "test": 2}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"a": {}}', "a has no instrument_family_str"),
        ('{"a": 1}', "a has"),
    ],
)
def test_wrong_lists_are_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    write_text(tmp_path / "nsynth-train" / "examples.json", [text])
    with pytest.raises(ValueError, match=sentence):
        NSYNTH.read(tmp_path)
