"""A run on disk while it is under way: ``OUT.partial/``.

What is in the folder:

- ``plan.json``: the identity of the run (``Plan.identity``) and ``overwrites``, whether it may replace older results.
- ``rows.bin``: 128 bytes for an ``.npy`` header, then the rows as they will stand in the result.
- ``log.jsonl``: a line for each batch that is done. ``sounds`` are its outcomes (``Outcome`` without its defaults),
  ``rows`` the number and the sha256 of its rows, ``threads`` torch's threads.
- ``making/`` and ``ready/``: the results on their way out, see ``output``.
- ``lock``: see ``lock``. Temporary files have no name.

``plan.json`` and each line are sealed: their last key is ``sha256``, over the rest. A line's sum also covers the line
before it, and the first line's covers ``Plan.work``. A line therefore counts only at its own position of this very run.

A batch is committed in two steps: its rows are appended, then its line. When a run continues, every line and its rows
are checked. The first that does not hold and all that follow are cut off and computed again.

A sound stays done while its content is what was read (``Outcome.sha256``), under any name. Sizes and times that equal
those of ``plan.json`` prove it; otherwise the files are read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features import contents
from aasp_features.errors import AaSPError
from aasp_features.folder.plan import Plan

PLAN_FILE, ROWS_FILE, LOG_FILE = "plan.json", "rows.bin", "log.jsonl"
NPY_HEADER = 128  # bytes in front of the rows
END_BYTES = 2**20
OnSeconds = Callable[[float], None]  # takes seconds of sound as they are encoded, in any thread


class ChangedRunError(AaSPError, ValueError):
    """The state on disk belongs to another run, or cannot be assigned to one; the sentence says what differs."""


@dataclass(frozen=True)
class Outcome:
    """Result of one sound.

    Attributes:
        rows: number of its rows; 0 if it failed.
        seconds, sample_rate, channels: of the original.
        frames: log-mel frames behind its rows (frame vectors only).
        error: reason of the failure, in one sentence.
        unheard: share of its energy above half the model's sample rate.
        sha256: of the bytes that were read.
    """

    rows: int = 0
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    error: str | None = None
    unheard: float = 0.0
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the values that differ from their defaults."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Outcome(), name)}


class BatchResult(NamedTuple):
    """Result of a batch of sounds.

    Attributes:
        outcomes: one a sound, in order.
        rows: (n, width) pieces, in order, computed or read as they are asked for.
    """

    outcomes: list[Outcome]
    rows: Iterator[NDArray[Any]]


def has_work(folder: Path) -> bool:
    """Return whether an unfinished run in ``folder`` has committed a batch, or begun to."""
    log = folder / LOG_FILE
    return log.exists() and log.stat().st_size > 0


def may_replace(folder: Path, plan: Plan) -> bool:
    """Return whether ``folder`` holds a run, this plan's or one with work, that may replace older results."""
    stored = read_sealed(folder / PLAN_FILE)
    if stored is None or not stored.get("overwrites"):
        return False
    return has_work(folder) or (not plan.differs_from(stored) and plan.looks_like(stored))


