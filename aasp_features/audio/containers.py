"""Where the sound lies in a file, whatever its header says: chunks of a WAV, links of an Ogg, tags around an MP3.

A WAV's header counts up to 4 GiB, a recorder that dies leaves it as it was at the start, and programs append to files.
Internet radio sends a new Ogg link, with headers of its own, for every song. Bytes of pictures look like frames.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from aasp_features.audio import AudioError
from aasp_features.audio.byte_pieces import join_pieces

WRAP = 2**32
UNKNOWN = WRAP - 1
PADDING = 4096  # bytes behind a sound that are not worth a word
MAX_FORMAT = 4096  # bytes
MAX_CHUNKS = MAX_TAGS = 2**14  # that are looked at behind the samples
TOO_LONG = "its header counts 4 GiB at most and the file is longer; convert it to flac or RF64."
WAV_KINDS = (b"RIFF", b"RIFX", b"RF64", b"BW64")  # RIFX has its numbers and samples the other way round
W64 = b"riff\x2e\x91\xcf\x11"
FIRST_PAGE = re.compile(rb"OggS\0[\x02\x06]", re.DOTALL)  # of a stream; the last page of a short one, too
PAGE_HEAD = 27
TAG_MARK = re.compile(rb"ID3[\x02-\x04]|APETAGEX")
OLD_ID3, ID3, APE = 128, 10, 32  # bytes: of a whole tag; of a header or footer
APE_START = re.compile(rb"APETAGEX|.{8}[ -~]{2,}", re.DOTALL)  # a header or footer, or an item's length, flags and name
BLOCK, OVERLAP = 2**20, 7  # bytes read at once, and the longest beginning of a mark that a block may end with


def check_rest(file: BinaryIO, end: int, kinds: tuple[bytes, ...], name: str) -> None:
    """Say what follows a sound that ends before its file does.

    Raises:
        AudioError: another sound, which begins with one of ``kinds``.
    """
    size = file.seek(0, 2)
    if not 0 < end < size:
        return
    file.seek(end)
    if file.read(PADDING).startswith(kinds):
        raise AudioError(f"{name}: another file begins at byte {end}: several were joined; split them there.")
    if size - end >= WRAP:
        raise AudioError(f"{name}: {TOO_LONG}")
    if size - end > PADDING:
        told = f"{name}: {size - end} bytes follow its last sample, tags or damaged sound; not read."
        warnings.warn(told, stacklevel=2)


def stated_end(file: BinaryIO, head: bytes) -> int | None:
    """Return where an AIFF, AU, W64 or CAF ends by its header; None for other kinds."""
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
    position = 8
    while position + 12 <= size:
        tag, length = _read(file, position, 4), int.from_bytes(file.read(8), "big", signed=True)
        if tag == b"caff" or length < 0:  # another file; or a length that is not known: to the end
            return position if tag == b"caff" else size
        position += 12 + length
    return position


@dataclass
class _Wav:
    """The header of a WAV: first four bytes, chunk ``fmt ``, first byte and stated number of samples, file's size."""

    kind: bytes
    format: bytes
    start: int
    claimed: int
    size: int

    @property
    def order(self) -> str:
        return ">" if self.kind == b"RIFX" else "<"

    def front(self, length: int) -> bytes:
        """Return a header for so many bytes: a RIFX where it was one, else an RF64, which counts beyond 4 GiB."""
        form = struct.pack(self.order + "4sI", b"fmt ", len(self.format)) + self.format
        if self.kind == b"RIFX":
            start = struct.pack(">4sI4s", b"RIFX", length + 12 + len(form), b"WAVE")
            return start + form + struct.pack(">4sI", b"data", length)
        counts = struct.pack("<4sI3QI", b"ds64", 28, length + 72 + len(self.format), length, 0, 0)
        start = struct.pack("<4sI4s", b"RF64", UNKNOWN, b"WAVE")
        return start + counts + form + struct.pack("<4sI", b"data", UNKNOWN)


