"""The place where a run's results go: may it be written, does someone else write it, does it hold something already?"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aasp_features.errors import AaSPError
from aasp_features.folder.lock import FileLock, LockedError, NoLocksError
from aasp_features.folder.plan import Plan, contents_digest
from aasp_features.folder.seal import fingerprint, read_sealed

LOCK_FILE = "lock"
CHOOSE = "choose another --out, or give --overwrite."


class OutputError(AaSPError, OSError):
    """The output cannot be used, and nothing was done; the sentence says why and what to do."""


def side_file(out: Path, ending: str) -> Path:
    """``emb.npy`` and ``.csv`` -> ``emb.csv``."""
    return out.with_suffix(ending)


def result_files(out: Path) -> list[Path]:
    """All that a run may write: vectors, table, record, list of failures."""
    return [out, *(side_file(out, ending) for ending in (".csv", ".json", ".errors.csv"))]


def partial_folder(out: Path) -> Path:
    """Where a run keeps its work until it is complete."""
    return out.with_name(out.name + ".partial")


def check_writable(out: Path) -> None:
    """Fail early: is this a place where files can be made?

    Raises:
        OutputError: a folder, a missing folder, or one that may not be written.
    """
    try:
        if out.is_dir():
            raise OutputError(f"--out {out} is a folder; name a file in it, such as {out / 'emb.npy'}.")
        if not out.parent.is_dir():
            raise OutputError(f"--out {out}: the folder {out.parent} does not exist; make it first.")
        probe = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        probe.touch()
        probe.unlink()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"--out {out}: the folder {out.parent} cannot be written ({error.strerror}).") from error


def check_apart(out: Path, sources: Iterable[Path], also: Iterable[Path] = ()) -> None:
    """Check that a run replaces nothing that it reads; see ``check_unread``.

    Args:
        out: of the run, whose result files and unfinished work are written.
        sources: files that are read.
        also: other files and folders that are written.
    """
    check_unread([*result_files(out), partial_folder(out), *also], sources)


def check_unread(written: Sequence[Path], read: Iterable[Path]) -> None:
    """Check that no file is both read and written, whatever its name: links, hard links and other spellings count.

    Args:
        written: files, and folders whose files may all be replaced.
        read: files, and folders, of which the files that lie right in them are read.

    Raises:
        OutputError: one of the files that are read is written.
    """
    inside = (Path(folder, name) for place in written for folder, _, names in os.walk(place) for name in names)
    taken = {_identity(file): file for file in (*written, *inside)}
    taken.pop(None, None)
    for place in read if taken else ():
        for file in place.glob("*") if os.path.isdir(place) else [place]:
            if (result := taken.get(_identity(file))) is not None:
                raise OutputError(f"writing {result} would replace {file}, which is read; choose another output.")


def _identity(file: Path) -> tuple[int, int] | None:
    """Device and number of a file, by any of its names; None where there is none that can be looked at."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # a ValueError for names that no file can have
        return None
    return status.st_dev, status.st_ino


class Claim:
    """The right to write an output.

    Attributes:
        folder: for unfinished work.
    """

    def __init__(self, folder: Path, lock: FileLock | None) -> None:
        self.folder, self._lock = folder, lock

    @property
    def lost(self) -> bool:
        """Was the folder deleted by somebody else?"""
        return not self.folder.is_dir() if self._lock is None else not self._lock.held


@contextmanager
def claimed(out: Path, lock: bool = True) -> Iterator[Claim]:
    """Be the only one that writes ``out``; the folder for unfinished work goes again if it stays empty.

    Args:
        out: of the results.
        lock: take a lock; without it, nobody else is kept away.

    Raises:
        OutputError: another process writes ``out``, or the file system has no locks.
    """
    folder = partial_folder(out)
    own = FileLock(folder / LOCK_FILE)
    try:
        if lock:
            own.acquire()
        else:
            folder.mkdir(exist_ok=True)
    except LockedError as error:
        raise OutputError(f"--out {out}: another process is writing it; wait for it, or choose another.") from error
    except NoLocksError as error:
        raise OutputError(
            f"--out {out}: its file system has no locks ({error}); give --no-lock if no other process writes there."
        ) from error
    except OSError as error:
        raise OutputError(f"--out {out}: {folder} cannot be used ({error.strerror}); remove what is there.") from error
    try:
        yield Claim(folder, own if lock else None)
    finally:
        with suppress(OSError):  # of a folder that is gone
            if set(os.listdir(folder)) <= {LOCK_FILE}:
                if sys.platform == "win32":  # where open files cannot be deleted
                    own.release()
                with suppress(FileNotFoundError):
                    os.unlink(folder / LOCK_FILE)
                os.rmdir(folder)
        own.release()


def finished_record(out: Path, plan: Plan) -> dict[str, Any] | None:
    """The record of results that are this plan's already, and whole; None where there are none, or not all of them.

    Raises:
        OutputError: a file that the results would replace is not of a run of this plan for ``out``, or was changed.
    """
    present = [file for file in result_files(out) if file.exists()]
    if not present:
        return None
    record_file = side_file(out, ".json")
    record = read_sealed(record_file)
    if record is None or not {*plan.identity(), "files", "contents_sha256"} <= {*record}:
        what = "has no record" if not record_file.exists() else "has a record that is damaged or of another kind"
        raise OutputError(f"--out {out}: {present[0].name} exists and {what} ({record_file.name}); {CHOOSE}")
    if record["output"] != out.name:
        raise OutputError(f"--out {out}: {record_file.name} and its table belong to {record['output']}; {CHOOSE}")
    if difference := plan.differs_from(record) or _other_contents(plan, record):
        raise OutputError(f"--out {out}: {present[0].name} holds the results of another run: {difference}; {CHOOSE}")
    if not plan.named_as(record):
        raise OutputError(
            f"--out {out}: {present[0].name} holds these very vectors, but its table has other names "
            f"({_first_name(out)} is its first); give the sounds by these names, {CHOOSE}"
        )
    for file in present:
        if file != record_file and record["files"].get(file.name) != fingerprint(file):
            raise OutputError(f"--out {out}: {file.name} is not as the run left it; {CHOOSE}")
    return record if {file.name for file in present} == {record_file.name, *record["files"]} else None


def _other_contents(plan: Plan, record: dict[str, Any]) -> str:
    """How the sounds are not those of results, in words; all of them are read if they do not look the same."""
    if plan.looks_like(record):
        return ""
    if contents_digest(sound.content().sha256 for sound in plan.sounds) == record["contents_sha256"]:
        return ""
    return "a sound was changed or removed" if plan.named_as(record) else "the sounds are others, or in another order"


def _first_name(out: Path) -> str:
    """Of the sounds in a table."""
    with suppress(OSError, csv.Error), side_file(out, ".csv").open(encoding="utf-8", errors="replace") as file:
        return next((row["path"] for row in csv.DictReader(file)), "none")
    return "none"