class RunState:
    """State of one plan's run; the caller holds the lock.

    Args:
        folder: of the state.
        plan: of the run.
        overwrites: whether the run may replace older results; kept for the runs that continue it.

    Attributes:
        done: number of sounds whose batches are committed.
        rows: number of committed rows.
        threads: all numbers of torch's threads that computed them.

    Raises:
        ChangedRunError: see the class.
    """

    def __init__(self, folder: Path, plan: Plan, overwrites: bool = False) -> None:
        self.folder, self.width, self.dtype = folder, plan.settings.width, np.dtype(plan.settings.options.dtype)
        self.rows_path, self.log_path = folder / ROWS_FILE, folder / LOG_FILE
        self._row_bytes, self._own_threads = self.width * self.dtype.itemsize, plan.settings.threads
        self._seed = checksum(plan.work())
        stored = self._check_plan(plan)
        self._resume()
        if stored is None or not plan.looks_like(stored):
            self._check_contents(plan, stored)
        if stored != (wanted := {**plan.identity(), "overwrites": overwrites}):
            write_whole(folder / PLAN_FILE, seal(wanted, indent=2))

    def commit(self, result: BatchResult) -> None:
        """Append a batch's rows, then its line.

        Raises:
            OSError: the disk is full or fails; earlier batches stay committed.
        """
        try:
            with self.rows_path.open("ab") as file:
                added = self._append_rows(file, result.rows)
                _sync(file)
            outcomes = [outcome.to_json() for outcome in result.outcomes]
            line = seal({"sounds": outcomes, "rows": added, "threads": self._own_threads}, self._chain).encode()
            with self.log_path.open("ab") as log:
                log.write(line)
                _sync(log)
        except BaseException:
            self._cut()
            raise
        self._count(json.loads(line), len(line))

    def holds(self) -> bool:
        """Check everything on disk again; return False, and go back to what holds, where something does not."""
        done = self.done
        self._resume()
        return self.done == done

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of every sound that is done, in order."""
        chain = self._seed
        for line in self._lines():
            if (values := unseal(line, chain)) is None:
                raise OSError(f"{self.log_path} was changed by something else")
            chain = values["sha256"]
            for outcome in values["sounds"]:
                yield Outcome(**outcome)

    def array(self) -> NDArray[Any]:
        """Return the committed rows, (rows, width), mapped from disk; at least one."""
        return np.memmap(self.rows_path, self.dtype, "r", offset=NPY_HEADER, shape=(self.rows, self.width))

    def write_npy_header(self) -> None:
        """Turn ``rows.bin`` into an ``.npy`` file of the committed rows."""
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, self.width)}
        with self.rows_path.open("r+b") as file:
            np.lib.format.write_array_header_1_0(file, header)  # NPY_HEADER bytes, for any number of rows
            _sync(file)

    def _check_plan(self, plan: Plan) -> dict[str, Any] | None:
        """Check that the state is of this plan, and return the stored identity if it can be read.

        A first line that holds proves it without ``plan.json``.
        """
        stored = read_sealed(self.folder / PLAN_FILE) or {}
        stored.pop("sha256", None)
        known = stored if {*stored} == {*plan.identity(), "overwrites"} else None
        first = next(self._lines(), None) if has_work(self.folder) else None
        if first is not None and unseal(first, self._seed) is None:
            if known is None:
                raise ChangedRunError(f"its {PLAN_FILE} is missing, damaged, or of another version of aasp-features")
            if difference := plan.differs_from(known):
                raise ChangedRunError(difference)
        return known

    def _check_contents(self, plan: Plan, stored: dict[str, Any] | None) -> None:
        """Check that the sounds that are done hold what they held; the others may hold anything."""
        for sound, outcome in zip(plan.sounds, self.outcomes(), strict=False):
            if sound.content().sha256 != outcome.sha256:
                same = stored is None or plan.named_as(stored)
                others = "the sounds are others, or in another order"
                raise ChangedRunError(f"{sound.name} was changed or removed after it was read" if same else others)

    def _resume(self) -> None:
        """Count the lines that hold and whose rows do; cut off what follows them."""
        self.done, self.rows, self._log_bytes, self._chain = 0, 0, 0, self._seed
        self.threads: list[int] = []
        self.rows_path.open("ab").close()
        self.log_path.open("ab").close()
        damaged = False
        with self.rows_path.open("rb") as file:
            for line in self._lines():
                values = unseal(line, self._chain)
                if damaged := values is None or self._sha256(file, values["rows"][0]) != values["rows"][1]:
                    break
                self._count(values, len(line))
        if damaged:
            warnings.warn(
                f"{self.folder}: damaged after {self.done} sounds; what follows is computed again.", stacklevel=2
            )
        self._cut()

    def _sha256(self, file: BinaryIO, rows: int) -> str:
        """Return the sha256 of as many rows after those that are counted."""
        first = NPY_HEADER + self.rows * self._row_bytes
        return contents.sha256(file, [range(first, first + rows * self._row_bytes)])

    def _count(self, values: dict[str, Any], size: int) -> None:
        self.done += len(values["sounds"])
        self.rows += values["rows"][0]
        if values["threads"] not in self.threads:
            self.threads.append(values["threads"])
        self._chain, self._log_bytes = values["sha256"], self._log_bytes + size

    def _append_rows(self, file: BinaryIO, pieces: Iterable[NDArray[Any]]) -> tuple[int, str]:
        """Write rows; return their number and sha256."""
        count, digest = 0, hashlib.sha256()
        for piece in pieces:
            content = np.ascontiguousarray(piece, self.dtype).tobytes()
            file.write(content)
            digest.update(content)
            count += len(piece)
        return count, digest.hexdigest()

    def _cut(self) -> None:
        """Drop what was written after the last line that counts."""
        os.truncate(self.log_path, self._log_bytes)
        os.truncate(self.rows_path, NPY_HEADER + self.rows * self._row_bytes)

    def _lines(self) -> Iterator[bytes]:
        with self.log_path.open("rb") as log:
            for line in log:
                if line.endswith(b"\n"):  # a kill may cut the last one off
                    yield line


def seal(values: dict[str, Any], before: str = "", indent: int | None = None) -> str:
    """Return the values as JSON with a last key, ``sha256``, of the others and of ``before``, which is not stored."""
    return json.dumps({**values, "sha256": checksum(values, before)}, indent=indent) + "\n"


def unseal(text: bytes, before: str = "") -> dict[str, Any] | None:
    """Return what was sealed, with its ``sha256``; None where text or ``before`` are not what they were."""
    try:
        values = json.loads(text)
        rest = {name: value for name, value in values.items() if name != "sha256"}
        return values if values["sha256"] == checksum(rest, before) else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return what was sealed in a file; None where it is missing or was changed."""
    try:
        return unseal(path.read_bytes())
    except OSError:
        return None


def checksum(values: dict[str, Any], before: str = "") -> str:
    """Return the sha256 of plain values, in any order, after ``before``."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((before + text).encode()).hexdigest()


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the size of a file and the sha256 of its first and last MiB, which is quick for any length."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(file.read(END_BYTES))
        file.seek(max(END_BYTES, size - END_BYTES))
        digest.update(file.read(END_BYTES))
    return {"bytes": size, "ends_sha256": digest.hexdigest()}


def write_whole(path: Path, text: str) -> None:
    """Write a small file that is there in full or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        _sync(file)
    os.replace(temporary, path)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
