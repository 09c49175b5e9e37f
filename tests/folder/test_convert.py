"""Conversion keeps vectors, table and record, and replaces nothing that it should not."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aasp_features import AaSPEncoder
from aasp_features.folder import formats
from aasp_features.folder.convert import app, convert_results
from aasp_features.folder.formats import FormatError
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import OutputError
from aasp_features.folder.results import READERS, Results, ResultsError, read_results
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import find_sounds

FILES = [ending for ending in READERS if ending != ".lance"]


@pytest.fixture
def emb(small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    options = RunOptions(segment=1.0, dtype="float16")
    embed_sounds(small_encoder, find_sounds(sounds / "music"), tmp_path / "in" / "emb.npy", options)
    return tmp_path / "in" / "emb.npy"


def assert_same(one: Results, other: Results) -> None:
    assert one.vectors.dtype == other.vectors.dtype
    assert one.vectors.tobytes() == other.vectors.tobytes()
    assert {**one.record, "output": ""} == {**other.record, "output": ""}
    assert one.columns == other.columns
    assert list(one) == list(other)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_format_to_every_format(emb: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("h5py")
    expected = read_results(emb)
    for number, (ending, other) in enumerate(itertools.product(FILES, FILES)):
        folder = tmp_path / str(number)
        folder.mkdir()
        convert_results(emb, folder / f"a{ending}")
        convert_results(folder / f"a{ending}", folder / f"b{other}")
        for path in folder.glob("a.*"):
            path.unlink()
        assert_same(read_results(folder / f"b{other}"), expected)
        assert read_results(folder / f"b{other}").record["output"] == f"b{other}"


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".h5", ".safetensors", ".jsonl", ".npy"])
def test_vectors_without_a_record(tmp_path: Path, ending: str) -> None:
    pytest.importorskip({".parquet": "pyarrow", ".h5": "h5py"}.get(ending, "numpy"))
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32))
    (tmp_path / "a.csv").write_text("path,label\na.wav,x\nb.wav,\nc.wav,é\n", encoding="utf-8")
    convert_results(tmp_path / "a.npy", tmp_path / f"b{ending}")
    assert_same(read_results(tmp_path / f"b{ending}"), read_results(tmp_path / "a.npy"))


def test_beside_the_source_its_table_and_record_stay(emb: Path) -> None:
    before = contents(emb.parent)
    for ending in (".npz", ".safetensors", ".jsonl"):
        convert_results(emb, emb.with_suffix(ending))
        assert_same(read_results(emb.with_suffix(ending)), read_results(emb))
    after = contents(emb.parent)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"emb.npz", "emb.safetensors", "emb.jsonl"}
    convert_results(emb.with_suffix(".npz"), emb, overwrite=True)
    assert contents(emb.parent) == after


@pytest.mark.parametrize("name", ["b.npy", "b.csv", "b.json"])
def test_nothing_is_replaced_unless_asked(emb: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=rf"{name} exists; choose another output, or give --overwrite"):
        convert_results(emb, tmp_path / "b.npy")
    assert (tmp_path / name).read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"in", name}
    convert_results(emb, tmp_path / "b.npy", overwrite=True)
    assert_same(read_results(tmp_path / "b.npy"), read_results(emb))


def test_failing_leaves_the_old_file(emb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    convert_results(emb, tmp_path / "b.npz")
    before = (tmp_path / "b.npz").read_bytes()
    monkeypatch.setitem(formats.WRITERS, ".npz", fail)
    with pytest.raises(OutputError, match=r"b.npz could not be written \(no space left.*\); what was there is kept"):
        convert_results(emb, tmp_path / "b.npz", overwrite=True)
    assert (tmp_path / "b.npz").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", "b.npz", "b.csv", "b.json", "b.sounds.jsonl"}


def test_refusals(emb: Path, tmp_path: Path) -> None:
    for source, out, kind, sentence in (
        (emb, emb, OutputError, "would replace .*emb.npy, which is read"),
        (emb, tmp_path / "b.txt", FormatError, "the output must end in one of"),
        (emb, tmp_path / "gone" / "b.npy", OutputError, "gone does not exist"),
        (tmp_path / "gone.npy", tmp_path / "b.npy", ResultsError, "gone.npy: no such file"),
    ):
        with pytest.raises(kind, match=sentence):
            convert_results(source, out, overwrite=True)


def test_command(emb: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(emb), str(tmp_path / "b.npz")])
    assert (done.exit_code, done.stderr) == (0, f"{len(np.load(emb))} vectors in {tmp_path / 'b.npz'}\n")
    again = CliRunner().invoke(app, [str(emb), str(tmp_path / "b.npz")])
    assert again.exit_code == 2
    assert again.stderr.startswith(f"aasp-embed convert: {tmp_path / 'b.npz'} exists; choose another output")


def test_a_table_of_converted_results_grows(
    small_encoder: AaSPEncoder, emb: Path, sounds: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lancedb")
    expected, out = read_results(emb), tmp_path / "library.lance"
    convert_results(emb, out)
    for back in (read_results(out), convert_results(out, tmp_path / "back.npz"), read_results(tmp_path / "back.npz")):
        assert (back.vectors.tobytes(), list(back)) == (expected.vectors.tobytes(), list(expected))
        assert back.record["settings"] == expected.record["settings"]
    options, found = RunOptions(segment=1.0, dtype="float16"), find_sounds([sounds / "music", sounds / "voice"])
    updated = embed_sounds(small_encoder, found, out, options, update=True)
    assert (updated.resumed, len(found.sounds)) == (4, 6)
    convert_results(emb, tmp_path / "moved.parquet")
    assert embed_sounds(small_encoder, found, tmp_path / "moved.parquet", options, update=True).resumed == 4
    emb.with_name("emb.sounds.jsonl").unlink()
    with pytest.raises(OutputError, match="needs its record and"):
        convert_results(emb, tmp_path / "other.lance")


def test_a_table_that_is_replaced_gets_a_next_version(emb: Path, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    out = tmp_path / "library.lance"
    convert_results(emb, out)
    with pytest.raises(OutputError, match=r"library.lance exists; choose another output, or give --overwrite"):
        convert_results(emb, out)
    convert_results(emb, out, overwrite=True)
    assert lancedb.connect(tmp_path).open_table("library").version == 2
    assert list(read_results(out)) == list(read_results(emb))
    (tmp_path / "mine.lance").mkdir()
    (tmp_path / "mine.lance" / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"mine.lance exists and is no LanceDB table"):
        convert_results(emb, tmp_path / "mine.lance", overwrite=True)
    assert (tmp_path / "mine.lance" / "notes.txt").exists()
