"""A run's folder: one writer at a time, and metrics that read on after any cut."""

import errno
import fcntl
import json
from pathlib import Path

import pytest

from aasp_features.train.run.folder import (
    METRICS_FILE,
    STATE_FILE,
    cut_metrics,
    keep_state,
    lock_run,
    read_metrics,
    write_metrics,
)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    lock = lock_run(tmp_path / "run")
    with pytest.raises(ValueError, match="another process trains in"):
        lock_run(tmp_path / "run")
    lock.release()
    lock_run(tmp_path / "run").release()


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ValueError, match=r"the file system of .* has no locks"):
        lock_run(tmp_path)


def test_the_last_states_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 10, 200, 3000):  # a step may be repeated after a kill
        (tmp_path / "new").write_text(str(step))
        (tmp_path / "new").replace(tmp_path / STATE_FILE)
        keep_state(tmp_path, step, 0)
        keep_state(tmp_path, step, 2)
    assert {path.name: (path / STATE_FILE).read_text() for path in (tmp_path / "kept").iterdir()} == {
        "00000200": "200",
        "00003000": "3000",
    }
    assert [path.name for path in (tmp_path / "kept" / "00003000").iterdir()] == [STATE_FILE]
    keep_state(tmp_path, 20, 1)  # of a run that began again
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"00000020", "00000200", "00003000"}
    (tmp_path / "kept" / "00000021").write_text("")
    with pytest.raises(ValueError, match="00000021"):
        keep_state(tmp_path, 21, 1)


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be used as a run folder"):
        lock_run(tmp_path / "file")
    with pytest.raises(ValueError, match="cannot be used as a run folder"):
        lock_run(tmp_path / "file" / "run")


def test_what_a_killed_save_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / f".{STATE_FILE}.123").write_bytes(b"half")
    (tmp_path / "mine.txt").write_text("kept")
    lock_run(tmp_path).release()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "run.lock"]


def test_metrics_are_lines(tmp_path: Path) -> None:
    for step in (1, 2):
        write_metrics(tmp_path, {"step": step, "loss": 1 / 3})
    lines = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.333333}, {"step": 2, "loss": 0.333333}] == read_metrics(tmp_path)


def test_lines_after_the_saved_step_and_torn_ones_are_cut(tmp_path: Path) -> None:
    cut_metrics(tmp_path, 0)
    assert not (tmp_path / METRICS_FILE).exists()
    for step in (2, 4, 6):
        write_metrics(tmp_path, {"step": step})
    whole = (tmp_path / METRICS_FILE).read_text()
    (tmp_path / METRICS_FILE).write_text(whole + '{"step": 8, "lo')
    assert [line["step"] for line in read_metrics(tmp_path)] == [2, 4, 6]
    cut_metrics(tmp_path, 6)
    assert (tmp_path / METRICS_FILE).read_text() == whole
    cut_metrics(tmp_path, 5)
    assert (tmp_path / METRICS_FILE).read_text() == "".join(whole.splitlines(keepends=True)[:2])
