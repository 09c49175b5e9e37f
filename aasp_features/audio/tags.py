"""Where tags lie behind or between the frames of an MP3 or AAC: titles, and pictures, whose bytes look like frames."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

MARKS = re.compile(rb"ID3[\x02-\x04]|APETAGEX")
MOST_MARKS = 2**14  # that are looked at in a file
OLD_ID3, ID3, APE = 128, 10, 32  # bytes: of a whole tag; of a header or footer
APE_START = re.compile(rb"APETAGEX|.{8}[ -~]{2,}", re.DOTALL)  # a header or footer, or an item's length, flags and name
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
    """Return the tags whose header, or footer, lies behind ``place``, in order; those that touch are one.

    The file's place does not change.
    """
    before = file.tell()
    tags: list[range] = []
    for mark in islice(_marks(file, place), MOST_MARKS):
        if tags and mark < tags[-1].stop:  # in a tag's picture, or its footer
            continue
        if (tag := _tag_at(file, mark)) is not None:
            start = tag.start
            while tags and start <= tags[-1].stop:
                start = min(start, tags.pop().start)
            tags.append(range(start, tag.stop))
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
    """Return the tag whose header or footer is there; None if its length is not right, since sound would be lost."""
    size = file.seek(0, 2)
    head = _read(file, place, APE).ljust(APE)
    if head.startswith(b"TAG"):
        return range(place, place + OLD_ID3)
    tag = _ape(file, place, head) if head.startswith(b"APETAGEX") else _id3(file, place, head)
    return tag if tag is not None and tag.start >= 0 and tag.stop <= size else None


def _id3(file: BinaryIO, place: int, head: bytes) -> range | None:
    if not head.startswith((b"ID3", b"3DI")) or max(head[6:ID3]) >= 128:
        return None
    size = sum(byte << 7 * (3 - number) for number, byte in enumerate(head[6:ID3]))
    if head.startswith(b"ID3"):
        return range(place, place + size + ID3 * (2 if head[5] & 16 else 1))
    start = place - size - ID3
    return range(start, place + ID3) if _read(file, start, 3) == b"ID3" else None


def _ape(file: BinaryIO, place: int, head: bytes) -> range | None:
    size, _, flags = struct.unpack("<3I", head[12:24])  # with the footer, without the header
    if flags & 1 << 29:
        return range(place, place + APE + size)
    start = place + APE - size - APE * (flags >> 31)
    return range(start, place + APE) if APE_START.match(_read(file, start, APE)) else None


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    if place < 0:
        return b""
    file.seek(place)
    return file.read(length)
