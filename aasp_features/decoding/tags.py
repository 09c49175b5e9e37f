"""Where tags lie behind or between the frames of an MP3 or AAC: titles, and pictures, whose bytes look like frames."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

MARKS = re.compile(rb"ID3[\x02-\x04]|APETAGEX")
OLD_ID3, ID3, APE = 128, 10, 32  # bytes: of a whole tag; of a header or footer
BLOCK = 2**20


def end_of_sound(file: BinaryIO) -> int:
    """Where the tags begin that a file ends with, told by their last bytes; its size if there are none."""
    end, before = file.seek(0, 2), -1
    while end != before:
        before = end
        for length in (OLD_ID3, ID3, APE):
            tag = _tag_at(file, end - length)
            if tag is not None and 0 <= tag.start < tag.stop == end:
                end = tag.start
    return end


def tags_behind(file: BinaryIO, place: int) -> list[range]:
    """The tags whose header, or footer, lies behind ``place``. The file's place does not change."""
    before = file.tell()
    tags = [tag for mark in _marks(file, place) if (tag := _tag_at(file, mark)) is not None]
    file.seek(before)
    return tags


def _marks(file: BinaryIO, place: int) -> Iterator[int]:
    file.seek(place)
    rest = b""
    while block := file.read(BLOCK):
        yield from (place - len(rest) + mark.start() for mark in MARKS.finditer(rest + block))
        place += len(block)
        file.seek(place)
        rest = (rest + block)[-7:]


def _tag_at(file: BinaryIO, place: int) -> range | None:
    """The tag whose header or footer is there."""
    if place < 0:
        return None
    file.seek(place)
    head = file.read(APE).ljust(APE)
    if head.startswith(b"TAG"):
        return range(place, place + OLD_ID3)
    if head.startswith((b"ID3", b"3DI")) and max(head[6:ID3]) < 128:
        size = sum(byte << 7 * (3 - number) for number, byte in enumerate(head[6:ID3]))
        if head.startswith(b"3DI"):
            return range(place - size - ID3, place + ID3)
        return range(place, place + size + ID3 * (2 if head[5] & 16 else 1))
    if head.startswith(b"APETAGEX"):
        size, _, flags = struct.unpack("<3I", head[12:24])  # with the footer, without the header
        if flags & 1 << 29:
            return range(place, place + APE + size)
        return range(place + APE - size - APE * (flags >> 31), place + APE)
    return None
