"""One run in every format, read back by the libraries that users have."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors import safe_open

from aasp_features import AaSPEncoder
from aasp_features.folder.formats import WRITERS, FormatError, check_format
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import Discovery, find_sounds


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
    vectors = np.array([line["vector"] for line in lines[1:]])
    return vectors, [line["path"] for line in lines[1:]], lines[0]["metadata"]


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
    assert json.loads(metadata["rows"]) == len(expected)
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
