"""A run on disk while it is under way: ``OUT.partial/`` with the plan, the rows so far, and what each part gave.

What lies there:

- ``plan.json``: the identity of the run (``Plan.identity``) and ``overwrites``, whether older results may be replaced.
- ``rows.bin``: 128 bytes for an ``.npy`` header, then the rows, as they will stand in the result.
- ``parts.jsonl``: a line for each committed part. ``sounds``: what became of those that ended in it (``Outcome``
  without its defaults). ``rows``: number and sha256 of the rows that the part added for them. ``open``: null, or the
  sound that goes on (``OpenSound``), with ``added``, the same of its rows. ``threads``: of torch. If a sound that went
  on has failed, its part ends with it, and the rows that earlier lines tell of it are no more.
- ``making/`` and ``ready/``: see ``publish``; ``lock``: see ``output``; temporary files have no name.

``plan.json`` and each line end in ``sha256``: of the rest, and for a line of the line before, too, or of ``Plan.work``
for the first. So a line counts only if it is the n-th of this very work, and its rows are checked when the run goes on,
and again before they are published. Rows are appended, then a line about their part. After a kill, or damage,
everything up to the last line that holds counts; what follows is cut off, and computed again.

A line counts as long as its sounds hold what they held (``Outcome.sha256``), wherever they lie now. Stamps that are
those of ``plan.json`` say so; where they differ, the sounds that were read are read again.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features import contents
from aasp_features.errors import AaSPError
from aasp_features.folder.parts import OpenSound, Outcome, Part
from aasp_features.folder.plan import Plan
from aasp_features.folder.seal import checksum, read_sealed, seal, unseal, write_whole

PLAN_FILE, ROWS_FILE, LOG_FILE = "plan.json", "rows.bin", "parts.jsonl"
NPY_HEADER = 128  # bytes kept free in front of the rows, for the header of an .npy


class ChangedRunError(AaSPError, ValueError):
    """The state on disk belongs to another run, or to nobody knows which; the sentence says what differs."""


class Extent(NamedTuple):
    """Rows ``[first, stop)`` that line number ``line`` added."""

    line: int
    first: int
    stop: int
    sha256: str


def has_work(folder: Path) -> bool:
    """Does an unfinished run lie here that has committed a part, or begun to?"""
    log = folder / LOG_FILE
    return log.exists() and log.stat().st_size > 0


def may_replace(folder: Path, plan: Plan) -> bool:
    """Does an unfinished run lie here, this plan's or with work, that may replace older results?"""
    stored = read_sealed(folder / PLAN_FILE)
    if stored is None or not stored["overwrites"]:
        return False
    return has_work(folder) or (not plan.differs_from(stored) and plan.looks_like(stored))


