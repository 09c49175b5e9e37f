"""ESC-50 and ESC-10 in miniature."""

import csv
from pathlib import Path

import pytest
from public_task_helpers import ESC50_HEADER, mini_esc50, said, write_text

from aasp_features.train.evaluate.tasks.esc50 import CLASSES, CLASSES_10, ESC10, ESC50


def test_the_official_list_is_followed(tmp_path: Path) -> None:
    mini_esc50(tmp_path)
    task = ESC50.read(tmp_path)
    with (tmp_path / "meta" / "esc50.csv").open() as file:
        listed = {f"audio/{row['filename']}": row for row in csv.DictReader(file)}
    found = said(task, tmp_path)
    assert found == {clip: (row["category"], row["src_file"], row["fold"]) for clip, row in listed.items()}
    assert (task.folds, task.seconds, task.metric.name) == (list("12345"), 5.0, "accuracy")
    assert task.classes == CLASSES
    assert task.found == dict.fromkeys("12345", 6)
    assert sum(task.expected.values()) == 2000
    assert task.missing == ()


def test_esc10_is_what_the_list_marks(tmp_path: Path) -> None:
    mini_esc50(tmp_path)
    task = ESC10.read(tmp_path)
    assert {label for label, _, _ in said(task, tmp_path).values()} == {"dog", "rooster"}
    assert (len(task.files), task.classes, sum(task.expected.values())) == (20, CLASSES_10, 400)
    assert (len(set(CLASSES)), len(set(CLASSES_10)), set(CLASSES_10) < set(CLASSES)) == (50, 10, True)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    mini_esc50(tmp_path)
    gone = tmp_path / "audio" / "3-3000-B-0.wav"
    gone.unlink()
    task = ESC50.read(tmp_path)
    assert task.missing == (gone,)
    assert task.found["3"] == 5


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["1-1-A-0.wav,6,0,dog,True,1,A"], r"1-1-A-0\.wav is in the part '6', but parts must be 1, 2, 3, 4, 5"),
        (["1-1-A-0.wav,1,0,,True,1,A"], "row 2 has no 'category'"),
        ([], "has no rows"),
        (['"1-1-A-0.wav,1'], "is not a comma-separated table"),
    ],
)
def test_wrong_lists_are_a_sentence(rows: list[str], sentence: str, tmp_path: Path) -> None:
    write_text(tmp_path / "meta" / "esc50.csv", [ESC50_HEADER, *rows])
    with pytest.raises(ValueError, match=sentence):
        ESC50.read(tmp_path)


def test_an_unknown_class_is_a_sentence(tmp_path: Path) -> None:
    rows = mini_esc50(tmp_path)
    table = [ESC50_HEADER, *(row.replace(",dog,", ",wolf,") for row in rows)]
    write_text(tmp_path / "meta" / "esc50.csv", table)
    with pytest.raises(ValueError, match="esc50: 'wolf' is not one of its 50 classes"):
        ESC50.read(tmp_path)


@pytest.mark.data
def test_the_names_of_real_clips_say_their_folds(shared_audio: Path, tmp_path: Path) -> None:
    """ESC-10 put back into its layout, as .flac under a list that says .wav."""
    with (shared_audio / "tasks" / "esc10" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {"baby_cry": "crying_baby", "dog_bark": "dog", "fire_crackling": "crackling_fire"}
    names |= {"person_sneeze": "sneezing"}
    lines, audio = [ESC50_HEADER], tmp_path / "audio"
    audio.mkdir()
    for row in rows:
        source = shared_audio / "tasks" / "esc10" / row["file"]
        name = source.stem.removeprefix(f"{row['label']}_")
        (audio / f"{name}.flac").symlink_to(source)
        category = names.get(row["label"], row["label"])
        lines.append(f"{name}.wav,{name[0]},0,{category},True,{row['clip_id']},{name[-1]}")
    write_text(tmp_path / "meta" / "esc50.csv", lines)
    task = ESC10.read(tmp_path)
    assert task.found == dict(task.expected)
    assert task.missing == ()
    assert {file.resolve(): part for file, part in zip(task.files, task.parts, strict=True)} == {
        (shared_audio / "tasks" / "esc10" / row["file"]).resolve(): row["fold"] for row in rows
    }
