"""Tables as the Hub's copies have them, packed from miniatures of the official distributions, and unpacked again."""

import csv
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from public_task_helpers import MINIATURES, mini_audioset, mini_esc50, mini_us8k, said, write_text

from aasp_features.train.evaluate.tasks.hub_copy import HubCopy
from aasp_features.train.evaluate.tasks.registry import PUBLIC_TASKS

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
    write_text(second, ["cut"])
    with pytest.raises(ValueError, match=r"train-00001.* cannot be read"):
        task.read(copy)
    assert len(list(copy.glob("audio/*.wav"))) == 11
    assert not (copy / "meta" / "esc50.csv").exists()
    hidden.replace(second)
    stamps = {file: file.stat().st_mtime_ns for file in copy.glob("audio/*.wav")}
    assert len(task.read(copy).files) == 30
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())
    assert not list(copy.rglob(".*"))


def test_audioset_needs_its_lists_and_unpacks_only_what_is_asked_for(tmp_path: Path) -> None:
    official, copy = tmp_path / "official", tmp_path / "copy"
    mini_audioset(official)
    videos = {"bal_train": ["--aaaaaaaaa", "Yaaaaaaaaaa"], "unbal_train": ["unbalanced1"], "eval": ["evaluation1"]}
    sound = (official / "eval_segments" / "evaluation1.wav").read_bytes()
    for part, own in videos.items():
        pack(copy / "data" / part / "00.parquet", [{"video_id": one, "labels": "x"} for one in own], [sound] * len(own))
    with pytest.raises(ValueError, match=r"class_labels_indices\.csv is not there"):
        PUBLIC_TASKS["as20k"].read(copy)
    assert not (copy / "audio").exists()
    for table in official.glob("*.csv"):
        shutil.copy(table, copy)
    assert PUBLIC_TASKS["as20k"].read(copy).found == {"train": 2, "test": 1}
    assert not (copy / "audio" / "unbal_train").exists()
    assert PUBLIC_TASKS["as2m"].read(copy).found == {"train": 3, "test": 1}
    assert (copy / "audio" / "unbal_train" / "unbalanced1.flac").read_bytes() == sound


@pytest.mark.parametrize("name", ["../out.wav", "a/b.wav", "a\\b.wav", "..", "", "."])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    pack(tmp_path / "copy" / "data" / "0.parquet", [{"clip": name}], [b"sound"])
    with pytest.raises(ValueError, match="cannot be part of a file's name"):
        HubCopy("data/*.parquet", "audio/{clip}", ("clip",)).unpack(tmp_path / "copy")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["0.parquet"]


def test_what_cannot_be_unpacked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = HubCopy("data/*.parquet", "audio/{clip}", ("clip",))
    pack(tmp_path / "data" / "0.parquet", [{"other": "x"}], [b"sound"])
    with pytest.raises(ValueError, match=r"0\.parquet: has no column 'clip'"):
        copy.unpack(tmp_path)
    pack(tmp_path / "data" / "0.parquet", [{"clip": "x.wav"}], [b"sound"])
    (tmp_path / "audio").write_text("a file is in the way")
    with pytest.raises(ValueError, match=r"audio cannot be made \(.*\); a copy is unpacked where it lies"):
        copy.unpack(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r'needs pyarrow .*pip install "aasp-features\[parquet\]"'):
        copy.unpack(tmp_path)


def test_folders_without_tables_stay_as_they_are(tmp_path: Path) -> None:
    for name, make in MINIATURES.items():
        make(tmp_path / name)
        before = sorted(tmp_path.rglob("*"))
        PUBLIC_TASKS[name].read(tmp_path / name)
        assert sorted(tmp_path.rglob("*")) == before
