"""A run on disk while it is under way: ``OUT.partial/``.

What is in the folder:

- ``plan.json``: the identity of the run (``Plan.identity``) and ``replaces``, what it may do to older results.
- ``rows.bin``: 128 bytes for an ``.npy`` header, then the rows in the order in which they were computed.
- ``log.jsonl``: a line for each batch that is done. ``sounds`` are its sounds with their outcomes (``DoneSound``),
  ``rows`` the number and the sha256 of its rows, ``threads`` torch's threads.
- ``gathered.bin``, ``making/`` and ``ready/``: the results on their way out, see ``output``.
- ``lock``: see ``lock``. Temporary files have no name.

``plan.json`` and each line are sealed: their last key is ``sha256``, over the rest. A line's sum also covers the line
before it, and the first line's covers the settings. A line therefore counts only at its own position and for them.

A batch is committed in two steps: its rows are appended, then its line. When a run continues, every line and its rows
are checked. The first that does not hold and all that follow are cut off and computed again.

The log names its sounds. A run therefore continues whatever was added, removed or changed meanwhile; ``Ledger.take``
says which sounds are still those that were read.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features import contents
from aasp_features.errors import AaSPError
from aasp_features.folder.ledger import STATE, DoneSound, Ledger, Outcome
from aasp_features.folder.options import RunSettings
from aasp_features.folder.plan import Batch, Plan
from aasp_features.whole_file import write_whole

PLAN_FILE, ROWS_FILE, LOG_FILE = "plan.json", "rows.bin", "log.jsonl"
GATHERED_FILE, GATHERED_ROWS = "gathered.bin", 4096
NPY_HEADER = 128  # bytes in front of the rows
END_BYTES = 2**20
OnSeconds = Callable[[float], None]  # takes seconds of sound as they are encoded, in any thread


class ChangedRunError(AaSPError, ValueError):
    """The state on disk belongs to another run, or cannot be assigned to one; the sentence says what differs."""


class BatchResult(NamedTuple):
    """Result of a batch of sounds.

    Attributes:
        outcomes: one a sound, in order.
        rows: (n, width) pieces, in order, computed or read as they are asked for.
    """

    outcomes: list[Outcome]
    rows: Iterator[NDArray[Any]]


def map_rows(path: Path, rows: int, settings: RunSettings) -> NDArray[Any]:
    """Return the rows of a file like ``rows.bin``, (rows, width), mapped from disk; at least one."""
    return np.memmap(path, settings.options.dtype, "r", offset=NPY_HEADER, shape=(rows, settings.width))


def write_npy_header(path: Path, rows: int, settings: RunSettings) -> None:
    """Turn a file like ``rows.bin`` into an ``.npy`` file."""
    header = {"descr": np.dtype(settings.options.dtype).str, "fortran_order": False, "shape": (rows, settings.width)}
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, header)  # NPY_HEADER bytes, for any number of rows
        _sync(file)


def has_work(folder: Path) -> bool:
    """Return whether an unfinished run in ``folder`` has committed a batch, or begun to."""
    log = folder / LOG_FILE
    return log.exists() and log.stat().st_size > 0


def unfinished(folder: Path, plan: Plan) -> str:
    """Return what a run in ``folder``, this plan's or one with work, may do to older results; empty if nothing."""
    stored = read_sealed(folder / PLAN_FILE)
    if stored is None or not stored.get("replaces"):
        return ""
    same = not plan.differs_from(stored) and plan.is_of(stored, "stamps_sha256")
    return str(stored["replaces"]) if same or has_work(folder) else ""


