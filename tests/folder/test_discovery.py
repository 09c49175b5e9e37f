"""Which files a command line means."""

import os
from pathlib import Path

import pytest

from aasp_features.folder.discovery import NothingFoundError, find_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.FLAC", "sub/deep/c.mp3", "sub/notes.txt", ".hidden/d.wav", ".e.wav", "ü, x\n.ogg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(files: list[Path], root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in files]


def test_folders_are_searched_in_order(tree: Path) -> None:
    assert names(find_files([tree]), tree) == ["a.FLAC", "b.wav", "ü, x\n.ogg", "sub/deep/c.mp3"]


def test_named_files_come_in_the_order_given_whatever_their_ending(tree: Path) -> None:
    found = find_files([tree / "sub/notes.txt", tree / "b.wav", tree])
    assert names(found, tree) == ["sub/notes.txt", "b.wav", "a.FLAC", "ü, x\n.ogg", "sub/deep/c.mp3"]


def test_links_that_loop_end(tree: Path) -> None:
    os.symlink(tree, tree / "sub" / "again")
    os.symlink(tree / "b.wav", tree / "sub" / "same.wav")
    assert len(find_files([tree])) == 4


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(NothingFoundError, match=r"no sound found in .*known endings are"):
        find_files([tmp_path])
    with pytest.raises(NothingFoundError, match="no such file or folder"):
        find_files([tmp_path / "gone"])
