"""The place where a run's results go: may it be written, does someone else write it, does it hold something already?"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aasp_features.errors import AaSPError
from aasp_features.folder.lock import FileLock, LockedError
from aasp_features.folder.plan import Plan

LOCK_FILE = "lock"


class OutputError(AaSPError, OSError):
    """The output cannot be used, and nothing was done; the sentence says why and what to do."""


def side_file(out: Path, ending: str) -> Path:
    """``emb.npy`` and ``.csv`` -> ``emb.csv``."""
    return out.with_suffix(ending)


def partial_folder(out: Path) -> Path:
    """Where a run keeps its work until it is complete."""
    return out.with_name(out.name + ".partial")


def check_writable(out: Path) -> None:
    """Fail early: is this a place where files can be made?

    Raises:
        OutputError: a folder, a missing folder, or one that may not be written.
    """
    if out.is_dir():
        raise OutputError(f"--out {out} is a folder; name a file in it, such as {out / 'emb.npy'}.")
    if not out.parent.is_dir():
        raise OutputError(f"--out {out}: the folder {out.parent} does not exist; make it first.")
    probe = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"--out {out}: the folder {out.parent} cannot be written ({error.strerror}).") from error


def check_apart(out: Path, source: Path) -> None:
    """Would the results replace what they are made from?

    Raises:
        OutputError: ``source`` is one of the files that are written.
    """
    for file in (out, *(side_file(out, ending) for ending in (".csv", ".json", ".errors.csv"))):
        if file.resolve() == source.resolve():
            raise OutputError(f"--out {out} would replace {source}, which this run reads; choose another --out.")


@contextmanager
def claimed(out: Path) -> Iterator[Path]:
    """Be the only one that writes ``out``; gives the folder for unfinished work, which goes again if it stays empty.

    Raises:
        OutputError: another process writes ``out``.
    """
    folder = partial_folder(out)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire()
    except LockedError as error:
        raise OutputError(f"--out {out}: another process is writing it; wait for it, or choose another.") from error
    try:
        yield folder
    finally:
        if os.listdir(folder) == [LOCK_FILE]:
            if sys.platform == "win32":  # where open files cannot be deleted
                lock.release()
            with suppress(OSError):
                os.unlink(folder / LOCK_FILE)
                os.rmdir(folder)
        lock.release()


def finished_record(out: Path, plan: Plan) -> dict[str, Any] | None:
    """The record of results that are this plan's already; None where there are none.

    Raises:
        OutputError: ``out``, or the table or record that it would have, holds other results, or is of unknown origin.
    """
    record_file = side_file(out, ".json")
    present = [file for file in (out, side_file(out, ".csv"), record_file) if file.exists()]
    if not present:
        return None
    choose = "choose another --out, or give --overwrite."
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        difference = plan.differs_from(record)
    except (OSError, ValueError, AttributeError) as error:
        raise OutputError(
            f"--out {out}: {present[0].name} exists and has no record ({record_file.name}); {choose}"
        ) from error
    if difference:
        raise OutputError(f"--out {out}: {present[0].name} holds the results of another run: {difference}; {choose}")
    return dict(record) if out.exists() else None
