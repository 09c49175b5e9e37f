"""A finished run's results -> their places, all or none.

They are made in ``making/``, which becomes ``ready/`` when all are whole. From then on they are moved, and what a
process that dies while moving leaves is moved by the next.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from aasp_features.folder.formats import WRITERS
from aasp_features.folder.output import LOCK_FILE, side_file
from aasp_features.folder.plan import Plan
from aasp_features.folder.state import ROWS_FILE, RunState
from aasp_features.folder.table import ERROR_COLUMNS, RowTable, write_csv

MAKING, READY = "making", "ready"


def make_results(state: RunState, plan: Plan, table: RowTable, out: Path, problems: dict[str, str]) -> None:
    """Write vectors, table, list of failures and record into ``ready/``.

    Args:
        state, plan: of a run whose batches are all committed.
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
    record = make_record(state, plan, len(failures))
    write_csv(making / side_file(out, ".csv").name, table.columns, table)
    if failures:
        write_csv(making / side_file(out, ".errors.csv").name, ERROR_COLUMNS, failures)
    text = json.dumps(record, indent=2) + "\n"
    (making / side_file(out, ".json").name).write_text(text, encoding="utf-8")
    if out.suffix == ".npy":
        state.write_npy_header()
    else:
        metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in record.items()}
        WRITERS[out.suffix](making / out.name, state.array(), table, metadata)
    os.replace(making, state.folder / READY)


def move_results(folder: Path, out: Path) -> bool:
    """Move what lies in ``ready/`` beside ``out`` and empty the folder; False if there is nothing ready."""
    ready = folder / READY
    if not ready.is_dir():
        return False
    record, errors = side_file(out, ".json").name, side_file(out, ".errors.csv")
    if (ready / record).exists():  # it goes last, so all of this may have been done before
        if (folder / ROWS_FILE).exists() and out.suffix == ".npy":
            os.replace(folder / ROWS_FILE, out)
        if json.loads((ready / record).read_text(encoding="utf-8"))["failures"] == 0:
            errors.unlink(missing_ok=True)  # of an earlier run
        for path in sorted(ready.iterdir(), key=lambda path: path.name == record):
            os.replace(path, out.with_name(path.name))
    clear(folder)
    return True


def clear(folder: Path) -> None:
    """Delete a run's state, but not its lock; ``ready/`` goes last, as it says that the rest is of no more use."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == READY):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()


def make_record(state: RunState, plan: Plan, failures: int) -> dict[str, Any]:
    """What the results are; no clock time, so that the same run gives the same bytes."""
    return {
        **{name: getattr(plan.settings, name) for name in ("checkpoint", "checkpoint_sha256", "aasp_features")},
        "rows": state.rows,
        "dimension": state.width,
        "failures": failures,
        **plan.identity(),
    }
