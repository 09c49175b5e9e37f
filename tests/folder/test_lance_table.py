"""A LanceDB table has the rows of the other formats, and grows in place."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import FRAMES, SEGMENTS, embed, grow, stop_after
from helpers import read_csv

from aasp_features import AaSPEncoder
from aasp_features.folder import OutputError, RunOptions, embed_sounds, find_sounds, lance_table, run
from aasp_features.folder.run import InterruptedRun

pytestmark = pytest.mark.skipif(find_spec("lancedb") is None, reason="lancedb is not installed")


def table(out: Path) -> Any:
    import lancedb

    return lancedb.connect(out.parent).open_table(out.stem)


def rows(out: Path) -> dict[tuple[str, ...], np.ndarray]:
    """The vectors by path and times, as the columns of the ``.csv`` have them."""
    return {
        tuple(f"{row[name]:.6f}" if isinstance(row[name], float) else str(row[name]) for name in facts): vector
        for row in table(out).to_arrow().to_pylist()
        for facts in [[name for name in row if name not in ("id", "number", "sound", "vector")]]
        for vector in [np.array(row["vector"], np.float32)]
    }


def check_equal(out: Path, folder: Path) -> None:
    """The rows are those of a run with another format."""
    vectors, found = np.load(folder / "emb.npy"), rows(out)
    lines = [tuple(value for name, value in row.items() if name != "row") for row in read_csv(folder / "emb.csv")]
    assert set(found) == set(lines)
    np.testing.assert_allclose(np.stack([found[line] for line in lines]), vectors, atol=1e-5)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("options", [RunOptions(pooling="mean"), FRAMES, SEGMENTS], ids=["clips", "frames", "segments"])
def test_a_table_grows_in_place(small_encoder: AaSPEncoder, growing: Path, tmp_path: Path, options: RunOptions) -> None:
    out = tmp_path / "library.lance"
    first = embed_sounds(small_encoder, find_sounds(growing), out, options)
    assert (first.failures, [row["path"] for row in read_csv(tmp_path / "library.errors.csv")]) == (
        1,
        [str(growing / "broken.wav")],
    )
    embed(small_encoder, [growing], tmp_path / "before", options)
    check_equal(out, tmp_path / "before")
    assert embed_sounds(small_encoder, find_sounds(growing), out, options).failures == 1
    assert table(out).version == 1
    grow(growing)
    with pytest.raises(
        OutputError, match=r"4 of 6 have no rows yet, and 3 that have rows are gone or changed; give --up"
    ):
        embed_sounds(small_encoder, find_sounds(growing), out, options)
    with stop_after(1), pytest.raises(InterruptedRun):
        embed_sounds(small_encoder, find_sounds(growing), out, options, update=True)
    assert table(out).version == 1  # as it was, until all is done
    assert embed_sounds(small_encoder, find_sounds(growing), out, options, update=True).resumed == 3
    assert table(out).version == 2  # rows added and deleted at once
    embed(small_encoder, [growing], tmp_path / "after", options)
    check_equal(out, tmp_path / "after")
    assert not (tmp_path / "library.errors.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after", "before", "growing", "library.lance"]


def test_a_process_that_dies_after_the_commit(
    small_encoder: AaSPEncoder, growing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "library.lance"
    for update in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(run, "clear", lambda folder: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                embed_sounds(small_encoder, find_sounds(growing), out, update=update)
        version = table(out).version
        again = embed_sounds(small_encoder, find_sounds(growing), out, update=update)
        assert (again.rows, table(out).version) == (len(rows(out)), version)
        grow(growing) if not update else None
    for path in growing.iterdir():
        path.unlink() if path.name > "b" else None
    assert embed_sounds(small_encoder, find_sounds(growing), out, update=True).rows == 2  # rows are only deleted
    assert {Path(name).name for name, *_ in rows(out)} == {"0.wav", "a.wav"}
    before = table(out).version
    embed_sounds(small_encoder, find_sounds(growing), out, overwrite=True)
    assert (len(rows(out)), table(out).version) == (2, before + 1)


def test_a_process_that_dies_before_the_commit(
    small_encoder: AaSPEncoder, growing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of failures is there already."""
    out, found = tmp_path / "library.lance", find_sounds(growing)
    with monkeypatch.context() as patch:
        patch.setattr(lance_table, "_schema", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embed_sounds(small_encoder, found, out)
    assert (tmp_path / "library.errors.csv").exists()
    assert embed_sounds(small_encoder, found, out).failures == 1


def test_a_csv_of_the_user_beside_a_table_stays(small_encoder: AaSPEncoder, growing: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "library.lance", tmp_path / "library.errors.csv"
    embed_sounds(small_encoder, find_sounds(growing / "a.wav"), out)
    notes.write_text("path,error,seen by\na.wav,hiss,me\n")
    with pytest.raises(OutputError, match=r"library.errors.csv exists and is of something else"):
        embed_sounds(small_encoder, find_sounds(growing), out, update=True)
    assert notes.read_text().endswith("me\n")


def test_what_is_no_table_of_this_run_is_left_alone(small_encoder: AaSPEncoder, growing: Path, tmp_path: Path) -> None:
    found, out = find_sounds(growing / "a.wav"), tmp_path / "library.lance"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(OutputError, match="exists and is no LanceDB table"):
        embed_sounds(small_encoder, found, out)
    import lancedb

    other = lancedb.connect(tmp_path).create_table("other", [{"a": 1}])
    with pytest.raises(OutputError, match="is a table of something else"):
        embed_sounds(small_encoder, found, tmp_path / "other.lance", update=True)
    assert other.count_rows() == 1
    embed_sounds(small_encoder, found, tmp_path / "cls.lance", RunOptions(pooling="cls"))
    with pytest.raises(OutputError, match="rows of other settings: pooling was cls, now mean"):
        embed_sounds(small_encoder, found, tmp_path / "cls.lance", RunOptions(pooling="mean"), update=True)
    (tmp_path / "cut.lance" / "data").mkdir(parents=True)  # a first commit that was cut off
    (tmp_path / "cut.lance" / "data" / "x.lance").touch()
    assert embed_sounds(small_encoder, found, tmp_path / "cut.lance").rows == 1
    (tmp_path / "mine.errors.csv").write_text("my own")
    with pytest.raises(OutputError, match=r"mine.errors.csv exists and is of something else"):
        embed_sounds(small_encoder, found, tmp_path / "mine.lance")
    record = json.loads(table(tmp_path / "cls.lance").schema.metadata[b"aasp_features"])
    assert record["settings"]["pooling"] == "cls"
