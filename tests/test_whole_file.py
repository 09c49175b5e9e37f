"""Files are the new ones or the old ones, wherever a write fails."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from aasp_features.whole_file import whole_file, write_whole


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, "old")
    with suppress(ZeroDivisionError), whole_file(path) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass  # nothing was written
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a": "old"}
    write_whole(path, "new")
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a": "new"}


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    write_whole(tmp_path / "a", "new")
    assert calls == ["fsync", "replace"]
