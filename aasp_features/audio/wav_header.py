"""Where the samples of a WAV file lie, whatever its header says of their number.

32 bits count up to 4 GiB, a recorder that dies leaves its header as it was at the start, and programs append to files.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from typing import BinaryIO

from aasp_features.audio import AudioError
from aasp_features.audio.byte_pieces import join_pieces

WRAP = 2**32
UNKNOWN = WRAP - 1
PADDING = 4096  # bytes behind a sound that are not worth a word
LARGEST_FORMAT = 4096
MOST_CHUNKS = 2**14  # behind the samples
TOO_LONG = "its header counts 4 GiB at most and the file is longer; convert it to flac or RF64."
KINDS = (b"RIFF", b"RIFX", b"RF64", b"BW64")  # RIFX has its numbers and samples the other way round


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
    pieces, flaw = _samples(file, header, name)
    if flaw:
        warnings.warn(f"{name}: {flaw}", stacklevel=2)
    if pieces is None and header.kind != b"BW64":
        return file
    pieces = pieces or [range(header.start, header.start + header.claimed)]
    length = sum(piece.stop - piece.start for piece in pieces)
    if header.kind == b"RIFX" and length > WRAP - LARGEST_FORMAT - 64:
        raise AudioError(f"{name}: {TOO_LONG}")
    return join_pieces(file, [_front(header, length), *pieces], name)


def _front(header: _Header, length: int) -> bytes:
    """What stands before so many bytes of samples: a RIFX where it was one, else an RF64, which counts beyond 4 GiB."""
    order = byte_order(header.kind)
    form = struct.pack(order + "4sI", b"fmt ", len(header.format)) + header.format
    if header.kind == b"RIFX":
        start = struct.pack(">4sI4s", b"RIFX", length + 12 + len(form), b"WAVE")
        return start + form + struct.pack(">4sI", b"data", length)
    counts = struct.pack("<4sI3QI", b"ds64", 28, length + 72 + len(header.format), length, 0, 0)
    start = struct.pack("<4sI4s", b"RF64", UNKNOWN, b"WAVE")
    return start + counts + form + struct.pack("<4sI", b"data", UNKNOWN)


def byte_order(kind: bytes) -> str:
    """Of the numbers in a file of that kind, as ``struct`` has it."""
    return ">" if kind == b"RIFX" else "<"


def _read_header(file: BinaryIO) -> _Header | None:
    """None where there is no chunk of samples."""
    size = file.seek(0, 2)
    file.seek(0)
    kind, place, form, long_size = file.read(4), 12, b"", UNKNOWN
    while place + 8 <= size:
        file.seek(place)
        tag, length = struct.unpack(byte_order(kind) + "4sI", file.read(8))
        if tag == b"data":
            claimed = long_size if kind in (b"RF64", b"BW64") and length in (0, UNKNOWN) else length
            return _Header(kind, form, place + 8, claimed, size) if form else None
        if tag == b"ds64" and length >= 16:
            long_size = struct.unpack("<QQ", file.read(16))[1]
        if tag == b"fmt ":
            form = file.read(min(length, LARGEST_FORMAT))
            form += bytes(len(form) & 1)
        place += 8 + length + (length & 1)
    return None


def _samples(file: BinaryIO, header: _Header, name: str) -> tuple[list[range] | None, str]:
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
    check_rest(file, last, KINDS, name)
    pieces = [piece for piece in (claimed, *more) if piece]
    flaw = f"it holds {len(pieces)} chunks of samples, where 1 is right; they were read one after the other."
    return pieces if more else None, flaw if len(pieces) > 1 else ""


def _chunks_behind(file: BinaryIO, place: int, header: _Header) -> tuple[list[range], int]:
    """Find more chunks of samples, empty ones too, as libsndfile reads the last alone; and where whole chunks end."""
    found: list[range] = []
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        tag, length = struct.unpack(byte_order(header.kind) + "4sI", file.read(8).ljust(8, b"\0"))
        end = place + 8 + length
        if not all(32 <= byte < 127 for byte in tag) or tag in KINDS or (end > header.size and tag != b"data"):
            break
        if tag == b"data":
            found.append(range(place + 8, min(end, header.size)))
        place = min(end + (length & 1), header.size)
    return found, header.size if header.size - place <= 1 else place


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
        raise AudioError(f"{name}: {TOO_LONG}")
    if size - end > PADDING:
        told = f"{name}: {size - end} bytes follow its last sample, tags or damaged sound; not read."
        warnings.warn(told, stacklevel=2)
