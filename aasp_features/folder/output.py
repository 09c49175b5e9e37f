"""Results of a run: where they go, whether they may be written there, and how all of them get there or none.

Results are made in ``making/``, which becomes ``ready/`` when all are whole; then they are moved beside ``OUT``. If the
process dies meanwhile, the next one moves the rest, provided that each file is still what the record says. The rows of
an ``.npy`` are moved from where they are: ``rows.bin``, or ``gathered.bin`` if they had to be put in order.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aasp_features.errors import AaSPError
from aasp_features.folder.formats import ERROR_COLUMNS, RowTable, Table, write_csv, write_json_lines, write_vectors
from aasp_features.folder.ledger import DoneSound
from aasp_features.folder.lock import FileLock, LockedError, NoLocksError
from aasp_features.folder.plan import Plan, contents_digest
from aasp_features.folder.state import (
    GATHERED_FILE,
    ROWS_FILE,
    RunRows,
    fingerprint,
    map_rows,
    read_sealed,
    seal,
    write_npy_header,
)

LOCK_FILE, MAKING, READY = "lock", "making", "ready"
RECORDED = {"output", "sounds", "settings", "names_sha256", "parts_sha256", "stamps_sha256", "contents_sha256", "files"}
CHOOSE = "choose another --out, or give --overwrite."


class OutputError(AaSPError, OSError):
    """The output cannot be used, and nothing was done; the sentence says why and what to do."""


def side_file(out: Path, ending: str) -> Path:
    """Return the file beside ``out`` with another ending: ``emb.npy`` and ``.csv`` give ``emb.csv``."""
    return out.with_suffix(ending)


def result_files(out: Path) -> list[Path]:
    """Return all files that a run may write: vectors, table, record, list of sounds, list of failures."""
    if out.suffix == ".lance":
        return [out, side_file(out, ".errors.csv")]
    return [out, *(side_file(out, ending) for ending in (".csv", ".json", ".sounds.jsonl", ".errors.csv"))]


def partial_folder(out: Path) -> Path:
    """Return the folder of a run's unfinished work."""
    return out.with_name(out.name + ".partial")


def check_writable(out: Path) -> None:
    """Check, before any computation, that a file can be made at ``out``.

    Raises:
        OutputError: a folder, or a file in a folder that is missing or may not be written.
    """
    try:
        is_folder, has_parent = out.is_dir() and out.suffix != ".lance", out.parent.is_dir()
        if has_parent and not is_folder:
            probe = out.with_name(f".{out.name}.{os.getpid()}.tmp")
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise OutputError(f"--out {out}: the folder {out.parent} cannot be written ({error.strerror}).") from error
    if is_folder:
        raise OutputError(f"--out {out} is a folder; name a file in it, such as {out / 'emb.npy'}.")
    if not has_parent:
        raise OutputError(f"--out {out}: the folder {out.parent} does not exist; make it first.")


def check_apart(out: Path, sources: Iterable[Path], also: Iterable[Path] = ()) -> None:
    """Check that none of the ``sources`` is a result of ``out``, in its unfinished work, or one of ``also``."""
    check_unread([*result_files(out), partial_folder(out), *also], sources)


def check_unread(written: Sequence[Path], read: Iterable[Path]) -> None:
    """Check that no file is both read and written, under any of its names (links, hard links, other spellings).

    Args:
        written: files, and folders whose files may all be replaced.
        read: files, and folders of which the files directly in them are read.

    Raises:
        OutputError: a file that is read is also written.
    """
    inside = (Path(folder, name) for root in written for folder, _, names in os.walk(root) for name in names)
    taken = {(status.st_dev, status.st_ino): file for file in (*written, *inside) if (status := _status(file))}
    for path in read if taken else ():
        own = _status(path)
        inner = ((file, _status(file)) for file in path.glob("*")) if own and stat.S_ISDIR(own.st_mode) else None
        for file, status in inner or [(path, own)]:
            if status and (result := taken.get((status.st_dev, status.st_ino))) is not None:
                raise OutputError(f"writing {result} would replace {file}, which is read; choose another output.")


def _status(file: Path) -> os.stat_result | None:
    """Return the status of a file; None if it cannot be looked at."""
    try:
        return os.stat(file)
    except (OSError, ValueError):  # a ValueError for names that no file can have
        return None


