"""Rows that come in any order -> emb.npy, emb.csv and emb.errors.csv, each written in full or not at all."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray


class OutputError(OSError):
    """The output cannot be written; the sentence says why and what became of it."""


class RowFile:
    """Rows of float32 on disk, by place; becomes an ``.npy`` without the places that stayed empty.

    Rows go to a temporary file beside the target as they come, so memory does not grow with their number, and the
    target is replaced at the end.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows = path, rows
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self.width = 0
        self.filled = np.zeros(rows, bool)
        self._file = self.temporary.open("w+b")

    def write(self, place: int, row: NDArray[np.float32]) -> None:
        """Put a row at its place."""
        self.width = self.width or len(row)
        self._file.seek(self._offset(place))
        self._file.write(np.ascontiguousarray(row, "<f4").tobytes())
        self.filled[place] = True

    def finish(self) -> list[int]:
        """Close the gaps, write the header, replace the target; returns the places that hold a row, in order."""
        places = np.flatnonzero(self.filled).tolist()
        for row, place in enumerate(places):
            if row != place:
                self._file.seek(self._offset(place))
                content = self._file.read(4 * self.width)
                self._file.seek(self._offset(row))
                self._file.write(content)
        self._file.truncate(self._offset(len(places)))
        self._file.seek(0)
        self._file.write(_npy_header(len(places), self.width))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self.temporary, self.path)
        return places

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            with suppress(OSError):  # a full disk complains again when buffers are flushed
                self._file.close()
        self.temporary.unlink(missing_ok=True)

    def _offset(self, row: int) -> int:
        return len(_npy_header(self.rows, self.width)) + 4 * self.width * row


def write_table(path: Path, header: list[str], rows: Iterable[list[object]]) -> None:
    """Write a CSV file, replacing the target at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            table = csv.writer(file)
            table.writerow(header)
            table.writerows(rows)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Fail early: is this a place where files can be made?

    Raises:
        OutputError: not ``.npy``, a folder, a missing folder, or one that may not be written.
    """
    if path.suffix != ".npy":
        raise OutputError(f"--out must end in .npy, got {path}.")
    if path.is_dir():
        raise OutputError(f"--out {path} is a folder; name a file in it, such as {path / 'emb.npy'}.")
    if not path.parent.is_dir():
        raise OutputError(f"--out {path}: the folder {path.parent} does not exist; make it first.")
    probe = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"--out {path}: the folder {path.parent} cannot be written ({error.strerror}).") from error


def _npy_header(rows: int, width: int) -> bytes:
    """The header of a little-endian float32 array; its length is the same for any number of rows."""
    values = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + values.ljust(117).encode("latin1") + b"\n"
