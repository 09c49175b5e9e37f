"""Tar shards of sounds, as WebDataset has them."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aasp_features.audio.reading import AUDIO_SUFFIXES, AudioError, open_path
from aasp_features.sounds.sound import Sound

SHARD_SUFFIXES = frozenset({".tar"})
PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
MAX_NAME = 4096  # characters, as of any path
MAX_MEMBER_BYTES = 2**62  # larger numbers fit no file system
MAX_LINKS = 16  # from link to link


class ShardReader:
    """Sounds of a shard, in order; each can be read on its own, as its position in the shard is known.

    Attributes:
        sounds: members, and links to members, with the ending of a sound.
        problems: shard or members that could not be read, with the reason.
        passed_over: names of the other files.
    """

    def __init__(self, path: Path) -> None:
        self.sounds: list[Sound] = []
        self.problems: dict[str, str] = {}
        self.passed_over: list[str] = []
        self._path = path
        try:
            self._read()
        except AudioError as error:
            self.problems[str(path)] = str(error).removeprefix(f"{path}: ")
        except Exception as error:  # tarfile raises many kinds for damaged headers, MemoryError too
            reason = (str(error) or type(error).__name__).splitlines()[0]
            kept = f"; {len(self.sounds)} sounds in front of that are read" if self.sounds else ""
            self.problems[str(path)] = f"not a tar shard that can be read ({reason}){kept}."

    def _read(self) -> None:
        with open_path(self._path, str(self._path)) as file:
            if (packed := PACKED.get(file.read(2))) is not None:
                raise AudioError(f"packed by {packed}, so no single member can be read; unpack it to a plain .tar.")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as shard:
                self._add_members(shard)

    def _add_members(self, shard: tarfile.TarFile) -> None:
        found: list[tuple[tarfile.TarInfo, tarfile.TarInfo]] = []  # a member, and what it is a hard link to, or itself
        latest: dict[str, tarfile.TarInfo] = {}  # by name
        try:
            for member in _forward(shard):
                target = latest.get(posixpath.normpath(member.linkname), member) if member.islnk() else member
                latest[posixpath.normpath(member.name)] = target
                found.append((member, target))
        finally:  # those in front of a damaged header are good
            for number, (member, target) in enumerate(found, start=1):
                self._add_member(number, member, _end_of_links(target, latest))

    def _add_member(self, number: int, member: tarfile.TarInfo, target: tarfile.TarInfo | None) -> None:
        if not (member.isfile() or member.islnk() or member.issym()):
            return
        if posixpath.splitext(member.name)[1].lower() not in AUDIO_SUFFIXES:
            self.passed_over.append(member.name)
        elif "\0" in member.name or len(member.name) > MAX_NAME:
            reason = f"its name is {len(member.name)} characters long or holds a NUL, which no file's may."
            self.problems[f"{self._path}, member {number}"] = reason
        elif target is None:
            reason = f"a link to {member.linkname[:MAX_NAME]}, which is no file of this shard."
            self.problems[f"{self._path}/{member.name}"] = reason
        else:
            data = target.offset_data, target.size, _sparse_map(target)
            self.sounds.append(Sound(self._path, None, None, member.name, *data))


def _forward(shard: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members, each behind the one before; a size below 0 would lead tarfile in circles."""
    last = -1
    for member in shard:
        if member.offset <= last or not 0 <= member.size <= MAX_MEMBER_BYTES:
            raise AudioError(f"damaged: the header at byte {member.offset} states a size that no file has.")
        last = member.offset
        yield member


def _sparse_map(member: Any) -> tuple[tuple[int, int], ...] | None:
    """Return positions and lengths of the stored parts, without the zeros of short maps; None if all is stored."""
    if member.sparse is None:
        return None
    return tuple((int(start), int(length)) for start, length in member.sparse if length)


def _end_of_links(member: tarfile.TarInfo, latest: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """Return the member that is a file, after symbolic links, whose target may lie behind them; None without one."""
    for _ in range(MAX_LINKS):
        if member.isfile():
            return member
        name = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
        if not member.issym() or name not in latest:
            return None
        member = latest[name]
    return None
