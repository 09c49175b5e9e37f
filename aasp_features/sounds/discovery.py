"""Paths of the command line -> sounds: files, folders, patterns, shards."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, takewhile
from pathlib import Path

from aasp_features.audio.reading import AUDIO_SUFFIXES, on_disk
from aasp_features.errors import AaSPError
from aasp_features.sounds.shards import SHARD_SUFFIXES, ShardReader
from aasp_features.sounds.sound import Sound


class NothingFoundError(AaSPError, ValueError):
    """A path that does not exist, or paths without a sound; the sentence names them."""


class Discovery:
    """Sounds that were found, in the order of the arguments: one for every name, also where names share a file.

    Attributes:
        sounds: in order.
        problems: folders, shards and their members that could not be read, with the reason.
        passed_over: number of files in folders and shards whose ending is not known, by ending.
    """

    def __init__(self) -> None:
        self.sounds: list[Sound] = []
        self.problems: dict[str, str] = {}
        self.passed_over: Counter[str] = Counter()

    def add_path(self, path: Path) -> None:
        """Add a file of any ending, a folder, searched to any depth, a tar shard, or a pattern (``**/*.wav``).

        Folders are sorted and searched for known endings. Hidden files and folders are skipped. Links are followed,
        except back to a folder that contains them.

        Raises:
            NothingFoundError: no such path.
        """
        path = Path(on_disk(path))
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except PermissionError as error:
            self.problems[str(path)] = f"it may not be looked for ({error.strerror})."
            return
        except OSError as error:  # such as a name that is too long
            raise NothingFoundError(f"{str(path)[:200]}: no such file or folder ({error.strerror}).") from error
        if is_folder:
            self._search(path)
        elif exists:
            self._add_file(path)
        elif matches := _matches(path):
            for match in filter(os.path.isfile, matches):
                self._add_file(match)
        else:
            raise NothingFoundError(f"{path}: no such file or folder.")

    def add_part(self, path: Path, start: float | None, end: float | None) -> None:
        """Add a part of a file; the same file may come many times."""
        self.sounds.append(Sound(path, start, end))

    def _add_file(self, file: Path) -> None:
        if file.suffix.lower() not in SHARD_SUFFIXES:
            self.sounds.append(Sound(file))
            return
        shard = ShardReader(file)
        self.sounds.extend(shard.sounds)
        self.problems.update(shard.problems)
        self.passed_over.update(map(_ending, shard.passed_over))

    def _search(self, root: Path) -> None:
        for directory, files in _walk(root, self._unreadable):
            for name in files:
                if Path(name).suffix.lower() in AUDIO_SUFFIXES | SHARD_SUFFIXES:
                    self._add_file(Path(directory, name))
                else:
                    self.passed_over[_ending(name)] += 1

    def _unreadable(self, error: OSError) -> None:
        self.problems[str(error.filename)] = f"this folder may not be read ({error.strerror})."


def _walk(root: Path, unreadable: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield ``root`` and the folders below it with their files' names, sorted, without hidden ones and link loops."""
    for directory, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
        links = {name for name in folders if os.path.islink(os.path.join(directory, name))}
        loops = {name for name in links if _is_loop(Path(directory, name), root)}
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in loops)
        yield directory, sorted(name for name in files if not name.startswith("."))


def _matches(pattern: Path) -> list[Path]:
    """Return the files of a pattern, sorted; ``glob``'s own ``**`` follows link loops."""
    root = Path(pattern.anchor)
    reached = {root}
    for part in pattern.parts[len(root.parts) :]:
        if part == "**":
            reached = {Path(way, name) for start in reached for way, files in _walk(start) for name in ("", *files)}
        else:
            found = (glob.glob(os.path.join(glob.escape(str(start)), part)) for start in reached)
            reached = set(map(Path, chain.from_iterable(found)))
    return sorted(reached, key=str)


def _is_loop(folder: Path, root: Path) -> bool:
    """Return whether the path from ``root`` to a folder passes a folder twice, by links."""
    way = [folder, *takewhile(lambda parent: parent != root, folder.parents), root]
    return folder != root and len({os.path.realpath(passed) for passed in way}) < len(way)


def _ending(name: str) -> str:
    """Return the ending of a name, in lower case; ``.tar.gz`` is one."""
    stem, ending = os.path.splitext(name.lower())
    return ".tar" + ending if stem.endswith(".tar") else ending or "without ending"


def find_sounds(paths: str | Path | Iterable[str | Path]) -> Discovery:
    """Find the sounds of one path, or of several; see ``Discovery.add_path``.

    Raises:
        NothingFoundError: see the class.
    """
    given, found = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)], Discovery()
    for path in given:
        found.add_path(path)
    return require_sounds(found, ", ".join(map(str, given)) or "an empty list of paths")


def named_sounds(names: Iterable[tuple[str | os.PathLike[str], float | None, float | None]]) -> list[Sound]:
    """Return the sounds of names in tables, with start and end in seconds: files, members of tar shards, or parts.

    Each shard is listed once. A name that a shard has twice is its last member.
    """
    shards: dict[Path, dict[str, Sound]] = {}
    sounds = []
    for name, start, end in names:
        path = Path(name)
        shard = next((parent for parent in path.parents if _is_shard(parent)), None)
        if shard is not None and shard not in shards:
            shards[shard] = {str(Path(sound.name)): sound for sound in ShardReader(shard).sounds}  # without ./
        inside = shards[shard] if shard is not None else {}
        sounds.append(replace(inside.get(str(path), Sound(path)), start=start, end=end))
    return sounds


def _is_shard(path: Path) -> bool:
    return path.suffix.lower() in SHARD_SUFFIXES and path.is_file()


def require_sounds(found: Discovery, where: str) -> Discovery:
    """Return ``found`` if there is a sound in it.

    Raises:
        NothingFoundError: there is none; the sentence also tells the problems.
    """
    if not found.sounds:
        known = " ".join(sorted(AUDIO_SUFFIXES))
        problems = "".join(f" {name}: {reason}" for name, reason in found.problems.items())
        raise NothingFoundError(f"no sound found in {where}; known endings are {known}.{problems}")
    return found