class RunState:
    """State of a run; the caller holds the lock.

    Args:
        folder: of the state.
        plan: of the run.

    Attributes:
        sounds: number of sounds whose batches are committed.
        rows: number of committed rows.
        threads: all numbers of torch's threads that computed them.

    Raises:
        ChangedRunError: see the class.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.rows_path, self.log_path = folder / ROWS_FILE, folder / LOG_FILE
        self._dtype = np.dtype(plan.settings.options.dtype)
        self._row_bytes = plan.settings.width * self._dtype.itemsize
        self._seed = checksum(plan.settings.to_dict())
        self._check_plan()
        self._resume()

    def begin(self, replaces: str = "") -> None:
        """Write down whose state it is, and ``replaces``: ``overwrite`` or ``update`` if it may replace older results.

        It is kept for the runs that continue this one.
        """
        path, values = self.folder / PLAN_FILE, {**self.plan.identity(), "replaces": replaces}
        stored = read_sealed(path) or {}
        if stored != {**values, "sha256": stored.get("sha256")}:
            write_whole(path, seal(values, indent=2))

    def commit(self, batch: Batch, result: BatchResult) -> None:
        """Append a batch's rows, then its line.

        Raises:
            OSError: the disk is full or fails; earlier batches stay committed.
        """
        try:
            with self.rows_path.open("ab") as file:
                added = self._append_rows(file, result.rows)
                _sync(file)
            sounds = [self._done(*done).to_json() for done in zip(batch, result.outcomes, strict=True)]
            values = {"sounds": sounds, "rows": added, "threads": self.plan.settings.threads}
            line = seal(values, self._chain).encode()
            with self.log_path.open("ab") as log:
                log.write(line)
                _sync(log)
        except BaseException:
            self._cut()
            raise
        self._count(json.loads(line), len(line))

    def _done(self, index: int, outcome: Outcome) -> DoneSound:
        sound, (size, changed, touched) = self.plan.sounds[index], self.plan.stamps[index].tolist()
        return DoneSound(sound.name, sound.start, sound.end, (size, changed, touched), outcome)

    def holds(self) -> bool:
        """Check everything on disk again; return False, and go back to what holds, where something does not."""
        before = self.sounds
        self._resume()
        return self.sounds == before

    def done_sounds(self) -> Iterator[DoneSound]:
        """Yield every sound that is done, in the order of the rows."""
        chain = self._seed
        for line in self._lines():
            if (values := unseal(line, chain)) is None:
                raise OSError(f"{self.log_path} was changed by something else")
            chain = values["sha256"]
            yield from map(DoneSound.from_json, values["sounds"])

    def array(self) -> NDArray[Any]:
        """Return the committed rows, (rows, width), mapped from disk; at least one."""
        return map_rows(self.rows_path, self.rows, self.plan.settings)

    def _check_plan(self) -> None:
        """Check that the state has these settings; a first line that holds proves it without ``plan.json``."""
        first = next(self._lines(), None) if has_work(self.folder) else None
        if first is None or unseal(first, self._seed) is not None:
            return
        stored = read_sealed(self.folder / PLAN_FILE)
        if stored is None or not {*self.plan.identity(), "replaces"} <= {*stored}:
            raise ChangedRunError(f"its {PLAN_FILE} is missing, damaged, or of another version of aasp-features")
        if difference := self.plan.changed_settings(stored):
            raise ChangedRunError(difference)

    def _resume(self) -> None:
        """Count the lines that hold and whose rows do; cut off what follows them."""
        self.sounds, self.rows, self._log_bytes, self._chain = 0, 0, 0, self._seed
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
                f"{self.folder}: damaged after {self.sounds} sounds; what follows is computed again.", stacklevel=2
            )
        self._cut()

    def _sha256(self, file: BinaryIO, rows: int) -> str:
        """Return the sha256 of as many rows after those that are counted."""
        first = NPY_HEADER + self.rows * self._row_bytes
        return contents.sha256(file, [range(first, first + rows * self._row_bytes)])

    def _count(self, values: dict[str, Any], size: int) -> None:
        self.sounds += len(values["sounds"])
        self.rows += values["rows"][0]
        if values["threads"] not in self.threads:
            self.threads.append(values["threads"])
        self._chain, self._log_bytes = values["sha256"], self._log_bytes + size

    def _append_rows(self, file: BinaryIO, pieces: Iterable[NDArray[Any]]) -> tuple[int, str]:
        """Write rows; return their number and sha256."""
        count, digest = 0, hashlib.sha256()
        for piece in pieces:
            content = np.ascontiguousarray(piece, self._dtype).tobytes()
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


@dataclass(frozen=True)
class RunRows:
    """Rows of a run whose sounds are all done: computed by the run, or taken from earlier results.

    Attributes:
        ledger: of the run.
        state: its rows.
        earlier: rows of the earlier results, (rows, width); None where there are none.
        threads: of torch that computed the earlier rows.
    """

    ledger: Ledger
    state: RunState
    earlier: NDArray[Any] | None = None
    threads: Sequence[int] = ()

    @property
    def folder(self) -> Path:
        """Folder of the state."""
        return self.state.folder

    def in_order(self) -> Path:
        """Return the file that has the rows in the order of the sounds, like ``rows.bin``; it is written if needed."""
        facts, gathered = self.ledger.facts, self.folder / GATHERED_FILE
        if self.state.rows == self.ledger.rows and self.ledger.in_order().all():
            if gathered.exists():  # of a process that died
                gathered.unlink()
            return self.state.rows_path
        with gathered.open("wb") as file:
            file.write(bytes(NPY_HEADER))
            for source, first, end in _stretches(facts[facts["rows"] > 0]):
                rows = self.state.array() if source == STATE or self.earlier is None else self.earlier
                for start in range(first, end, GATHERED_ROWS):
                    file.write(np.ascontiguousarray(rows[start : min(start + GATHERED_ROWS, end)]).tobytes())
        return gathered


def _stretches(facts: NDArray[Any]) -> Iterator[tuple[int, int, int]]:
    """Yield source, first row and end of rows that follow each other where they are."""
    source, first, end = facts["source"], facts["first"], facts["first"] + facts["rows"]
    breaks = np.flatnonzero((source[1:] != source[:-1]) | (first[1:] != end[:-1])) + 1
    for start, stop in zip([0, *breaks], [*breaks, len(facts)], strict=True):
        yield int(source[start]), int(first[start]), int(end[stop - 1])


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


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