@contextmanager
def claimed(out: Path, lock: bool = True) -> Iterator[Callable[[], bool]]:
    """Make the folder for unfinished work, lock it unless ``lock`` is False, and delete it if it stays empty.

    Yields:
        A function that returns whether somebody else has deleted the folder.

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
        yield lambda: not (own.held if lock else folder.is_dir())
    finally:
        if sys.platform == "win32":  # where open files cannot be deleted
            own.release()
        with suppress(OSError):  # of a folder that is gone
            if set(os.listdir(folder)) <= {LOCK_FILE}:
                (folder / LOCK_FILE).unlink(missing_ok=True)
                folder.rmdir()
        own.release()


def finished_record(out: Path, plan: Plan) -> dict[str, Any] | None:
    """Return the record of results that are already this plan's, and whole; None where there are none, or not all.

    Raises:
        OutputError: a file that the results would replace is not of a run of this plan for ``out``, or was changed.
    """
    if (record := _own_record(out)) is None:
        return None
    first = _present(out)[0].name
    if difference := plan.differs_from(record) or _other_contents(plan, record):
        raise OutputError(
            f"--out {out}: {first} holds the results of another run: {difference}; {_keep(plan, record)}{CHOOSE}"
        )
    if not plan.is_of(record, "names_sha256"):
        raise OutputError(
            f"--out {out}: {first} holds these very vectors, but its table has other names "
            f"({_first_name(out)} is its first); give the sounds by these names, {_keep(plan, record)}{CHOOSE}"
        )
    return record if _is_complete(out, record) else None


def earlier_record(out: Path, plan: Plan) -> dict[str, Any] | None:
    """Return the record of results that an update starts from: other sounds, the same settings; None for no results.

    Raises:
        OutputError: results of other settings, or a file that is missing, of another run, or changed.
    """
    if (record := _own_record(out)) is None:
        return None
    if difference := plan.changed_settings(record):
        raise OutputError(
            f"--out {out}: --update keeps rows of the same settings only: {difference}; give the original settings, "
            f"{CHOOSE}"
        )
    if not _is_complete(out, record):
        raise OutputError(f"--out {out}: some of the earlier results are missing; {CHOOSE}")
    return record


def read_sounds(out: Path) -> Iterator[DoneSound]:
    """Yield the sounds of results, in the order of the rows."""
    with side_file(out, ".sounds.jsonl").open(encoding="ascii") as file:
        yield from (DoneSound.from_json(json.loads(line)) for line in file)


def _own_record(out: Path) -> dict[str, Any] | None:
    """Return the record of the results at ``out``; None where there are none.

    Raises:
        OutputError: a file there is not of a run for ``out``, or was changed.
    """
    present = _present(out)
    if not present:
        return None
    record_file = side_file(out, ".json")
    record = read_sealed(record_file)
    if record is None or not {*record} >= RECORDED:
        what = "has no record" if not record_file.exists() else "has a record that is damaged or of another kind"
        raise OutputError(f"--out {out}: {present[0].name} exists and {what} ({record_file.name}); {CHOOSE}")
    if record["output"] != out.name:
        raise OutputError(f"--out {out}: {record_file.name} and its table belong to {record['output']}; {CHOOSE}")
    for file in present:
        if file != record_file and record["files"].get(file.name) != fingerprint(file):
            raise OutputError(f"--out {out}: {file.name} is not as the run left it; {CHOOSE}")
    return record


def _present(out: Path) -> list[Path]:
    return [file for file in result_files(out) if file.exists()]


def _is_complete(out: Path, record: dict[str, Any]) -> bool:
    return {file.name for file in _present(out)} == {side_file(out, ".json").name, *record["files"]}


def _keep(plan: Plan, record: dict[str, Any]) -> str:
    """Return the advice to update, where that is possible."""
    return "" if plan.changed_settings(record) else "give --update to keep the rows of unchanged sounds, "


def _other_contents(plan: Plan, record: dict[str, Any]) -> str:
    """Return in words how the sounds are not those of results; all are read if their stamps are others."""
    if plan.is_of(record, "stamps_sha256"):
        return ""
    if contents_digest(sound.content().sha256 for sound in plan.sounds) == record["contents_sha256"]:
        return ""
    same = plan.is_of(record, "names_sha256")
    return "a sound was changed or removed" if same else "the sounds are others, or in another order"


def _first_name(out: Path) -> str:
    with suppress(OSError, csv.Error), side_file(out, ".csv").open(encoding="utf-8", errors="replace") as file:
        return next((row["path"] for row in csv.DictReader(file)), "none")
    return "none"


def make_results(run: RunRows, table: RowTable, out: Path, problems: dict[str, str]) -> None:
    """Write vectors, table, record and lists of a run whose sounds are all done into ``ready/``.

    If it fails, the state stays, and it can be repeated. ``problems`` are folders and shards that cannot be searched.
    """
    making, settings = run.folder / MAKING, run.ledger.plan.settings
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    failures = [*([name, reason] for name, reason in problems.items()), *table.failures()]
    if failures:
        write_csv(making / side_file(out, ".errors.csv").name, ERROR_COLUMNS, failures)
    write_json_lines(making / side_file(out, ".sounds.jsonl").name, (each.to_json() for each in run.ledger.sounds()))
    record, rows_path, rows = _make_record(run, out, len(failures)), run.in_order(), run.ledger.rows
    if out.suffix == ".npy":
        write_npy_header(rows_path, rows, settings)
    else:
        write_vectors(making / out.name, map_rows(rows_path, rows, settings), table, record)
    write_table_and_record(making, out, table, record, rows_path)
    os.replace(making, run.folder / READY)


def write_table_and_record(
    folder: Path, out: Path, table: Table, record: dict[str, Any], rows: Path | None = None
) -> None:
    """Write the table and, unless it is empty, the record of results whose other files are in a folder already.

    Args:
        folder: of the files.
        out: where the vectors will be; all files are named after it.
        table: with ``columns``.
        record: without its list of files.
        rows: file of the vectors if it is elsewhere.
    """
    write_csv(folder / side_file(out, ".csv").name, table.columns, table)
    if record:
        files = {path.name: fingerprint(path) for path in sorted(folder.iterdir())}
        if out.name not in files and rows is not None:
            files[out.name] = fingerprint(rows)
        text = seal({**record, "files": files}, indent=2)
        (folder / side_file(out, ".json").name).write_text(text, encoding="utf-8")


def _make_record(run: RunRows, out: Path, failures: int) -> dict[str, Any]:
    """Return what the results are, without a clock time: the same run gives the same bytes."""
    plan = run.ledger.plan
    return {
        **{name: getattr(plan.settings, name) for name in ("checkpoint", "checkpoint_sha256", "aasp_features")},
        "output": out.name,
        "rows": run.ledger.rows,
        "dimension": plan.settings.width,
        "failures": failures,
        "threads": list(dict.fromkeys([*run.threads, *run.state.threads])),
        **plan.identity(),
        "contents_sha256": contents_digest(outcome.sha256 for outcome in run.ledger.outcomes()),
    }


def move_results(folder: Path, out: Path) -> bool:
    """Move the files of ``ready/`` beside ``out`` and clear the folder; return False if none are ready and whole."""
    ready = folder / READY
    if not ready.is_dir():
        return False
    record_file, errors = side_file(out, ".json").name, side_file(out, ".errors.csv")
    if (ready / record_file).exists():  # it goes last; without it, all were moved before
        record = _read_made(ready / record_file)
        if record is None or not all(_is_whole(folder, out, name, print) for name, print in record["files"].items()):
            shutil.rmtree(ready)  # the run makes it again
            return False
        if out.suffix == ".npy" and (rows := _rows_files(folder)):
            if rows[0].name == GATHERED_FILE:  # so that a process that goes on from here does not take the other
                (folder / ROWS_FILE).unlink(missing_ok=True)
            os.replace(rows[0], out)
        if record["failures"] == 0:
            errors.unlink(missing_ok=True)  # of an earlier run
        for path in sorted(ready.iterdir(), key=lambda path: path.name == record_file):
            os.replace(path, out.with_name(path.name))
    clear(folder)
    return True


def _read_made(path: Path) -> dict[str, Any] | None:
    """Return a record that has the very bytes that were written; None for another."""
    record = read_sealed(path)
    own = {name: value for name, value in (record or {}).items() if name != "sha256"}
    return record if record and path.read_text(encoding="utf-8") == seal(own, indent=2) else None


def _is_whole(folder: Path, out: Path, name: str, expected: dict[str, Any]) -> bool:
    """Return whether a result, which may have been moved already, is what was made."""
    rows = _rows_files(folder) if name == out.name and out.suffix == ".npy" else []
    paths = [*rows, folder / READY / name, out.with_name(name)]
    return fingerprint(next((path for path in paths if path.exists()), Path(os.devnull))) == expected


def _rows_files(folder: Path) -> list[Path]:
    """Return the files of rows that exist; the first is the one that is published."""
    return [folder / name for name in (GATHERED_FILE, ROWS_FILE) if (folder / name).exists()]


def clear(folder: Path) -> None:
    """Delete a run's state except its lock; ``ready/`` goes last, as it says that the rest is no longer needed."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == READY):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()
