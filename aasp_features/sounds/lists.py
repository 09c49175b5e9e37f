"""Lists of sounds: a text file with one path a line, or a CSV with columns ``path``, ``start`` and ``end``."""

from __future__ import annotations

import csv
import io
import math
import sys
from pathlib import Path

from aasp_features.sounds.discovery import Discovery, NothingFoundError


def read_list(source: str, found: Discovery) -> None:
    """Add the sounds of a list to ``found``, in its order.

    Args:
        source: a text file (one path, folder or pattern a line); a ``.csv`` file (columns ``path`` and, in seconds,
            ``start`` and ``end``, either may be empty; others are not read); or ``-``, a text list on standard input.
            Relative paths start at the working folder.
        found: what was found so far.

    Raises:
        NothingFoundError: no such list, or a line that cannot be understood; the sentence names it.
    """
    if source == "-" and sys.stdin is None:
        raise NothingFoundError("--files -: standard input is closed; give a list, or the paths themselves.")
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise NothingFoundError(f"--files {source}: cannot be read ({error.strerror}).") from error
    text = raw.decode("utf-8-sig", "surrogateescape")  # names need not be UTF-8
    if Path(source).suffix.lower() == ".csv":
        _read_csv(source, text, found)
    else:
        for line in text.splitlines():
            if line.strip():
                found.add_path(Path(line))


def _read_csv(source: str, text: str, found: Discovery) -> None:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise NothingFoundError(f"--files {source}: not a CSV file that can be read ({error}).") from error
    for number, row in enumerate(rows, start=2):
        path = row.get("path")
        if not path:
            raise NothingFoundError(f"--files {source}, line {number}: no path; a list has a column named path.")
        start, end = _seconds(source, number, row, "start"), _seconds(source, number, row, "end")
        if end is not None and end <= (start or 0.0):
            raise NothingFoundError(f"--files {source}, line {number}: the end ({end} s) is not after the start.")
        if not Path(path).exists():
            raise NothingFoundError(f"--files {source}, line {number}: {path}: no such file.")
        found.add_part(Path(path), start, end)


def _seconds(source: str, number: int, row: dict[str, str], column: str) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise NothingFoundError(f"--files {source}, line {number}: {column} must be seconds from 0 on, got {text!r}.")
    return value
