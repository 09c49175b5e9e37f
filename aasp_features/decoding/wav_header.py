"""Where the samples of a WAV file lie, whatever its header says of their number.

32 bits count up to 4 GiB, a recorder that dies leaves its header as it was at the start, and programs append to files.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from typing import BinaryIO

from aasp_features.decoding import AudioError
from aasp_features.decoding.byte_pieces import join_pieces

WRAP = 2**32
UNKNOWN = WRAP - 1
PADDING = 4096  # bytes behind a sound that are not worth a word
LARGEST_FORMAT = 4096
KINDS = (b"RIFF", b"RF64", b"BW64")


@dataclass
class _Header:
    """Of a WAV file.

    Attributes:
        kind: its first four bytes.
        format: the content of its chunk ``fmt ``.
        start, claimed: first byte of the samples, and how many there are said to be.
        size: of the file.
    """

    kind: bytes
    format: bytes
    start: int
    claimed: int
    size: int


def is_wav(head: bytes) -> bool:
    """By a file's first 12 bytes."""
    return head[:4] in KINDS and head[8:12] == b"WAVE"


def mended_wav(file: BinaryIO, name: str) -> BinaryIO:
    """``file``, where its header is right; else the same samples behind a header that is, and a warning.

    Raises:
        AudioError: several files, joined.
    """
    header = _read_header(file)
    if header is None:
        return file
    length, flaw = _true_length(file, header, name)
    if flaw:
        warnings.warn(f"{name}: {flaw}", stacklevel=2)
    if length == header.claimed and header.kind != b"BW64":
        return file
    counts = struct.pack("<4sI3QI", b"ds64", 28, length + 72 + len(header.format), length, 0, 0)
    form = struct.pack("<4sI", b"fmt ", len(header.format)) + header.format
    front = struct.pack("<4sI4s", b"RF64", UNKNOWN, b"WAVE") + counts + form + struct.pack("<4sI", b"data", UNKNOWN)
    return join_pieces(file, [front, range(header.start, header.start + length)], name)


def _read_header(file: BinaryIO) -> _Header | None:
    """None where there is no chunk of samples."""
    size = file.seek(0, 2)
    file.seek(0)
    kind, place, form, long_size = file.read(4), 12, b"", UNKNOWN
    while place + 8 <= size:
        file.seek(place)
        tag, length = struct.unpack("<4sI", file.read(8))
        if tag == b"data":
            claimed = long_size if kind != b"RIFF" and length in (0, UNKNOWN) else length
            return _Header(kind, form, place + 8, claimed, size) if form else None
        if tag == b"ds64" and length >= 16:
            long_size = struct.unpack("<QQ", file.read(16))[1]
        if tag == b"fmt ":
            form = file.read(min(length, LARGEST_FORMAT))
            form += bytes(len(form) & 1)
        place += 8 + length + (length & 1)
    return None


def _true_length(file: BinaryIO, header: _Header, name: str) -> tuple[int, str]:
    """Bytes of samples, and what is wrong with the header, if that is."""
    there = header.size - header.start
    end = header.start + header.claimed + (header.claimed & 1)
    if header.claimed > there:
        kind = "a recorder that died" if header.claimed >= UNKNOWN else "it was cut off, or its recorder died"
        return there, f"its header says more samples than there are ({kind}); it was read to the end of the file."
    if end >= header.size or _chunks_follow(file, end, header.size):
        return header.claimed, ""
    if header.claimed == 0:
        return there, "its header says 0 samples (a recorder that died); it was read to the end of the file."
    if header.kind == b"RIFF" and header.size - end >= WRAP:
        length = header.claimed + (header.size - end) // WRAP * WRAP
        return length, "its header counts 4 GiB at most and the file is longer; it was read to the end of the file."
    check_rest(file, end, KINDS, name)
    return header.claimed, ""


def _chunks_follow(file: BinaryIO, place: int, size: int) -> bool:
    """Whether whole chunks fill the file from there to its end."""
    while place + 8 <= size:
        file.seek(place)
        tag, length = struct.unpack("<4sI", file.read(8))
        if not all(32 <= byte < 127 for byte in tag) or tag in KINDS:
            return False
        place += 8 + length + (length & 1)
    return place >= size and place - size <= 1


def check_rest(file: BinaryIO, end: int, kinds: tuple[bytes, ...], name: str) -> None:
    """Say what follows a sound that ends before its file does.

    Raises:
        AudioError: another sound, which begins with one of ``kinds``.
    """
    size = file.seek(0, 2)
    if not 0 < end < size:
        return
    file.seek(end)
    rest = file.read(PADDING)
    if rest.startswith(kinds):
        raise AudioError(f"{name}: another file begins at byte {end}: several were joined; split them there.")
    if size - end >= WRAP:
        raise AudioError(f"{name}: its header counts 4 GiB at most and the file is longer; convert it to flac or RF64.")
    if size - end > PADDING:
        told = f"{name}: {size - end} bytes follow its last sample, tags or damaged sound; not read."
        warnings.warn(told, stacklevel=2)
