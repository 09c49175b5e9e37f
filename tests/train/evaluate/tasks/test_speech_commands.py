"""Speech Commands V2 in miniature."""

from pathlib import Path

import pytest
from public_task_helpers import mini_spcv2, said, write_clip, write_text

from aasp_features.train.evaluate.tasks.speech_commands import SPEECH_COMMANDS_V2


def test_what_no_list_names_trains(tmp_path: Path) -> None:
    mini_spcv2(tmp_path)
    task = SPEECH_COMMANDS_V2.read(tmp_path)
    parts = {"0a": "train", "0b": "validation", "0c": "test"}
    assert said(task, tmp_path) == {
        f"{word}/{speaker}_nohash_0.wav": (word, speaker, part)
        for word in ("backward", "zero")
        for speaker, part in parts.items()
    }
    assert len(set(task.classes)) == 35
    assert sum(task.expected.values()) == 105_829
    assert task.found == dict.fromkeys(["train", "validation", "test"], 2)


def test_converted_clips_are_those_of_the_lists(tmp_path: Path) -> None:
    mini_spcv2(tmp_path)
    for clip in sorted(tmp_path.glob("zero/*.wav")):
        clip.rename(clip.with_suffix(".flac"))
    (tmp_path / "backward" / "0c_nohash_0.wav").unlink()
    task = SPEECH_COMMANDS_V2.read(tmp_path)
    assert said(task, tmp_path)["zero/0c_nohash_0.flac"] == ("zero", "0c", "test")
    assert task.missing == (tmp_path / "backward" / "0c_nohash_0.wav",)
    assert task.found == {"train": 2, "validation": 2, "test": 1}


def test_other_words_and_lists_are_a_sentence(tmp_path: Path) -> None:
    mini_spcv2(tmp_path)
    write_clip(tmp_path / "hello" / "0a_nohash_0.wav")
    with pytest.raises(ValueError, match="spcv2: 'hello' is not one of its 35 classes"):
        SPEECH_COMMANDS_V2.read(tmp_path)
    (tmp_path / "testing_list.txt").unlink()
    with pytest.raises(ValueError, match=r"testing_list\.txt does not exist\. Its folder holds validation_list\.txt"):
        SPEECH_COMMANDS_V2.read(tmp_path)
    write_text(tmp_path / "testing_list.txt", [])
    (tmp_path / "testing_list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"testing_list\.txt cannot be read as UTF-8 text"):
        SPEECH_COMMANDS_V2.read(tmp_path)
