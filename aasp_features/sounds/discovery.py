"""Paths from the command line -> the sounds they mean."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from aasp_features.audio import AUDIO_SUFFIXES, AudioError
from aasp_features.errors import AaSPError
from aasp_features.sounds.shards import SHARD_SUFFIXES, SOUND_SUFFIXES, shard_members
from aasp_features.sounds.sound import Sound


class NothingFoundError(AaSPError, ValueError):
    """A path that does not exist, or paths under which there is no sound; the sentence says which."""


class Discovery:
    """Finds sounds, each file once, in the order of the arguments.

    Attributes:
        sounds: what was found.
        problems: folders and shards that could not be read, with the reason.
    """

    def __init__(self) -> None:
        self.sounds: list[Sound] = []
        self.problems: dict[str, str] = {}
        self._seen: set[str] = set()

    def add_path(self, path: Path) -> None:
        """A file, whatever its ending; a folder, searched to any depth; a tar shard; or a pattern (``**/*.wav``).

        Folders are sorted and searched for known endings only; hidden files and folders are skipped, links to folders
        are followed once.

        Raises:
            NothingFoundError: no such path.
        """
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except PermissionError as error:
            self.problems[str(path)] = f"it may not be looked for ({error.strerror})."
            return
        if is_folder:
            self._add_files(self._search(path))
        elif exists:
            self._add_files([path])
        elif matches := sorted(glob.glob(str(path), recursive=True)):
            for match in matches:
                if os.path.isfile(match):
                    self._add_files([Path(match)])
        else:
            raise NothingFoundError(f"{path}: no such file or folder.")

    def add_part(self, path: Path, start: float | None, end: float | None) -> None:
        """A part of a file; the same file may come many times."""
        self.sounds.append(Sound(path, start, end))

    def _add_files(self, files: Iterable[Path]) -> None:
        for file in files:
            real = os.path.realpath(file)
            if real not in self._seen:
                self._seen.add(real)
                self._add_file(file)

    def _add_file(self, file: Path) -> None:
        if file.suffix.lower() not in SHARD_SUFFIXES:
            self.sounds.append(Sound(file))
            return
        try:
            self.sounds.extend(shard_members(file))
        except AudioError as error:
            self.problems[str(file)] = str(error)

    def _search(self, folder: Path) -> Iterator[Path]:
        seen: set[str] = set()
        for directory, folders, files in os.walk(folder, followlinks=True, onerror=self._unreadable):
            if os.path.realpath(directory) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(directory))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith(".") and Path(name).suffix.lower() in SOUND_SUFFIXES | SHARD_SUFFIXES:
                    yield Path(directory) / name

    def _unreadable(self, error: OSError) -> None:
        self.problems[str(error.filename)] = f"this folder may not be read ({error.strerror})."


def find_sounds(paths: str | Path | Iterable[str | Path]) -> Discovery:
    """Everything that ``paths`` mean, or one path; see ``Discovery.add_path``.

    Raises:
        NothingFoundError: see the class.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    found = Discovery()
    for path in given:
        found.add_path(path)
    return require_sounds(found, ", ".join(map(str, given)) or "an empty list of paths")


def require_sounds(found: Discovery, where: str) -> Discovery:
    """``found``, if there is a sound in it.

    Raises:
        NothingFoundError: there is none; the sentence tells the problems, too.
    """
    if not found.sounds:
        known = " ".join(sorted(AUDIO_SUFFIXES))
        problems = "".join(f" {name}: {reason}" for name, reason in found.problems.items())
        raise NothingFoundError(f"no sound found in {where}; known endings are {known}.{problems}")
    return found
