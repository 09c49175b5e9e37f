"""Rows in any order become an array without gaps; failures leave what was there."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aasp_features.folder.writers import OutputError, RowFile, check_writable, write_table


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.integers(1, 40), st.data())
def test_rows_in_any_order(tmp_path: Path, rows: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, unique=True))
    values = np.random.default_rng(rows).normal(size=(rows, 5)).astype(np.float32)
    path = tmp_path / "out.npy"
    with RowFile(path, rows) as file:
        for place in places:
            file.write(place, values[place])
        assert file.finish() == sorted(places)
    np.testing.assert_array_equal(np.load(path), values[sorted(places)])
    assert np.load(path, mmap_mode="r").dtype == np.dtype("<f4")
    assert os.listdir(tmp_path) == ["out.npy"]


def test_no_rows_at_all(tmp_path: Path) -> None:
    with RowFile(tmp_path / "out.npy", 3) as file:
        file.finish()
    assert np.load(tmp_path / "out.npy").shape == (0, 0)


def test_an_interrupted_run_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    np.save(path, np.ones(3))
    with pytest.raises(KeyboardInterrupt), RowFile(path, 10) as file:  # noqa: PT012
        file.write(0, np.zeros(4, np.float32))
        raise KeyboardInterrupt
    np.testing.assert_array_equal(np.load(path), np.ones(3))
    assert os.listdir(tmp_path) == ["out.npy"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file size stands for a full disk: both make ``write`` fail."""
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"), RowFile(tmp_path / "out.npy", 100) as file:  # noqa: PT012
            for place in range(100):
                file.write(place, np.zeros(1000, np.float32))
            file.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == []


def test_table(tmp_path: Path) -> None:
    import csv

    rows = [[0, "a, b.wav", 1.5], [1, 'ü "quoted"\n.wav', 2]]
    write_table(tmp_path / "t.csv", ["row", "path", "seconds"], rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["row", "path", "seconds"], *([str(x) for x in row] for row in rows)]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    for path, sentence in [
        (tmp_path / "emb.txt", "must end in .npy"),
        (tmp_path / "folder.npy", "is a folder"),
        (tmp_path / "gone" / "emb.npy", "does not exist; make it first"),
    ]:
        with pytest.raises(OutputError, match=sentence):
            check_writable(path)
    check_writable(tmp_path / "emb.npy")
    assert os.listdir(tmp_path) == ["folder.npy"]
