"""A user's task: a table of sounds and labels."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

from aasp_features.sounds.lists import read_bounded
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY, MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row, Task, build_task

FOLD = re.compile("[0-9]{1,9}")
SEPARATOR = ";"  # between the labels of one sound
PARTS = {
    "train": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
}
COLUMNS = "file, label (several separated by ';'), and optionally group, and fold or split (train, validation, test)"


def read_table(table: Path, name: str | None = None) -> Task:
    """Read a .csv with a header; files are relative to its folder.

    Columns: file; label, with ``;`` between several; group, whose sounds are not split (default: the file); fold, a
    number, or split: train, validation, test (default: folds are drawn, see ``make_folds``).

    Raises:
        TrainError: It is not such a table, or a file is missing.
    """
    rows = _rows(table)
    files = [table.parent / row["file"] for row in rows]
    if absent := [path for path in files if not os.path.isfile(path)]:  # Path's raises for names too long
        raise TrainError(f"{table}: {len(absent)} files are missing, the first is {str(absent[0])[:300]}.")
    labels = [_labels(row["label"]) for row in rows]
    groups = [row.get("group") or row["file"] for row in rows]
    parts = _parts(table, rows)
    part_of = dict(zip(groups, parts, strict=True))
    if torn := [group for group, part in zip(groups, parts, strict=True) if part_of[group] != part]:
        raise TrainError(f"{table}: the group {torn[0][:40]!r} is in two parts; give all its sounds the same part.")
    multi_label = any(len(found) > 1 for found in labels)
    found = [Row(*values) for values in zip(files, labels, groups, parts, strict=True)]
    metric = MEAN_AVERAGE_PRECISION if multi_label else BALANCED_ACCURACY
    return build_task(name or table.parent.name, found, metric, multi_label=multi_label)


def _labels(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(str.strip, cell.split(SEPARATOR)))))


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        text = read_bounded(table).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        numbered = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainError(f"{table} cannot be read as a comma-separated UTF-8 table ({error}).") from error
    rows = [row for _, row in numbered]
    if not rows:
        raise TrainError(f"{table} has no rows; its columns must be {COLUMNS}.")
    if missing := [column for column in ("file", "label") if column not in rows[0]]:
        raise TrainError(f"{table} lacks the column {missing[0]}; its columns must be {COLUMNS}.")
    for number, row in numbered:
        if not row["file"] or "\0" in row["file"] or not _labels(row["label"] or ""):
            raise TrainError(f"{table}: line {number} has no file or no label; add both, or remove the line.")
    return rows


def _parts(table: Path, rows: list[dict[str, str]]) -> list[str]:
    """Return the table's folds or splits; empty if folds are to be drawn."""
    if "fold" in rows[0] and "split" in rows[0]:
        raise TrainError(f"{table} has both columns fold and split; keep one of them.")
    if "split" in rows[0]:
        if other := sorted({str(row["split"]) for row in rows} - set(PARTS)):
            raise TrainError(f"{table}: a split must be one of {', '.join(PARTS)}, got {other[0][:40]!r}.")
        return [PARTS[row["split"]] for row in rows]
    if "fold" in rows[0]:
        folds = [str(row["fold"]) for row in rows]
        if other := [fold for fold in folds if not FOLD.fullmatch(fold)]:
            raise TrainError(f"{table}: a fold must be a number of at most 9 digits, got {other[0][:40]!r}.")
        if len(set(folds)) < 2:
            raise TrainError(f"{table}: all sounds are in one fold; give at least two folds.")
        return [str(int(fold)) for fold in folds]
    return [""] * len(rows)
