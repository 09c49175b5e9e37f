"""Tables of sounds and labels, right and wrong."""

from pathlib import Path

import pytest
from evaluate_helpers import write_tone

from aasp_features.train.evaluate.tasks.tables import read_table


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for index in range(6):
        write_tone(folder / f"{index}.wav", 300)
    (folder / "mine.csv").write_text(text, encoding=encoding)
    return folder / "mine.csv"


def test_folds_are_made_where_there_are_none(task_folder: Path) -> None:
    task = read_table(task_folder / "labels.csv")
    assert (task.name, task.classes, len(task.files)) == ("tones", ("high", "low"), 40)
    assert task.labels.tolist() == [1, 0] * 20
    assert len(task.folds) == 5
    assert task.files[3] == task_folder / "audio" / "3.wav"


def test_a_sound_is_its_own_group(tmp_path: Path) -> None:
    task = read_table(written(tmp_path, "file,label\n" + "".join(f"{n}.wav,{'ab'[n == 0]}\n" for n in range(6))))
    assert task.groups.tolist() == [f"{n}.wav" for n in range(6)]


def test_own_folds_and_splits_count(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{'ab'[n % 2]}" for n in range(6)]
    folds = "file,label,fold\n" + "\n".join(f"{row},{1 + n // 2}" for n, row in enumerate(rows))
    assert read_table(written(tmp_path, folds, "utf-8-sig")).parts.tolist() == ["1", "1", "2", "2", "3", "3"]
    names = ["train", "train", "valid", "dev", "test", "test"]
    splits = "file,label,split\n" + "\n".join(f"{row},{name}" for row, name in zip(rows, names, strict=True))
    assert read_table(written(tmp_path, splits)).parts.tolist() == [
        *["train"] * 2,
        *["validation"] * 2,
        *["test"] * 2,
    ]


def test_several_labels_are_judged_by_map(tmp_path: Path) -> None:
    task = read_table(written(tmp_path, "file,label,fold\n0.wav,a;b,1\n1.wav,b,1\n2.wav,c ; a,2\n"))
    assert task.metric.name == "mAP"
    assert task.labels.tolist() == [[True, True, False], [False, True, False], [True, False, True]]


def test_a_separator_too_many_adds_no_label(tmp_path: Path) -> None:
    task = read_table(written(tmp_path, "file,label,fold\n0.wav,a;,1\n1.wav,b;b,1\n2.wav,;a,2\n3.wav,b ; b ;,2\n"))
    assert task.classes == ("a", "b")
    assert task.labels.tolist() == [0, 1, 0, 1]
    assert task.metric.name == "balanced accuracy"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no rows; its columns must be file, label"),
        ("file,label\n", "has no rows"),
        ("file,name\n0.wav,a\n", "lacks the column label"),
        ("path,label\n0.wav,a\n", "lacks the column file"),
        ("file,label\n0.wav,\n", "line 2 has no file or no label"),
        ("file,label\n0.wav\n", "line 2 has no file or no label"),
        ("file,label\n0.wav,a\n\n1.wav, ; ;\n", "line 4 has no file or no label"),
        ("file,label\n0.wav,a\ngone.wav,b\n", r"1 files are missing, the first is .*gone\.wav"),
        ("file,label,group\n" + "0.wav,a,g\n1.wav,b,g\n" * 5, "all its clips are of the group 'g'"),
        ("file,label,fold\n0.wav,a,one\n1.wav,b,2\n", "must be a number of at most 9 digits, got 'one'"),
        ("file,label,fold\n0.wav,a,²\n1.wav,b,2\n", "must be a number of at most 9 digits, got '²'"),
        (f"file,label\n{'x' * 5000}.wav,a\n1.wav,b\n", "1 files are missing, the first is"),
        (f"file,label,fold\n0.wav,a,{'9' * 5000}\n1.wav,b,2\n", "must be a number of at most 9 digits"),
        ("file,label,fold\n0.wav,a,1\n1.wav,b,1\n", "all sounds are in one fold"),
        ("file,label,split\n0.wav,a,train\n1.wav,b,new\n", "a split must be one of .*, got 'new'"),
        ("file,label,split,fold\n0.wav,a,train,1\n", "both columns fold and split"),
        ("file,label,group,fold\n0.wav,a,g,1\n1.wav,b,g,2\n", "the group 'g' is in two parts"),
        (f"file,label\n0.wav,{'a' * 200_000}\n", "cannot be read as a comma-separated UTF-8 table"),
        ("file,label,fold\n0.wav,a,1\n1.wav,a,2\n", "all clips are labelled 'a'"),
    ],
)
def test_wrong_tables_are_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_table(written(tmp_path, text))


def test_other_encodings_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read as a comma-separated UTF-8 table"):
        read_table(written(tmp_path, "file,label\n0.wav,é\n", "utf-16"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_table(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device")
def test_a_table_without_end_is_a_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"/dev/zero cannot be read as a comma-separated UTF-8 table .*more than 256 MiB"
    ):
        read_table(Path("/dev/zero"))