def mended_wav(file: BinaryIO, name: str) -> BinaryIO:
    """Return ``file``, where its header is right; else the same samples behind a header that is, and warn.

    Raises:
        AudioError: several files, joined.
    """
    header = _read_wav(file)
    if header is None:
        return file
    pieces, flaw = _wav_samples(file, header, name)
    if flaw:
        warnings.warn(f"{name}: {flaw}", stacklevel=2)
    if pieces is None and header.kind != b"BW64":
        return file
    pieces = pieces or [range(header.start, header.start + header.claimed)]
    length = sum(piece.stop - piece.start for piece in pieces)
    if header.kind == b"RIFX" and length > WRAP - MAX_FORMAT - 64:
        raise AudioError(f"{name}: {TOO_LONG}")
    return join_pieces(file, [header.front(length), *pieces], name)


def _read_wav(file: BinaryIO) -> _Wav | None:
    """Return None where there is no chunk of samples."""
    size = file.seek(0, 2)
    header, position, long_size = _Wav(_read(file, 0, 4), b"", 0, 0, size), 12, UNKNOWN
    while position + 8 <= size:
        tag, length = struct.unpack(header.order + "4sI", _read(file, position, 8))
        if tag == b"data":
            long = header.kind in (b"RF64", b"BW64") and length in (0, UNKNOWN)
            header.start, header.claimed = position + 8, long_size if long else length
            return header if header.format else None
        if tag == b"ds64" and length >= 16:
            long_size = struct.unpack("<QQ", file.read(16))[1]
        if tag == b"fmt ":
            form = file.read(min(length, MAX_FORMAT))
            header.format = form + bytes(len(form) & 1)
        position += 8 + length + (length & 1)
    return None


def _wav_samples(file: BinaryIO, header: _Wav, name: str) -> tuple[list[range] | None, str]:
    """Return where the samples lie, None where decoders find them, and what is wrong with the header, if that is."""
    claimed, to_the_end = range(header.start, header.start + header.claimed), [range(header.start, header.size)]
    end = claimed.stop + (header.claimed & 1)
    if claimed.stop > header.size:
        kind = "a recorder that died" if header.claimed >= UNKNOWN else "it was cut off, or its recorder died"
        flaw = f"its header says more samples than there are ({kind}); it was read to the end of the file."
        return to_the_end, flaw
    if end >= header.size:
        return None, ""
    more, last = _chunks_behind(file, end, header)
    if last < header.size and not more:
        if header.claimed == 0:
            return to_the_end, "its header says 0 samples (a recorder that died); it was read to the end of the file."
        if header.kind == b"RIFF" and header.size - end >= WRAP:
            length = header.claimed + (header.size - end) // WRAP * WRAP
            flaw = "its header counts 4 GiB at most and the file is longer; it was read to the end of the file."
            return [range(header.start, header.start + length)], flaw
        last = end  # it may end in several files that were joined
    check_rest(file, last, WAV_KINDS, name)
    pieces = [piece for piece in (claimed, *more) if piece]
    flaw = f"it holds {len(pieces)} chunks of samples, where 1 is right; they were read one after the other."
    return pieces if more else None, flaw if len(pieces) > 1 else ""


def _chunks_behind(file: BinaryIO, position: int, header: _Wav) -> tuple[list[range], int]:
    """Find more chunks of samples, empty ones too, as libsndfile reads the last alone; and where whole chunks end."""
    found: list[range] = []
    for _ in range(MAX_CHUNKS):
        tag, length = struct.unpack(header.order + "4sI", _read(file, position, 8).ljust(8, b"\0"))
        end = position + 8 + length
        if not all(32 <= byte < 127 for byte in tag) or tag in WAV_KINDS or (end > header.size and tag != b"data"):
            break
        if tag == b"data":
            found.append(range(position + 8, min(end, header.size)))
        position = min(end + (length & 1), header.size)
    return found, header.size if header.size - position <= 1 else position


