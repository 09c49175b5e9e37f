"""A file -> its decoder, chosen by the file's first bytes; its name is not believed."""

from __future__ import annotations

import os
import stat
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from aasp_features.audio import AudioError, AudioInfo, Blocks, Decoder
from aasp_features.audio.byte_pieces import join_pieces
from aasp_features.audio.ffmpeg import FfmpegDecoder
from aasp_features.audio.libsndfile import REFUSALS, SoundfileDecoder
from aasp_features.audio.ogg_links import OggLink, ogg_links
from aasp_features.audio.tags import end_of_sound
from aasp_features.audio.wav_header import UNKNOWN, check_rest, is_wav, mended_wav

HEAD_BYTES = 64
VORBIS_PLACE = 28  # in an Ogg file
W64 = b"riff\x2e\x91\xcf\x11"


def open_path(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file; unbuffered, as decoders have buffers.

    Raises:
        AudioError: no such file, a folder, a FIFO or device, or one that may not be read.
    """
    path = on_disk(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{name}: a folder, not a sound file; give its files, or use aasp-embed for folders.")
        if not stat.S_ISREG(status.st_mode):  # before it is opened, which may wait for ever, or start a device
            raise AudioError(f"{name}: a pipe, socket or device; a regular file is needed, so write it to one.")
        return open(path, "rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError) as error:
        more = "; several names look like it and differ in how their accents are encoded; rename them"
        raise AudioError(f"{name}: no such file{more if _alike(*os.path.split(path)) else ''}.") from error
    except PermissionError as error:
        raise AudioError(f"{name}: may not be read; check its permissions.") from error
    except (OSError, ValueError) as error:  # a ValueError for names that no file can have
        raise AudioError(f"{name}: cannot be opened ({getattr(error, 'strerror', None) or error}).") from error


def on_disk(path: str | os.PathLike[str]) -> str:
    """The path, with those of its names that are not there as the only ones that differ in Unicode normalisation.

    An accented letter is one character or two, which look the same: macOS and Linux write names in different ways.
    """
    given = os.fspath(path)
    if given.isascii() or "\0" in given or os.path.lexists(given):
        return given
    place = ""
    for name in Path(given).parts:
        there = os.path.lexists(os.path.join(place, name))
        alike = [] if there else _alike(place, name)
        place = os.path.join(place, alike[0] if len(alike) == 1 else name)
    return place


def _alike(folder: str, name: str) -> list[str]:
    """Names in a folder that are a name's when both are normalised."""
    if name.isascii():
        return []
    try:
        names = _listed(folder or ".", os.stat(folder or ".").st_mtime_ns)
    except (OSError, ValueError):
        return []
    return names.get(unicodedata.normalize("NFC", name), [])


@lru_cache(maxsize=16)
def _listed(folder: str, changed: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name in os.listdir(folder):
        names.setdefault(unicodedata.normalize("NFC", name), []).append(name)
    return names


def open_decoder(file: BinaryIO, name: str) -> Decoder:
    """What decodes an open file, which stays open until the decoder was closed.

    Raises:
        AudioError: empty, not sound, or several files joined.
    """
    try:
        file.seek(0)
        head = file.read(HEAD_BYTES)
    except (AttributeError, OSError, ValueError) as error:
        raise AudioError(f"{name}: an open file must be one of bytes that can be read again from its start.") from error
    if not isinstance(head, bytes):
        raise AudioError(f"{name}: an open file must give bytes; open it with mode 'rb'.")
    if not head:
        raise AudioError(f"{name}: an empty file; a sound has at least 1 sample.")
    if head.startswith(b"OggS"):
        links = ogg_links(file)
        return OggChain(file, links, name) if len(links) > 1 else _open_link(file, links, name)
    if is_wav(head):
        return _counted(mended_wav(file, name), name, alone=head.startswith(b"RIFX"))
    head = _after_tag(file, head)
    if head.startswith(b"fLaC") and int.from_bytes(head[18:26], "big") % 2**36:
        return _counted(file, name)
    if (end := _stated_end(file, head)) is not None:
        check_rest(file, end, (head[:4],), name)
        return _counted(file, name)
    if head.startswith((b"\xff", b"ID3")):  # libsndfile would guess the length of an MP3
        return FfmpegDecoder(_without_tags(file, name), name)
    try:
        return FfmpegDecoder(file, name)
    except AudioError as refused:
        try:
            return SoundfileDecoder(file, name)
        except (AudioError, *REFUSALS):
            raise refused from None


def _counted(file: BinaryIO, name: str, alone: bool = False) -> Decoder:
    """libsndfile first; alone where FFmpeg would give noise."""
    try:
        return SoundfileDecoder(file, name)
    except (AudioError, *REFUSALS) as refused:
        if alone:
            raise AudioError(f"{name}: not a sound file that can be decoded ({str(refused).rstrip('.')}).") from refused
        return FfmpegDecoder(file, name)


def _after_tag(file: BinaryIO, head: bytes) -> bytes:
    """What follows the ID3 tag that some put in front of a FLAC."""
    if head[:3] != b"ID3" or len(head) < 10:
        return head
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 127
    file.seek(10 + length)
    return file.read(HEAD_BYTES)


def _without_tags(file: BinaryIO, name: str) -> BinaryIO:
    """Up to the tags that it ends with; FFmpeg drops an encoder's padding only where the header counts all bytes."""
    end = end_of_sound(file)
    return file if end == file.seek(0, 2) else join_pieces(file, [range(end)], name)


def _stated_end(file: BinaryIO, head: bytes) -> int | None:
    """Where a file ends by its header, if it is one whose header counts its samples."""
    size = file.seek(0, 2)
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return 8 + int.from_bytes(head[4:8], "big")
    if head[:4] == b".snd":
        start, length = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        return size if length == UNKNOWN else start + length
    if head[:8] == W64:
        return int.from_bytes(head[16:24], "little")
    if head[:4] != b"caff":
        return None
    place = 8
    while place + 12 <= size:
        file.seek(place)
        tag, length = file.read(4), int.from_bytes(file.read(8), "big", signed=True)
        if tag == b"caff" or length < 0:  # another file; or a length that is not known: to the end
            return place if tag == b"caff" else size
        place += 12 + length
    return place


class OggChain:
    """The links of an Ogg file, one after the other; see ``Decoder``."""

    exact = False

    def __init__(self, file: BinaryIO, links: list[OggLink], name: str) -> None:
        self._file, self._links, self._name = file, links, name
        infos = []
        for link in links:
            decoder = self._open(link)
            infos.append(decoder.info)
            decoder.close()
        self.info = AudioInfo(sum(info.seconds for info in infos), infos[0].rate, infos[0].channels)

    def _open(self, link: OggLink) -> Decoder:
        return _open_link(join_pieces(self._file, [range(link.start, link.stop)], self._name), [link], self._name)

    def blocks(self, samples: int, first: int) -> Blocks:
        """See ``Decoder``."""
        for link in self._links:
            decoder = self._open(link)
            yield from decoder.blocks(samples, 0)
            decoder.close()

    def close(self) -> None:
        """See ``Decoder``; each link was closed."""


def _open_link(file: BinaryIO, links: list[OggLink], name: str) -> Decoder:
    """The only one of a file; all but Vorbis is for FFmpeg, as are videos and what is damaged."""
    file.seek(0)
    vorbis = file.read(HEAD_BYTES)[VORBIS_PLACE:].startswith(b"\x01vorbis")
    return _counted(file, name) if vorbis and len(links) == 1 and links[0].streams == 1 else FfmpegDecoder(file, name)
