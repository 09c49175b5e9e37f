"""Every form of a source gives the same sounds, from any row on."""

import csv
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from local_hub import LocalHub, Repository
from warm_process import run_python

from aasp_features.audio.reading import AudioError
from aasp_features.train.data.sources import Row, open_source

FACTS = [{"number": str(number), "licence": "CC0"} for number in range(5)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{number}.wav" for number in range(5)]
    for number, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 1000 + number), 16000)
    return paths


def as_folder(files: list[Path], place: Path) -> Path:
    return files[0].parent


def as_shard(files: list[Path], place: Path) -> Path:
    with tarfile.open(place / "shard.tar", "w") as shard:
        for path, facts in zip(files, FACTS, strict=True):
            member = tarfile.TarInfo(f"{path.stem}.json")
            content = json.dumps(facts).encode()
            member.size = len(content)
            shard.add(path, path.name)
            shard.addfile(member, io.BytesIO(content))
    return place / "shard.tar"


def as_csv(files: list[Path], place: Path) -> Path:
    with (place / "list.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["path", *FACTS[0]])
        rows.writeheader()
        rows.writerows({"path": path, **facts} for path, facts in zip(files, FACTS, strict=True))
    return place / "list.csv"


def as_txt(files: list[Path], place: Path) -> Path:
    (place / "list.txt").write_text("\n".join(map(str, files)))
    return place / "list.txt"


def as_jsonl(files: list[Path], place: Path) -> Path:
    rows = [json.dumps({"path": str(path), **facts}) for path, facts in zip(files, FACTS, strict=True)]
    (place / "list.jsonl").write_text("\n".join(rows) + "\n")
    return place / "list.jsonl"


def as_parquet_list(files: list[Path], place: Path) -> Path:
    return write_table(place / "list.parquet", path=list(map(str, files)), **columns(FACTS))


def as_tables(files: list[Path], place: Path) -> Path:
    """Two tables with embedded sounds, as the Hub has them, with groups of two rows."""
    for number, part in enumerate((slice(0, 3), slice(3, 5))):
        sounds = [{"bytes": path.read_bytes(), "path": path.name} for path in files[part]]
        write_table(place / "data" / f"train-0000{number}-of-00002.parquet", audio=sounds, **columns(FACTS[part]))
    return place / "data"


def columns(rows: list[dict]) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def write_table(table: Path, **values: list) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table.parent.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table(values), table, row_group_size=2)
    return table


def samples(row: Row) -> np.ndarray:
    return np.concatenate(list(row.stream()))


FORMS = [as_folder, as_shard, as_csv, as_txt, as_jsonl, as_parquet_list, as_tables]


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_every_form(form: Callable[[list[Path], Path], Path], files: list[Path], tmp_path: Path) -> None:
    source = open_source(str(form(files, tmp_path)))
    rows = list(source.rows(0))
    assert source.total == len(rows) == 5
    for row, path in zip(rows, files, strict=True):
        assert row.name.endswith(path.name)
        np.testing.assert_array_equal(samples(row), soundfile.read(path, dtype="float32")[0])
    assert [row.metadata for row in rows] == ([{}] * 5 if form in (as_folder, as_txt) else FACTS)
    for first in range(6):
        assert [row.name for row in source.rows(first)] == [row.name for row in rows[first:]]


@pytest.mark.parametrize("form", [as_folder, as_csv, as_tables])
def test_another_source_has_another_identity(
    form: Callable[[list[Path], Path], Path], files: list[Path], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    copies = [Path(own / path.name) for path in files]
    for copy, path in zip(copies, files, strict=True):
        copy.write_bytes(path.read_bytes())
    given = form(copies, tmp_path)
    source = open_source(str(given))
    before = source.identity()
    assert open_source(str(given)).identity() == before
    soundfile.write(copies[2], np.zeros(500), 16000)
    assert (source.identity() == before) == (form is as_tables)  # whose file is another only when it is written again
    assert open_source(str(form(copies, tmp_path))).identity() != before


def test_parts_of_a_recording(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "parts.jsonl").write_text(json.dumps({"path": str(files[0]), "start": 0.01, "end": 0.05}))
    (row,) = open_source(str(tmp_path / "parts.jsonl")).rows(0)
    assert len(samples(row)) == 640
    assert row.metadata == {"start": 0.01, "end": 0.05}


def test_a_table_may_name_files_and_have_empty_rows(files: list[Path], tmp_path: Path) -> None:
    sounds = [{"bytes": None, "path": str(files[0])}, {"bytes": b"", "path": None}]
    named, empty = open_source(str(write_table(tmp_path / "t.parquet", audio=sounds))).rows(0)
    assert len(samples(named)) == 1000
    with pytest.raises(AudioError, match=r"t\.parquet#1"):
        samples(empty)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.jsonl", '{"path": "x"}\n{"file": "x"}', "line 2: a row has a path"),
        ("a.jsonl", "[]", "line 1: a row has a path"),
        ("a.jsonl", "{", "line 1: not JSON"),
        ("a.jsonl", '{"path": "x", "start": "0"}', "line 1: a row has a path, and may have start and end in seconds"),
        ("a.parquet", "x", "cannot be read"),
    ],
)
def test_lists_that_are_none(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        open_source(str(tmp_path / name))


def test_tables_and_sounds_are_two_sources(files: list[Path], tmp_path: Path) -> None:
    folder = as_tables(files, tmp_path)
    (folder / "0.wav").write_bytes(files[0].read_bytes())
    with pytest.raises(ValueError, match="holds tables and sounds"):
        open_source(str(folder))
    next(folder.glob("train-00001*")).unlink()
    with pytest.raises(ValueError, match="holds 1 of 2 tables"):
        open_source(str(folder))


def test_the_hub_needs_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r'no such file or folder; .* pip install "aasp-features\[datasets\]"'):
        open_source("someone/sounds")


STREAM = """
import json, sys
import numpy as np
from aasp_features.train.data.sources import open_source
source = open_source("someone/sounds")
rows = [(row.name, row.metadata, len(np.concatenate(list(row.stream())))) for row in source.rows(int(sys.argv[1]))]
print(json.dumps([source.identity(), rows]))
"""


def test_a_data_set_is_streamed_from_the_hub(files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    folder = as_tables(files, tmp_path)
    tables = {f"data/{path.name}": path.read_bytes() for path in folder.iterdir()}
    said = []
    with LocalHub() as hub:
        hub.repositories["someone/sounds"] = Repository()
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache")}
        for first, more in ((0, {}), (3, {}), (0, {"README.md": b"# Sounds"})):
            hub.repositories["someone/sounds"].commit({**tables, **more})
            done = run_python(STREAM, first, env=environment)
            assert done.returncode == 0, done.stderr
            said.append(json.loads(done.stdout.splitlines()[-1]))
    rows = [[f"{number}.wav", facts, 1000 + number] for number, facts in enumerate(FACTS)]
    assert [own for _, own in said] == [rows, rows[3:], rows]
    assert said[0][0] != said[2][0]  # another revision
