"""A run on disk while it is under way: ``OUT.partial/`` with the plan, the rows so far, and what each batch gave.

Rows are appended, then a line about their batch; a line that is whole says that its rows are whole. So after a kill at
any moment everything up to the last whole line counts, the rest is cut off, and the run goes on from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError
from aasp_features.folder.plan import Plan

PLAN_FILE, ROWS_FILE, LOG_FILE = "plan.json", "rows.bin", "batches.jsonl"
NPY_HEADER = 128  # bytes kept free in front of the rows, for the header of an .npy


class ChangedRunError(AaSPError, ValueError):
    """The state on disk belongs to another run; the sentence says what differs."""


@dataclass(frozen=True)
class Outcome:
    """What became of one sound.

    Attributes:
        rows: that it has; 0 if it failed.
        seconds, sample_rate, channels: of the original.
        frames: log-mel frames that its rows stand for (frame vectors only).
        error: why it failed, in one sentence.
    """

    rows: int = 0
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    error: str | None = None


def has_work(folder: Path) -> bool:
    """Does an unfinished run lie here that has committed a batch, or begun to?"""
    log = folder / LOG_FILE
    return log.exists() and log.stat().st_size > 0


def goes_on(folder: Path, plan: Plan) -> bool:
    """Does unfinished work lie here that decides how a run of this plan goes on: its own, or another's with a batch?"""
    path = folder / PLAN_FILE
    if has_work(folder) or not path.exists():
        return has_work(folder)
    return not plan.differs_from(json.loads(path.read_text(encoding="utf-8")))


class RunState:
    """Opened for one plan, resumed if it is there; the caller holds the lock.

    Args:
        folder: of the run.
        plan: what the run does.

    Attributes:
        batches_done, rows: committed so far.

    Raises:
        ChangedRunError: see the class.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.width, self.dtype = folder, plan.settings.width, np.dtype(plan.settings.dtype)
        self.batches_done, self.rows = 0, 0
        self._check_plan(plan)
        self.rows_path = folder / ROWS_FILE
        self._resume()

    def commit(self, rows: Iterator[NDArray[Any]], outcomes: Sequence[Outcome]) -> None:
        """Append a batch's rows, (n, width) pieces in order, and what became of its sounds; then it counts.

        Raises:
            OSError: disk full or failing; what was committed before stays.
        """
        try:
            added = self._append_rows(rows)
            line = {"rows": self.rows + added, "sounds": [_compact(o) for o in outcomes]}
            with (self.folder / LOG_FILE).open("ab") as log:
                log.write(json.dumps(line).encode() + b"\n")
                _sync(log)
        except BaseException:
            self._cut()
            raise
        self.rows += added
        self.batches_done += 1

    def outcomes(self) -> Iterator[Outcome]:
        """What became of every sound of the committed batches, in order."""
        for line in self._lines():
            for values in line["sounds"]:
                yield Outcome(**values)

    def array(self) -> NDArray[Any]:
        """The committed rows, (rows, width), mapped from disk."""
        if self.rows == 0:
            return np.empty((0, self.width), self.dtype)
        return np.memmap(self.rows_path, self.dtype, "r", offset=NPY_HEADER, shape=(self.rows, self.width))

    def write_npy_header(self) -> None:
        """Make ``rows.bin`` an ``.npy`` file of the committed rows."""
        with self.rows_path.open("r+b") as file:
            file.write(npy_header(self.rows, self.width, self.dtype))
            _sync(file)

    def _check_plan(self, plan: Plan) -> None:
        path = self.folder / PLAN_FILE
        if path.exists() and has_work(self.folder):  # else there is nothing to lose
            if difference := plan.differs_from(json.loads(path.read_text(encoding="utf-8"))):
                raise ChangedRunError(difference)
        else:
            write_whole(path, json.dumps(plan.identity(), indent=2) + "\n")

    def _resume(self) -> None:
        self.rows_path.open("ab").close()
        (self.folder / LOG_FILE).open("ab").close()
        for line in self._lines():
            self.batches_done += 1
            self.rows = line["rows"]
        self._cut()

    def _append_rows(self, pieces: Iterator[NDArray[Any]]) -> int:
        added = 0
        with self.rows_path.open("r+b") as file:
            file.seek(NPY_HEADER + self.rows * self.width * self.dtype.itemsize)
            for piece in pieces:
                file.write(np.ascontiguousarray(piece, self.dtype).tobytes())
                added += len(piece)
            _sync(file)
        return added

    def _cut(self) -> None:
        """Drop what was written after the last committed batch."""
        os.truncate(self.folder / LOG_FILE, self._whole_lines())
        os.truncate(self.rows_path, NPY_HEADER + self.rows * self.width * self.dtype.itemsize)

    def _whole_lines(self) -> int:
        size = 0
        with (self.folder / LOG_FILE).open("rb") as log:
            for number, line in enumerate(log):
                if number >= self.batches_done:
                    break
                size += len(line)
        return size

    def _lines(self) -> Iterator[dict[str, Any]]:
        with (self.folder / LOG_FILE).open("rb") as log:
            for line in log:
                if not line.endswith(b"\n"):
                    return
                yield json.loads(line)


def npy_header(rows: int, width: int, dtype: np.dtype[Any]) -> bytes:
    """The header of a C-ordered array; 128 bytes for any number of rows."""
    values = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + values.ljust(117).encode("latin1") + b"\n"


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there in full or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _compact(outcome: Outcome) -> dict[str, Any]:
    """Without the values that are their defaults."""
    return {name: value for name, value in asdict(outcome).items() if value != getattr(Outcome(), name)}


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
