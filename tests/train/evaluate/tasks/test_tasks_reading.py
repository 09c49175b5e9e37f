"""Tasks of a table, of a folder of sounds for each class, and of --task, right and wrong."""

import tarfile
from pathlib import Path

import pytest
from evaluate_helpers import write_tone

from aasp_features.train.evaluate.tasks.reading import read_class_folders, read_table, read_tasks


def test_tables_and_folders(task_folder: Path) -> None:
    for index in range(12):
        write_tone(task_folder.parent / "classes" / "ab"[index % 2] / f"{index}.wav", 300)
    (task_folder / "other.csv").write_text((task_folder / "labels.csv").read_text())
    wanted = [task_folder / "other.csv", task_folder.parent / "classes", task_folder, task_folder / "labels.csv"]
    assert [task.name for task in read_tasks(list(map(str, wanted[:3])))] == ["other", "classes", "tones"]
    assert [task.name for task in read_tasks([str(task_folder.parent)])] == ["tones"]
    with pytest.raises(ValueError, match="two tasks are named tones"):
        read_tasks(list(map(str, wanted[2:])))


@pytest.mark.parametrize("wanted", ["gone", "gone:/data", "c:/gone"])
def test_what_is_not_there(wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{wanted} is no file or folder"):
        read_tasks([wanted])


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


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        for index in range(5):
            write_tone(tmp_path / name / "deep" / f"{index}.flac", 300)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "dog" / "notes.txt").write_text("none")
    task = read_class_folders(tmp_path)
    assert (task.classes, task.labels.tolist()) == (("cat", "dog"), [0] * 5 + [1] * 5)
    assert len(task.folds) == 5
    for fold in task.folds:
        assert sorted(task.labels[task.parts == fold].tolist()) == [0, 1]


def test_one_class_is_no_task(tmp_path: Path) -> None:
    write_tone(tmp_path / "dog" / "1.wav", 300)
    with pytest.raises(ValueError, match="must hold at least two folders with sounds"):
        read_class_folders(tmp_path)
    write_tone(tmp_path / "loose.wav", 300)
    with pytest.raises(
        ValueError, match=r"at least two folders with sounds.* Left out: .*loose\.wav \(sounds outside the class"
    ):
        read_class_folders(tmp_path)
    write_tone(tmp_path / "cat" / "1.wav", 300)
    assert read_class_folders(tmp_path).folds == ["1", "2"]


def test_what_is_no_clip_of_a_class_is_said(tmp_path: Path) -> None:
    """Sounds beside the classes, shards in and beside them, folders without sounds; a class of shards is an error."""
    for name in ("dog", "cat"):
        for index in range(5):
            write_tone(tmp_path / name / f"{index}.wav", 300)
    clean = read_class_folders(tmp_path)
    assert clean.note == ""
    for name in ("a.wav", "b.wav"):
        write_tone(tmp_path / name, 300)
    for place in (tmp_path / "all.tar", tmp_path / "dog" / "more.tar"):
        with tarfile.open(place, "w") as shard:
            shard.add(tmp_path / "a.wav", "a.wav")
    (tmp_path / "none").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("none")
    (tmp_path / "notes.txt").write_text("none")
    task = read_class_folders(tmp_path)
    assert (task.files, task.classes, task.parts.tolist()) == (clean.files, clean.classes, clean.parts.tolist())
    assert f"{tmp_path / 'a.wav'} and 1 more (sounds outside the class folders; move each" in task.note
    assert f"{tmp_path / 'all.tar'} and 1 more (tar shards, which tasks do not read; unpack them)" in task.note
    assert f"{tmp_path / 'docs'} and 1 more (folders without sounds)" in task.note
    assert "notes" not in task.note
    (tmp_path / "dog" / "more.tar").rename(tmp_path / "none" / "more.tar")
    with pytest.raises(ValueError, match=r"the class 'none' has no usable sounds\. Left out: .*more\.tar \(tar shards"):
        read_class_folders(tmp_path)
