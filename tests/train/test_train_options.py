"""Options of several commands."""

from pathlib import Path

import pytest

from aasp_features.train.options import check_folder, checked_device, seconds_of


def test_minutes() -> None:
    assert seconds_of("--max-time", None) is None
    assert seconds_of("--max-time", 1.5, above_zero=True) == 90
    assert seconds_of("--stop-after", 0) == 0
    for minutes in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="--stop-after must be at least 0 minutes"):
            seconds_of("--stop-after", minutes)
    with pytest.raises(ValueError, match="--max-time must be above 0 minutes, got 0"):
        seconds_of("--max-time", 0, above_zero=True)


def test_devices() -> None:
    assert checked_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="device must be one that torch can use here"):
        checked_device("gpu")


def test_folders_of_results(tmp_path: Path) -> None:
    check_folder("--out", None)
    check_folder("--out", tmp_path / "deep" / "new")
    (tmp_path / "there").mkdir()
    check_folder("--out", tmp_path / "there")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]  # nothing that was tried stays
    (tmp_path / "file").touch()
    wrong = {tmp_path / "file": "File exists", tmp_path / "file" / "out": "Not a directory"}
    for folder, reason in wrong.items():
        with pytest.raises(ValueError, match=f"--out {folder} cannot be written \\({reason}.*; name another folder"):
            check_folder("--out", folder)
