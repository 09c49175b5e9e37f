"""Tables as the Hub's copies have them, packed from miniatures of the official distributions, and unpacked again."""

import csv
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from public_task_helpers import MINIATURES, mini_audioset, mini_esc50, mini_us8k, said, write_clip, write_text

from aasp_features.train.evaluate.benchmark import find_benchmarks
from aasp_features.train.evaluate.tasks.hub_copy import HubCopy
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

WHOLE = {"fold", "target", "fsID", "salience", "classID", "src_file"}
PLACES = {"esc50": "audio/{filename}", "us8k": "audio/fold{fold}/{slice_file_name}"}
LISTS = {"esc50": "meta/esc50.csv", "us8k": "metadata/UrbanSound8K.csv"}


def pack(table: Path, rows: list[dict], sounds: list[bytes], group: int = 7) -> None:
    """As the library ``datasets`` writes a table: typed columns, and sounds as {bytes, path}."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns = {name: [int(x) for x in own] if name in WHOLE else own for name, own in columns.items()}
    columns = {name: [x == "True" for x in own] if name == "esc10" else own for name, own in columns.items()}
    columns["audio"] = [{"bytes": sound, "path": None} for sound in sounds]
    table.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), table, row_group_size=group)


def packed(name: str, make: Callable[[Path], object], folder: Path) -> Path:
    """A copy in two tables."""
    official = folder / "official"
    make(official)
    with (official / LISTS[name]).open() as file:
        rows = list(csv.DictReader(file))
    sounds = [(official / PLACES[name].format(**row)).read_bytes() for row in rows]
    for number, part in enumerate((slice(0, 11), slice(11, None))):
        pack(folder / "copy" / "data" / f"train-0000{number}-of-00002-2f1a.parquet", rows[part], sounds[part])
    return folder / "copy"


@pytest.mark.parametrize(("name", "make"), [("esc50", mini_esc50), ("us8k", mini_us8k)])
def test_a_copy_is_the_official_distribution(name: str, make: Callable[[Path], object], tmp_path: Path) -> None:
    copy, official = packed(name, make, tmp_path), tmp_path / "official"
    found, expected = PUBLIC_TASKS[name].read(copy), PUBLIC_TASKS[name].read(official)
    assert said(found, copy) == said(expected, official)
    for file in official.rglob("*.wav"):
        assert (copy / file.relative_to(official)).read_bytes() == file.read_bytes()
    shutil.rmtree(copy / "data")
    assert said(PUBLIC_TASKS[name].read(copy), copy) == said(expected, official)  # nothing else is needed then


def test_an_interrupted_unpacking_goes_on(tmp_path: Path) -> None:
    copy, task = packed("esc50", mini_esc50, tmp_path), PUBLIC_TASKS["esc50"]
    second = next(copy.glob("data/train-00001*"))
    hidden = second.rename(tmp_path / "hidden")
    with pytest.raises(ValueError, match=r"data holds 1 of 2 tables train-\*\.parquet; download the rest"):
        task.read(copy)
    assert not (copy / "audio").exists()  # half of a task would stay half for good
    write_text(second, ["cut"])
    with pytest.raises(ValueError, match=r"train-00001.* cannot be read .*; download it again"):
        task.read(copy)
    assert len(list(copy.glob("audio/*.wav"))) == 11
    assert not (copy / "meta" / "esc50.csv").exists()
    hidden.replace(second)
    stamps = {file: file.stat().st_mtime_ns for file in copy.glob("audio/*.wav")}
    assert len(task.read(copy).files) == 30
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())
    assert not list(copy.rglob(".*"))


def test_the_papers_benchmarks_are_found_in_copies(tmp_path: Path) -> None:
    packed("us8k", mini_us8k, tmp_path / "root" / "a")
    found = find_benchmarks(tmp_path / "root" / "a")
    assert set(found.tasks) == {"us8k"}
    assert found.folders["us8k"] == tmp_path / "root" / "a" / "copy"


def test_audioset_needs_its_lists_and_unpacks_only_what_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    official, copy = tmp_path / "official", tmp_path / "copy"
    mini_audioset(official)
    videos = {"bal_train": ["--aaaaaaaaa", "unlisted---"], "unbal_train": ["unbalanced1"], "eval": ["evaluation1"]}
    sound = (official / "eval_segments" / "evaluation1.wav").read_bytes()
    for part, own in videos.items():
        pack(copy / "data" / part / "00.parquet", [{"video_id": one, "labels": "x"} for one in own], [sound] * len(own))
    with pytest.raises(ValueError, match=r"class_labels_indices\.csv does not exist"):
        PUBLIC_TASKS["as20k"].read(copy)
    assert not (copy / "audio").exists()
    for table in official.glob("*.csv"):
        shutil.copy(table, copy)
    write_clip(copy / "balanced_train_segments" / "--aaaaaaaaa.wav")  # another copy of one
    with caplog.at_level(logging.INFO):
        assert PUBLIC_TASKS["as20k"].read(copy).found == {"train": 1, "test": 1}
        assert [path.name for path in (copy / "audio").rglob("*.flac")] == ["evaluation1.flac"]
        assert PUBLIC_TASKS["as2m"].read(copy).found == {"train": 2, "test": 1}
        assert (copy / "audio" / "unbal_train" / "unbalanced1.flac").read_bytes() == sound
        PUBLIC_TASKS["as2m"].read(copy)
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["1 clips unpacked"] * 2


COPY = HubCopy("data/*.parquet", "audio/{clip}", ("clip", "take"), "list.csv")


@pytest.mark.parametrize("name", ["../out.wav", "a/b.wav", "a\\b.wav", "..", "", ".", None])
def test_no_name_leads_out_of_the_folder(name: str | None, tmp_path: Path) -> None:
    pack(tmp_path / "copy" / "data" / "0.parquet", [{"clip": name, "take": "A"}], [b"sound"])
    with pytest.raises(ValueError, match=r"clip .* cannot be part of a file name"):
        COPY.unpack(tmp_path / "copy")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["0.parquet"]


def test_columns_that_name_no_file_may_hold_anything(tmp_path: Path) -> None:
    pack(
        tmp_path / "data" / "0.parquet",
        [{"clip": "x.wav", "take": None}, {"clip": "y.wav", "take": "../z"}],
        [b"1", b"2"],
    )
    COPY.unpack(tmp_path)
    assert (tmp_path / "list.csv").read_text().splitlines() == ["clip,take", "x.wav,", "y.wav,../z"]
    assert (tmp_path / "audio" / "y.wav").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("rows", "sounds", "sentence"),
    [
        ([{"other": "x"}], [b"sound"], r"0\.parquet has no column 'clip'"),
        ([{"clip": "x", "take": "A"}], [b""], "x has no sound"),
        ([{"clip": "x", "take": "A"}], [None], "x has no sound"),
        ([{"clip": "x", "take": "A"}] * 2, [b"1", b"2"], "2 clips of its tables are named x"),
    ],
)
def test_rows_that_are_none_are_a_sentence(rows: list[dict], sounds: list, sentence: str, tmp_path: Path) -> None:
    pack(tmp_path / "data" / "0.parquet", rows, sounds)
    with pytest.raises(ValueError, match=sentence):
        COPY.unpack(tmp_path)
    assert not (tmp_path / "list.csv").exists()


def test_sounds_must_be_sounds(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet.write_table(pyarrow.table({"clip": ["x"], "take": ["A"], "audio": [b"x"]}), tmp_path / "data" / "0.parquet")
    with pytest.raises(ValueError, match="has no column 'audio of bytes and path'"):
        COPY.unpack(tmp_path)


def test_where_nothing_can_be_unpacked_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "data" / "0.parquet", [{"clip": "x.wav", "take": "A"}], [b"sound"])
    (tmp_path / "audio").write_text("a file is in the way")
    with pytest.raises(ValueError, match=r"audio cannot be created \(.*\); move the copy"):
        COPY.unpack(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r'needs pyarrow.*pip install "aasp-features\[parquet\]"'):
        COPY.unpack(tmp_path)


def test_folders_without_tables_stay_as_they_are(tmp_path: Path) -> None:
    for name, make in MINIATURES.items():
        make(tmp_path / name)
        before = sorted(tmp_path.rglob("*"))
        PUBLIC_TASKS[name].read(tmp_path / name)
        assert sorted(tmp_path.rglob("*")) == before
