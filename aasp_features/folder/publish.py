"""A finished run's results -> their places, all or none.

They are made in ``making/``, which becomes ``ready/`` when all are whole. From then on they are moved, and what a
process that dies while moving leaves is moved by the next, if it is still what the record says.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from aasp_features.folder.formats import WRITERS
from aasp_features.folder.output import LOCK_FILE, side_file
from aasp_features.folder.plan import Plan, contents_digest
from aasp_features.folder.seal import fingerprint, read_sealed, seal
from aasp_features.folder.state import ROWS_FILE, RunState
from aasp_features.folder.table import ERROR_COLUMNS, RowTable, write_csv

MAKING, READY = "making", "ready"


def make_results(state: RunState, plan: Plan, table: RowTable, out: Path, problems: dict[str, str]) -> None:
    """Write vectors, table, list of failures and record into ``ready/``.

    Args:
        state, plan: of a run whose parts are all committed.
        table: of its rows.
        out: where the vectors will go; its ending names their format.
        problems: folders and shards that could not be searched.

    Raises:
        OSError: disk full or failing; the state stays, and this can be done again.
    """
    making = state.folder / MAKING
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    failures = [*([name, reason] for name, reason in problems.items()), *table.failures()]
    record = make_record(state, plan, out, len(failures))
    write_csv(making / side_file(out, ".csv").name, table.columns, table)
    if failures:
        write_csv(making / side_file(out, ".errors.csv").name, ERROR_COLUMNS, failures)
    files = {path.name: fingerprint(path) for path in sorted(making.iterdir())}
    if out.suffix == ".npy":
        state.write_npy_header()
        files[out.name] = fingerprint(state.rows_path)
    else:
        metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in record.items()}
        WRITERS[out.suffix](making / out.name, state.array(), table, metadata)
        files[out.name] = fingerprint(making / out.name)
    text = seal({**record, "files": files}, indent=2)
    (making / side_file(out, ".json").name).write_text(text, encoding="utf-8")
    os.replace(making, state.folder / READY)


def move_results(folder: Path, out: Path) -> bool:
    """Move what lies in ``ready/`` beside ``out`` and empty the folder; False if nothing is ready, or not as it was."""
    ready = folder / READY
    if not ready.is_dir():
        return False
    record_file, errors = side_file(out, ".json").name, side_file(out, ".errors.csv")
    if (ready / record_file).exists():  # it goes last, so all of this may have been done before
        record = read_sealed(ready / record_file)
        if record is None or not all(_is_whole(folder, out, name, print) for name, print in record["files"].items()):
            shutil.rmtree(ready)  # the run makes it again
            return False
        if (folder / ROWS_FILE).exists() and out.suffix == ".npy":
            os.replace(folder / ROWS_FILE, out)
        if record["failures"] == 0:
            errors.unlink(missing_ok=True)  # of an earlier run
        for path in sorted(ready.iterdir(), key=lambda path: path.name == record_file):
            os.replace(path, out.with_name(path.name))
    clear(folder)
    return True


def _is_whole(folder: Path, out: Path, name: str, expected: dict[str, Any]) -> bool:
    """Is a result, which may have been moved already, what was made?"""
    rows = [folder / ROWS_FILE] if name == out.name and out.suffix == ".npy" else []
    places = [*rows, folder / READY / name, out.with_name(name)]
    return fingerprint(next((path for path in places if path.exists()), Path(os.devnull))) == expected


def clear(folder: Path) -> None:
    """Delete a run's state, but not its lock; ``ready/`` goes last, as it says that the rest is of no more use."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == READY):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()


def make_record(state: RunState, plan: Plan, out: Path, failures: int) -> dict[str, Any]:
    """What the results are; no clock time, so that the same run gives the same bytes."""
    return {
        **{name: getattr(plan.settings, name) for name in ("checkpoint", "checkpoint_sha256", "aasp_features")},
        "output": out.name,
        "rows": state.rows,
        "dimension": state.width,
        "failures": failures,
        "threads": state.threads,
        **plan.identity(),
        "contents_sha256": contents_digest(outcome.sha256 for outcome in state.outcomes()),
    }