class RunState:
    """Opened for one plan, resumed if it is there; the caller holds the lock.

    Args:
        folder: of the run.
        plan: what the run does.
        overwrites: may it replace older results? Kept for the runs that go on with it.

    Attributes:
        place: of the first sound that has not ended.
        opened: what was done of that sound; None if it has not begun.
        rows: committed so far, those of ``opened`` among them.
        threads: numbers of threads that the parts were computed with.

    Raises:
        ChangedRunError: see the class.
    """

    def __init__(self, folder: Path, plan: Plan, overwrites: bool = False) -> None:
        self.folder, self.width, self.dtype = folder, plan.settings.width, np.dtype(plan.settings.dtype)
        self.rows_path, self.log_path = folder / ROWS_FILE, folder / LOG_FILE
        self._row_bytes, self._own_threads = self.width * self.dtype.itemsize, plan.settings.threads
        self._seed = checksum(plan.work())
        self._begin()
        stored = self._check_plan(plan)
        self._resume()
        if stored is None or not plan.looks_like(stored):
            self._check_contents(plan, stored)
        if stored != (wanted := {**plan.identity(), "overwrites": overwrites}):
            write_whole(folder / PLAN_FILE, seal(wanted, indent=2))

    def commit(self, part: Part) -> None:
        """Append a part's rows, and what became of its sounds; then it counts.

        Raises:
            OSError: disk full or failing; what was committed before stays.
        """
        try:
            first = self.rows if not _drops(self.opened, part.outcomes) else self.rows - self.opened_rows
            with self.rows_path.open("r+b") as file:
                file.seek(NPY_HEADER + first * self._row_bytes)
                added, opened = self._write_rows(file, part.rows), self._write_rows(file, part.open_rows)
                _sync(file)
            values = {
                "sounds": [outcome.to_json() for outcome in part.outcomes],
                "rows": added,
                "open": part.opened and {**part.opened.to_json(), "added": opened},
                "threads": self._own_threads,
            }
            line = seal(values, self._chain).encode()
            with self.log_path.open("ab") as log:
                log.write(line)
                _sync(log)
        except BaseException:
            self._cut()
            raise
        self._take(line)
        self._cut()

    def holds(self) -> bool:
        """Read everything again. Where it is not what was committed, go back to the last part that is, and warn."""
        done = self.place
        self._begin()
        self._resume()
        return self.place == done

    @property
    def opened_rows(self) -> int:
        """Of the sound that goes on."""
        return self.opened.rows if self.opened else 0

    def outcomes(self) -> Iterator[Outcome]:
        """What became of every sound that has ended, in order."""
        chain = self._seed
        for line in self._lines():
            if (values := unseal(line, chain)) is None:
                raise OSError(f"{self.log_path} was changed by something else")
            chain = values["sha256"]
            for outcome in values["sounds"]:
                yield Outcome(**outcome)

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

    def _begin(self) -> None:
        """As if no line were there."""
        self.place, self.rows = 0, 0
        self.opened: OpenSound | None = None
        self.threads: list[int] = []
        self._chain, self._log_bytes = self._seed, 0

    def _check_plan(self, plan: Plan) -> dict[str, Any] | None:
        """Is what lies here work of this plan? A first line that holds says so, whatever became of ``plan.json``.

        Returns what that says.
        """
        path = self.folder / PLAN_FILE
        stored = read_sealed(path)
        if stored is not None:
            del stored["sha256"]
            stored = stored if {*plan.identity(), "overwrites"} == {*stored} else None
        first = next(self._lines(), None) if has_work(self.folder) else None
        if first is None or unseal(first, self._seed) is None:
            if stored is None and (first is not None or path.exists()):
                raise ChangedRunError(f"its {PLAN_FILE} is missing, damaged, or of another version of aasp-features")
            if first is not None and stored is not None and (difference := plan.differs_from(stored)):
                raise ChangedRunError(difference)
        return stored

    def _check_contents(self, plan: Plan, stored: dict[str, Any] | None) -> None:
        """Do the sounds that were read hold what they held? Those that were not read may hold anything."""
        read = chain((outcome.sha256 for outcome in self.outcomes()), [self.opened.sha256] if self.opened else [])
        for sound, sha256 in zip(plan.sounds, read, strict=False):
            if sound.content().sha256 != sha256:
                same = stored is None or plan.named_as(stored)
                others = "the sounds are others, or in another order"
                raise ChangedRunError(f"{sound.name} was changed or removed after it was read" if same else others)

    def _resume(self) -> None:
        self.rows_path.open("ab").close()
        self.log_path.open("ab").close()
        good = self._good_lines()
        for _, line in zip(range(good), self._lines(), strict=False):
            self._take(line)
        if any(self._lines(self._log_bytes)):
            warnings.warn(
                f"{self.folder}: damaged after {self.place} sounds; what follows is computed again.", stacklevel=2
            )
        self._cut()

    def _good_lines(self) -> int:
        """Lines at the beginning of the log that hold, and whose rows do."""
        lines, rows, opened_rows, chain = 0, 0, 0, self._seed
        extents: list[Extent] = []
        for line in self._lines():
            if (values := unseal(line, chain)) is None:
                break
            chain, opened = values["sha256"], values["open"]
            if values["sounds"] and "error" in values["sounds"][0]:
                rows -= opened_rows
                extents = [extent for extent in extents if extent.stop <= rows]
            for count, sha256 in [values["rows"], *([opened["added"]] if opened else [])]:
                extents.append(Extent(lines, rows, rows + count, sha256))
                rows += count
            lines, opened_rows = lines + 1, opened["rows"] if opened else 0
        with self.rows_path.open("rb") as file:
            for extent in extents:
                if self._sha256(file, extent) != extent.sha256:
                    return extent.line
        return lines

    def _sha256(self, file: BinaryIO, extent: Extent) -> str:
        first, stop = (NPY_HEADER + row * self._row_bytes for row in (extent.first, extent.stop))
        return contents.sha256(file, [range(first, stop)])

    def _take(self, line: bytes) -> None:
        """Count a line that holds."""
        values = unseal(line, self._chain)
        assert values is not None
        outcomes, opened = [Outcome(**outcome) for outcome in values["sounds"]], values["open"]
        if _drops(self.opened, outcomes):
            self.rows -= self.opened_rows
        self.place += len(outcomes)
        self.rows += values["rows"][0] + (opened["added"][0] if opened else 0)
        self.opened = OpenSound.from_json(opened) if opened else None
        if values["threads"] not in self.threads:
            self.threads.append(values["threads"])
        self._chain, self._log_bytes = values["sha256"], self._log_bytes + len(line)

    def _write_rows(self, file: Any, pieces: Iterator[NDArray[Any]]) -> list[Any]:
        """Their number and sha256."""
        count, digest = 0, hashlib.sha256()
        for piece in pieces:
            content = np.ascontiguousarray(piece, self.dtype).tobytes()
            file.write(content)
            digest.update(content)
            count += len(piece)
        return [count, digest.hexdigest()]

    def _cut(self) -> None:
        """Drop what was written after the last part that counts."""
        os.truncate(self.log_path, self._log_bytes)
        os.truncate(self.rows_path, NPY_HEADER + self.rows * self._row_bytes)

    def _lines(self, start: int = 0) -> Iterator[bytes]:
        """Whole lines of the log, from a byte on."""
        with self.log_path.open("rb") as log:
            log.seek(start)
            for line in log:
                if line.endswith(b"\n"):  # one that does not was cut off by a kill
                    yield line


def npy_header(rows: int, width: int, dtype: np.dtype[Any]) -> bytes:
    """The header of a C-ordered array; 128 bytes for any number of rows."""
    values = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + values.ljust(117).encode("latin1") + b"\n"


def _drops(opened: OpenSound | None, outcomes: list[Outcome]) -> bool:
    """Has a sound failed that went on?"""
    return opened is not None and bool(outcomes) and outcomes[0].error is not None


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
