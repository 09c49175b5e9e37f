"""What is written in any format is read back; what is missing, damaged or not ours is said in a sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aasp_features import AaSPEncoder
from aasp_features.folder.formats import WRITERS, FormatError
from aasp_features.folder.options import RunOptions
from aasp_features.folder.results import READERS, Results, ResultsError, read_results
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import Discovery, find_sounds

ENDINGS = [".npy", *WRITERS]
OPTIONS = {
    "sounds": RunOptions(),
    "segments": RunOptions(segment=1.0, overlap=0.25, dtype="float16"),
    "frames": RunOptions(frames=True),
}


@pytest.fixture(scope="module")
def found(sounds: Path) -> Discovery:
    found = find_sounds([sounds / "music"])
    found.add_part(sounds / "music" / "bell.flac", 0.5, None)
    return found


@pytest.fixture(scope="module", params=list(OPTIONS))
def written(
    small_encoder: AaSPEncoder,
    found: Discovery,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Path:
    pytest.importorskip("pyarrow")
    pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp(request.param)
    for ending in ENDINGS:
        (folder / ending[1:]).mkdir()
        embed_sounds(small_encoder, found, folder / ending[1:] / f"emb{ending}", OPTIONS[request.param])
    return folder


@pytest.fixture
def emb(tmp_path: Path, small_encoder: AaSPEncoder, found: Discovery) -> Path:
    embed_sounds(small_encoder, found, tmp_path / "emb.npy")
    return tmp_path / "emb.npy"


def test_every_written_format_has_a_reader() -> None:
    assert set(READERS) == {*ENDINGS, ".lance"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_read_back(written: Path, ending: str) -> None:
    path = written / ending[1:] / f"emb{ending}"
    expected, record = np.load(written / "npy" / "emb.npy"), json.loads(path.with_suffix(".json").read_text())
    if ending not in (".npy", ".safetensors"):  # these hold their own table
        path.with_suffix(".csv").unlink()
    read = read_results(path)
    assert read.vectors.dtype == expected.dtype
    np.testing.assert_array_equal(read.vectors, expected)
    assert read.record == {name: value for name, value in record.items() if name not in ("files", "sha256")}
    table = read_results(written / "npy" / "emb.npy").table
    assert read.columns == list(table)
    for name, values in table.items():
        assert read.table[name].dtype == values.dtype
        if values.dtype == object:
            assert read.table[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(read.table[name], values, atol=5e-7)  # six digits in a .csv


def test_iterates_like_a_table(emb: Path, found: Discovery) -> None:
    lines = list(read_results(emb))
    assert [line[:3] for line in lines] == [[row, sound.name, sound.start] for row, sound in enumerate(found.sounds)]
    assert all(line[3] is None for line in lines)


def test_vectors_are_mapped(emb: Path) -> None:
    assert isinstance(read_results(emb).vectors, np.memmap)


def test_vectors_with_any_table_of_paths_are_accepted(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "mine.csv").write_text('label,path\nx,a.wav\ny,"b, c.wav"\n,d.wav\n')
    read = read_results(tmp_path / "mine.npy")
    assert isinstance(read, Results)
    assert (read.record, read.columns) == ({}, ["row", "label", "path"])
    assert list(read) == [[0, "x", "a.wav"], [1, "y", "b, c.wav"], [2, "", "d.wav"]]


def test_renamed_and_moved_results_are_read(emb: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for ending in (".npy", ".csv", ".json"):
        shutil.move(emb.with_suffix(ending), tmp_path / "there" / f"other{ending}")
    assert read_results(tmp_path / "there" / "other.npy").record["checkpoint"] == "aasp-test-random-1"


@pytest.mark.parametrize("ending", ENDINGS)
def test_half_a_file_is_damaged(written: Path, tmp_path: Path, ending: str) -> None:
    shutil.copytree(written / ending[1:], tmp_path / "copy")
    path = tmp_path / "copy" / f"emb{ending}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ResultsError, match=rf"emb{ending} is damaged, or "):
        read_results(path)


def test_what_is_missing_or_another_is_said(emb: Path, tmp_path: Path) -> None:
    for path, kind, sentence in (
        (tmp_path / "gone.npy", ResultsError, r"gone.npy: no such file; write it with aasp-embed"),
        (tmp_path / "emb.csv", FormatError, r"a file of vectors must end in one of .npy, .*, got .*emb.csv"),
    ):
        with pytest.raises(kind, match=sentence):
            read_results(path)
    table = emb.with_suffix(".csv").read_text()
    emb.with_suffix(".csv").unlink()
    with pytest.raises(ResultsError, match=r"its table .*emb.csv is missing; put it beside the vectors"):
        read_results(emb)
    lines = table.splitlines(keepends=True)
    for damaged, sentence in {
        "".join(lines[:-1]): "has 5 vectors, and its table of 4 lines",
        "".join([lines[0], *lines[:0:-1]]): "has 5 vectors, and its table of 5 lines has other rows",
        table.replace("path", "file"): "the table of .*emb.npy has no column path",
        table + "4,": "emb.csv is damaged, or no table of aasp-embed",
        table.replace("\n0,", "\nzero,"): "emb.csv is damaged, or no table of aasp-embed",
        "": "has no column path",
    }.items():
        emb.with_suffix(".csv").write_text(damaged)
        with pytest.raises(ResultsError, match=sentence):
            read_results(emb)


def test_another_record_is_said(emb: Path, tmp_path: Path) -> None:
    np.save(emb, np.zeros_like(np.load(emb)))
    with pytest.raises(ResultsError, match=r"emb.npy is damaged, or of another run than .*emb.json; restore both"):
        read_results(emb)
    emb.with_suffix(".json").write_text("{}")
    with pytest.raises(ResultsError, match=r"emb.json is damaged, or no record of aasp-embed"):
        read_results(emb)


@pytest.mark.parametrize(("shape", "dtype"), [((4,), "f4"), ((4, 2), "i8"), ((4, 2, 2), "f4")])
def test_other_arrays_are_not_vectors(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, dtype))
    (tmp_path / "a.csv").write_text("path\n1\n2\n3\n4\n")
    with pytest.raises(ResultsError, match=r"a.npy holds .* of shape .*; a row for each sound is needed"):
        read_results(tmp_path / "a.npy")
