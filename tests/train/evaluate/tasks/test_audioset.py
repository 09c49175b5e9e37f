"""AudioSet in miniature, its files named in the ways of several distributions."""

from pathlib import Path

import pytest
from public_task_helpers import mini_audioset, said, write_clip, write_text

from aasp_features.train.evaluate.tasks.audioset import AUDIOSET_2M, AUDIOSET_20K, listed_id

SPEECH, MAN, GURGLING = "/m/09x0r", "/m/05zppz", "/t/dd00088"
BALANCED = {
    "balanced_train_segments/Y--aaaaaaaaa.wav": ({SPEECH, GURGLING}, "--aaaaaaaaa", "train"),
    "balanced_train_segments/Yaaaaaaaaaa_30.000.flac": ({SPEECH}, "Yaaaaaaaaaa", "train"),
}
UNBALANCED = {
    "unbalanced_train_segments_part07/unbalanced1_30000_40000.wav": ({GURGLING}, "unbalanced1", "train"),
    "audio/unbalanced_train_segments/deep/unbalanced2.wav": ({MAN}, "unbalanced2", "train"),
}
EVALUATION = {"eval_segments/evaluation1.wav": ({SPEECH, MAN}, "evaluation1", "test")}


def test_the_official_lists_are_followed(tmp_path: Path) -> None:
    mini_audioset(tmp_path)
    small, large = AUDIOSET_20K.read(tmp_path), AUDIOSET_2M.read(tmp_path)
    assert said(small, tmp_path) == BALANCED | EVALUATION
    assert said(large, tmp_path) == BALANCED | UNBALANCED | EVALUATION
    assert small.classes == (SPEECH, MAN, GURGLING)  # in the order of the official indices
    assert (small.metric.name, small.seconds) == ("mAP", 10.0)
    assert large.missing == small.missing == (tmp_path / "eval_segments" / "evaluation2.wav",)
    assert small.expected == {"train": 22_160, "test": 20_371}
    assert large.expected["train"] == 22_160 + 2_041_789
    assert large.found == {"train": 4, "test": 1}


def test_a_clip_in_the_folder_of_another_part_does_not_count(tmp_path: Path) -> None:
    mini_audioset(tmp_path)
    write_clip(tmp_path / "balanced_train_segments" / "evaluation2.wav")
    assert len(AUDIOSET_20K.read(tmp_path).missing) == 1


@pytest.mark.parametrize(
    ("stem", "video"),
    [
        ("Yaaaaaaaaaa", "Yaaaaaaaaaa"),
        ("YYaaaaaaaaaa", "Yaaaaaaaaaa"),
        ("Y-_aaaaaaaaa_30", "-_aaaaaaaaa"),
        ("-_aaaaaaaaa_30.000_40.000", "-_aaaaaaaaa"),
        ("-_aaaaaaaaa_30_40_50", ""),
        ("-_aaaaaaaaab", ""),
        ("unlisted---", ""),
        ("", ""),
    ],
)
def test_names_of_files(stem: str, video: str) -> None:
    assert listed_id(stem, {"Yaaaaaaaaaa", "-_aaaaaaaaa"}) == video


def test_wrong_lists_are_a_sentence(tmp_path: Path) -> None:
    mini_audioset(tmp_path)
    write_text(tmp_path / "eval_segments.csv", ["evaluation1, 30.000, 40.000"])
    with pytest.raises(ValueError, match="must be YTID, start_seconds, end_seconds, positive_labels"):
        AUDIOSET_20K.read(tmp_path)
    (tmp_path / "class_labels_indices.csv").unlink()
    with pytest.raises(ValueError, match=r"class_labels_indices\.csv does not exist"):
        AUDIOSET_20K.read(tmp_path)
