"""The table of the rows, and one run in every format, read back by the libraries that users have."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors import safe_open

from aasp_features import AaSPEncoder
from aasp_features.folder.formats import WRITERS, FormatError, RowTable, check_format, plain_text, write_csv
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.folder.state import Outcome
from aasp_features.sounds.discovery import Discovery, find_sounds
from aasp_features.sounds.sound import Sound


@pytest.fixture(scope="module")
def found(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Discovery:
    folder = tmp_path_factory.mktemp("odd")
    name = b'caf\xe9, "x".wav'.decode("utf-8", "surrogateescape")
    with open(folder / name, "wb") as file:
        soundfile.write(file, np.zeros(8000), 16000, format="WAV")
    (folder / "text.wav").write_text("not a sound")
    return find_sounds([sounds, folder])


def read_back(path: Path) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    """Vectors, paths, metadata."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            return file["embeddings"], list(file["path"]), json.loads(str(file["metadata"]))
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        return np.stack(table["vector"].to_numpy()), table["path"].to_pylist(), metadata
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return file["embeddings"][:], list(file["path"].asstr()), dict(file.attrs)
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            return file.get_tensor("embeddings"), [], file.metadata()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    metadata = json.loads(path.with_suffix(".json").read_text())
    vectors = np.array([line["vector"] for line in lines])
    return vectors, [line["path"] for line in lines], {**metadata, "rows": json.dumps(metadata["rows"])}


@pytest.mark.parametrize(("frames", "dtype"), [(False, "float32"), (True, "float16")])
@pytest.mark.parametrize("ending", list(WRITERS))
def test_every_format_holds_the_same(
    small_encoder: AaSPEncoder, found: Discovery, tmp_path: Path, ending: str, frames: bool, dtype: str
) -> None:
    pytest.importorskip({".parquet": "pyarrow", ".h5": "h5py"}.get(ending, "numpy"))
    options = RunOptions(frames=frames, dtype=dtype)
    embed_sounds(small_encoder, found, tmp_path / "a.npy", options)
    embed_sounds(small_encoder, found, tmp_path / f"b{ending}", options)
    expected = np.load(tmp_path / "a.npy")
    vectors, paths, metadata = read_back(tmp_path / f"b{ending}")
    np.testing.assert_array_equal(vectors.astype(dtype), expected)
    assert metadata["checkpoint"] == small_encoder.config.name
    assert int(metadata["rows"]) == len(expected)
    if paths:
        assert len(paths) == len(expected)
        assert paths[-1].endswith('caf\\xe9, "x".wav')


def test_endings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    with pytest.raises(FormatError, match=r"must end in one of .npy, .npz, .*, got .*emb.txt"):
        check_format(tmp_path / "emb.txt")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FormatError, match=r'needs pyarrow: pip install "aasp-features\[parquet\]"'):
        check_format(tmp_path / "emb.parquet")


SOUNDS = [Sound(Path("a.wav")), Sound(Path("b.wav")), Sound(Path("c.wav"), 0.5, None)]
OUTCOMES = [Outcome(1, 2.5, 8000, 2), Outcome(error="broken"), Outcome(1, 0.25, 16000, 1)]


def test_a_row_for_each_sound_that_has_one() -> None:
    table = RowTable(SOUNDS, lambda: iter(OUTCOMES))
    assert table.columns == ["row", "path", "start", "end", "seconds", "sample_rate", "channels"]
    assert list(table) == [[0, "a.wav", None, None, 2.5, 8000, 2], [1, "c.wav", 0.5, None, 0.25, 16000, 1]]
    assert list(table) == list(table)
    assert list(table.failures()) == [["b.wav", "broken"]]


def test_a_row_for_each_frame() -> None:
    """17 frames of log-mel: a whole column, centre 0.0875 s, and one of a frame at 0.16 s, centre 0.1725 s."""
    table = RowTable(SOUNDS[:1], lambda: iter([Outcome(2, 0.2, 16000, 1, frames=17)]), RunOptions(frames=True))
    assert table.columns == ["row", "path", "time"]
    assert list(table) == [[0, "a.wav", 0.0875], [1, "a.wav", 0.1725]]


def test_csv_keeps_odd_names(tmp_path: Path) -> None:
    name = b'caf\xe9, "x"\n.wav'.decode("utf-8", "surrogateescape")
    write_csv(tmp_path / "t.csv", ["path", "seconds"], [[name, 1 / 3]])
    with (tmp_path / "t.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert list(csv.reader(file)) == [["path", "seconds"], [name, "0.333333"]]
    assert plain_text(name) == 'caf\\xe9, "x"\n.wav'


def test_json_lines_are_rows_only_for_other_libraries(
    small_encoder: AaSPEncoder, found: Discovery, tmp_path: Path
) -> None:
    embed_sounds(small_encoder, found, tmp_path / "a.jsonl")
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    pandas = pytest.importorskip("pandas")
    table = pandas.read_json(tmp_path / "a.jsonl", lines=True)
    assert (len(table), list(table.columns)) == (rows, ["row", "path", "seconds", "sample_rate", "channels", "vector"])
    assert table["path"].notna().all()
