"""Where the links of an Ogg file lie: internet radio sends a new one, with headers of its own, for every song."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

PAGE_HEAD = 27
FIRST_PAGE = 2  # the flag of a stream's first page
BLOCK = 2**16


@dataclass
class OggLink:
    """A whole Ogg file within the file.

    Attributes:
        start, stop: its bytes.
        streams: in it; more than 1 in a video.
    """

    start: int
    stop: int
    streams: int


def ogg_links(file: BinaryIO) -> list[OggLink]:
    """The links in order; the last one ends with the file. What is no page, in damaged files, is passed over."""
    links: list[OggLink] = []
    size, place, opening = file.seek(0, 2), 0, False
    while (head := _page_head(file, place)) is not None:
        place, flags, length = head
        if flags & FIRST_PAGE and opening:
            links[-1].streams += 1
        elif flags & FIRST_PAGE:
            if links:
                links[-1].stop = place
            links.append(OggLink(place, size, 1))
        opening = bool(flags & FIRST_PAGE)
        place += length
    return links


def _page_head(file: BinaryIO, place: int) -> tuple[int, int, int] | None:
    """Place, flags and length of the next page from there on; None if there is none."""
    file.seek(place)
    block = file.read(PAGE_HEAD + 255)
    while (found := block.find(b"OggS")) < 0:
        if len(block) < 4:
            return None
        place += len(block) - 3
        file.seek(place)
        block = file.read(BLOCK)
    if found:
        return _page_head(file, place + found)
    if len(block) < PAGE_HEAD or len(block) < PAGE_HEAD + block[26]:
        return None
    segments = block[PAGE_HEAD : PAGE_HEAD + block[26]]
    return place, block[5], PAGE_HEAD + len(segments) + sum(segments)
