"""Paths from the command line -> the sound files they mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from aasp_features.audio import AUDIO_SUFFIXES, AV_SUFFIXES


class NothingFoundError(ValueError):
    """A path that does not exist, or paths under which there is no sound; the sentence says which."""


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Sound files in the order of the arguments, each folder sorted; a file that is named twice comes once.

    Folders are searched to any depth, for known endings only; hidden files and folders are skipped, links to folders
    are followed once. A file that is named itself is taken whatever its ending.

    Raises:
        NothingFoundError: see the class.
    """
    given = list(paths)
    for path in given:
        if not path.exists():
            raise NothingFoundError(f"{path}: no such file or folder.")
    found: dict[str, Path] = {}
    for path in given:
        for file in _search(path) if path.is_dir() else [path]:
            found.setdefault(os.path.realpath(file), file)
    if not found:
        raise NothingFoundError(
            f"no sound found in {', '.join(map(str, given))}; known endings are {' '.join(sorted(AUDIO_SUFFIXES))}."
        )
    return list(found.values())


def _search(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for directory, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(directory) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(directory))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES | AV_SUFFIXES:
                yield Path(directory) / name
