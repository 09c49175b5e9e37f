"""Reading of tasks: a public one by name, or the user's own, a table or a folder of classes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aasp_features.audio.reading import AUDIO_SUFFIXES
from aasp_features.sounds.discovery import Discovery
from aasp_features.sounds.lists import read_bounded
from aasp_features.sounds.shards import SHARD_SUFFIXES
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY, MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row, Task, build_task
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS

TABLE = "labels.csv"
COLUMNS = "file, label (several separated by ';'), and optionally group, and fold or split (train, validation, test)"
FOLD = re.compile("[0-9]{1,9}")
SPLITS = {"train": TRAIN, **dict.fromkeys(("validation", "valid", "val", "dev"), VALIDATION), "test": TEST}
LOOSE = "sounds outside the class folders; move each into the folder of its class"
SHARDS = "tar shards, which tasks do not read; unpack them"
EMPTY = "folders without sounds"


def read_tasks(wanted: Sequence[str]) -> list[Task]:
    """Read tasks in the given order.

    Args:
        wanted: Each a public task and its folder, ``esc50:/data/ESC-50``; a .csv (see ``read_table``); a folder with
            labels.csv, or with several such folders; or a folder with a subfolder of sounds for each class.

    Raises:
        TrainError: It is none of these, or the task is invalid.
    """
    tasks = [task for one in wanted for task in _read(one)]
    names = [task.name for task in tasks]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise TrainError(f"two tasks are named {double[0]}; run them one after the other.")
    return tasks


def _read(wanted: str) -> list[Task]:
    name, colon, folder = wanted.partition(":")
    if colon and name in PUBLIC_TASKS:
        return [PUBLIC_TASKS[name].read(Path(folder))]
    path = Path(wanted)
    if path.is_file():
        return [read_table(path, path.parent.name if path.name == TABLE else path.stem)]
    if not path.is_dir():
        known = ", ".join(PUBLIC_TASKS)
        raise TrainError(
            f"{wanted} is no file or folder, and no NAME:FOLDER of a public task; public tasks are {known}."
        )
    if tables := sorted(path.glob(TABLE)) or sorted(path.glob(f"*/{TABLE}")):
        return [read_table(table) for table in tables]
    return [read_class_folders(path)]


def read_table(table: Path, name: str | None = None) -> Task:
    """Read a .csv with a header; files are relative to its folder.

    Columns: file; label, with ``;`` between several; group, whose sounds are not split (default: the file); fold, a
    number, or split: train, validation, test (default: folds are drawn, see ``make_folds``).

    Raises:
        TrainError: It is not such a table, or a file is missing.
    """
    rows = _table_rows(table)
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
    return tuple(dict.fromkeys(filter(None, map(str.strip, cell.split(";")))))


def _table_rows(table: Path) -> list[dict[str, str]]:
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
        if other := sorted({str(row["split"]) for row in rows} - set(SPLITS)):
            raise TrainError(f"{table}: a split must be one of {', '.join(SPLITS)}, got {other[0][:40]!r}.")
        return [SPLITS[row["split"]] for row in rows]
    if "fold" in rows[0]:
        folds = [str(row["fold"]) for row in rows]
        if other := [fold for fold in folds if not FOLD.fullmatch(fold)]:
            raise TrainError(f"{table}: a fold must be a number of at most 9 digits, got {other[0][:40]!r}.")
        if len(set(folds)) < 2:
            raise TrainError(f"{table}: all sounds are in one fold; give at least two folds.")
        return [str(int(fold)) for fold in folds]
    return [""] * len(rows)


def read_class_folders(folder: Path) -> Task:
    """Read a folder of classes: each subfolder is a class, with all sound files below it.

    Folds are drawn. The task's note lists what was left out: sounds in no subfolder, shards, and empty folders.

    Raises:
        TrainError: There are fewer than two folders with sounds, or a folder holds only shards.
    """
    rows: list[Row] = []
    left: dict[str, list[str]] = {LOOSE: [], SHARDS: [], EMPTY: []}
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if not path.is_dir():
            ending = path.suffix.lower()
            if kind := LOOSE if ending in AUDIO_SUFFIXES else SHARDS if ending in SHARD_SUFFIXES else "":
                left[kind].append(str(path))
            continue
        files, unread = _search(path)
        if not files and EMPTY not in unread:
            raise TrainError(f"{folder}: the class {path.name!r} has no usable sounds. {_left_out(unread)}")
        rows += [Row(file, (path.name,), str(file), "") for file in files]
        for kind, names in unread.items():
            left[kind] = left.get(kind, []) + names
    note = _left_out(left)
    if len({row.labels for row in rows}) < 2:
        lacking = f"{folder} must hold at least two folders with sounds, one for each class."
        raise TrainError(f"{lacking} {note}".rstrip())
    return replace(build_task(folder.name, rows, BALANCED_ACCURACY), note=note)


def _search(path: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """Find the sound files below a folder, and what is left out there, by reason."""
    found = Discovery()
    found.add_path(path)
    shards = dict.fromkeys(str(sound.path) for sound in found.sounds if sound.member is not None)
    unread = {SHARDS: list(shards)} if shards else {}
    for name, reason in found.problems.items():
        unread.setdefault(reason, []).append(name)
    if not found.sounds and not unread:
        unread[EMPTY] = [str(path)]
    return [Path(sound.path) for sound in found.sounds if sound.member is None], unread


def _left_out(left: Mapping[str, list[str]]) -> str:
    parts = [
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''} ({kind.rstrip('.')})"
        for kind, names in left.items()
        if names
    ]
    return f"Left out: {'; '.join(parts)}." if parts else ""
