"""Lists of sounds: a text file with one path a line, or a CSV with columns ``path``, ``start`` and ``end``."""

from __future__ import annotations

import codecs
import csv
import errno
import io
import math
import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

from aasp_features.audio.reading import on_disk
from aasp_features.sounds.discovery import Discovery, NothingFoundError

MORE = "\0"  # the key of the values beyond the columns; no column's name
PADDED = re.compile(r"0\d+")  # what a decimal comma leaves of 0,05
MAX_LIST_BYTES = 2**28  # some million paths


def read_list(source: str, found: Discovery) -> None:
    """Add the sounds of a list to ``found``, in order.

    Args:
        source: a text file (a path, folder or pattern a line), a ``.csv`` file, or ``-``, a text list on standard
            input; UTF-8 or UTF-16. Of a ``.csv``, the columns ``path``, ``start`` and ``end`` (seconds, may be empty)
            are read. Relative paths start at the working folder. A path that does not exist is a sound that fails.
        found: the sounds so far.

    Raises:
        NothingFoundError: no such list, or a line of a CSV file that cannot be understood; the sentence names it.
    """
    if source == "-" and sys.stdin is None:
        raise NothingFoundError("list -: standard input is closed; give a list, or the paths themselves.")
    try:
        raw = read_bounded(sys.stdin.buffer if source == "-" else Path(source))
    except OSError as error:
        raise NothingFoundError(f"list {source}: cannot be read ({error.strerror}).") from error
    text = decode_list(raw)
    if Path(source).suffix.lower() == ".csv":
        _read_csv(source, text, found)
    else:
        for line in re.split(r"\r\n?|\n", text):
            if line.strip():
                _add_line(_existing(line), found)


def read_bounded(source: Path | BinaryIO) -> bytes:
    """Return all bytes of a list or table, which may be a pipe.

    Raises:
        OSError: it cannot be read, or is longer than 256 MiB.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_bounded(file)
    raw = source.read(MAX_LIST_BYTES + 1)
    if len(raw) > MAX_LIST_BYTES:
        raise OSError(errno.EFBIG, f"more than {MAX_LIST_BYTES >> 20} MiB, which no list has")
    return raw


def decode_list(raw: bytes) -> str:
    """Return the text of a list, which is UTF-8 or UTF-16."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    if 0 in raw[:2]:  # without a mark; no path begins with a NUL, or has it as its second character
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le", "replace")
    return raw.decode("utf-8-sig", "surrogateescape")  # names need not be UTF-8


def _existing(path: str) -> Path:
    """Return a path as it is written or, if there is no such file, without blanks around it."""
    return Path(on_disk(path if os.path.lexists(path) else path.strip()))


def _add_line(path: Path, found: Discovery) -> None:
    try:
        found.add_path(path)
    except NothingFoundError:
        found.add_part(path, None, None)


def _read_csv(source: str, text: str, found: Discovery) -> None:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), restkey=MORE)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise NothingFoundError(f"list {source}: not a CSV file that can be read ({error}).") from error
    for number, row in rows:
        if any(row.pop(MORE, ())):
            raise NothingFoundError(
                f"list {source}, line {number}: more values than the first line has columns; write decimals with a "
                "point (0.5), and a path with a comma in double quotes."
            )
        path = row.get("path")
        if not path or not path.strip():
            raise NothingFoundError(f"list {source}, line {number}: no path; a list has a column named path.")
        start, end = _seconds(source, number, row, "start"), _seconds(source, number, row, "end")
        if end is not None and end <= (start or 0.0):
            raise NothingFoundError(f"list {source}, line {number}: the end ({end} s) is not after the start.")
        found.add_part(_existing(path), start, end)


def _seconds(source: str, number: int, row: dict[str, str], column: str) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = math.nan if PADDED.fullmatch(text) else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise NothingFoundError(
            f"list {source}, line {number}: {column} must be seconds from 0 on, with a point for decimals (0.5) and no "
            f"leading zeros, got {text[:40]!r}."
        )
    return value