def ogg_links(file: BinaryIO) -> list[tuple[range, int]]:
    """Return the bytes of each whole Ogg file within a file, and its number of streams: more than 1 in a video.

    A link begins with the first pages of its streams, one after the other; the last one ends with the file.
    """
    size, end = file.seek(0, 2), -1
    starts: list[int] = []
    streams: list[int] = []
    for position in _marks(file, 0, FIRST_PAGE):
        page = _read(file, position, PAGE_HEAD + 255)
        if len(page) < PAGE_HEAD:
            break
        if position == end:
            streams[-1] += 1
        else:
            starts, streams = [*starts, position], [*streams, 1]
        segments = page[PAGE_HEAD : PAGE_HEAD + page[26]]
        end = position + PAGE_HEAD + len(segments) + sum(segments)
    return [(range(*ends), count) for *ends, count in zip(starts, [*starts[1:], size], streams, strict=False)]


def tags_behind(file: BinaryIO, position: int) -> list[range]:
    """Return the tags that lie behind ``position`` in an MP3 or its like, in order; those that touch are one."""
    tags: list[range] = []
    for mark in [*islice(_marks(file, position, TAG_MARK), MAX_TAGS), file.seek(0, 2) - OLD_ID3]:
        if mark < position or (tags and mark < tags[-1].stop):  # in a tag's picture, or its footer
            continue
        if (tag := _tag_at(file, mark)) is not None:
            start = max(position, tag.start)
            while tags and start <= tags[-1].stop:
                start = min(start, tags.pop().start)
            tags.append(range(start, tag.stop))
    return tags


def without_tags(file: BinaryIO, name: str) -> BinaryIO:
    """Return a file without the tags behind its first frame, whose pictures' bytes look like frames."""
    head = _read(file, 0, APE)
    first = ID3 + id3_size(head) if head.startswith(b"ID3") else 0
    tags, size = tags_behind(file, first), file.seek(0, 2)
    starts, stops = [0, *(tag.stop for tag in tags)], [*(tag.start for tag in tags), size]
    return join_pieces(file, list(map(range, starts, stops)), name) if tags else file


def _tag_at(file: BinaryIO, position: int) -> range | None:
    """Return the tag whose header or footer is there; None if its length is not right, since sound would be lost."""
    size = file.seek(0, 2)
    head = _read(file, position, APE).ljust(APE)
    if position == size - OLD_ID3:
        return range(position, size) if head.startswith(b"TAG") else None
    tag = _ape(file, position, head) if head.startswith(b"APETAGEX") else _id3(position, head)
    if tag is None or tag.start < 0 or tag.stop > size:
        return None
    behind = _read(file, tag.stop, 3)
    return tag if not behind or behind.startswith((b"\xff", b"TAG", b"ID3", b"APE")) else None


def _id3(position: int, head: bytes) -> range | None:
    if max(head[6:ID3]) >= 128:
        return None
    return range(position, position + id3_size(head) + ID3 * (2 if head[5] & 16 else 1))


def id3_size(head: bytes) -> int:
    """Return the bytes of an ID3 tag behind its header, which counts them in four times seven bits."""
    return sum((byte & 127) << 7 * (3 - index) for index, byte in enumerate(head[6:ID3]))


def _ape(file: BinaryIO, position: int, head: bytes) -> range | None:
    size, _, flags = struct.unpack("<3I", head[12:24])  # with the footer, without the header
    if flags & 1 << 29:
        return range(position, position + APE + size)
    start = position + APE - size - APE * (flags >> 31)
    return range(start, position + APE) if APE_START.match(_read(file, start, APE)) else None


def _marks(file: BinaryIO, position: int, pattern: re.Pattern[bytes]) -> Iterator[int]:
    """Yield where a pattern of at most 8 bytes is found from ``position`` on."""
    rest = b""
    while block := _read(file, position, BLOCK):
        found = pattern.finditer(rest + block)
        yield from (position - len(rest) + mark.start() for mark in found if mark.end() > len(rest))
        position += len(block)
        rest = (rest + block)[-OVERLAP:]


def _read(file: BinaryIO, position: int, length: int) -> bytes:
    if position < 0:
        return b""
    file.seek(position)
    return file.read(length)
