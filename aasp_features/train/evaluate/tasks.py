"""A labelled task: files, labels, groups that may not be split, folds; and so its splits, its metric, its resamples."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY, Labels, Metric

FOLDS = (1, 2, 3, 4, 5)
COLUMNS = ("file", "label", "group")
RESAMPLES = 1000
FEW_GROUPS = 20
Places = NDArray[np.int64]


class Split(NamedTuple):
    """Which of a task's clips are trained on, and which are tested on."""

    train: Places
    test: Places


@dataclass(frozen=True)
class Task:
    """Clips of one task, (clips,) each.

    Attributes:
        name: of the folder.
        files: paths.
        labels, groups: strings; clips of one group stay on one side of every split.
        folds: 1…5: the task's own where its table has them, else stratified and grouped, shuffled with seed 0.
        metric: by which predictions are judged.
    """

    name: str
    files: list[Path]
    labels: Labels
    groups: NDArray[np.str_]
    folds: NDArray[np.int64]
    metric: Metric = BALANCED_ACCURACY

    def splits(self, folds: Sequence[int] = FOLDS) -> list[Split]:
        """Each of the folds held out in turn; clips of folds that are not named are on neither side."""
        used = np.isin(self.folds, folds)
        return [
            Split(np.flatnonzero(used & (self.folds != fold)), np.flatnonzero(self.folds == fold)) for fold in folds
        ]

    def score(self, places: Places, predicted: Labels) -> float:
        """The metric of what was predicted of some clips."""
        return self.metric.score(self.labels[places], predicted)

    def resamples(self, places: Places) -> Iterator[NDArray[np.int64]]:
        """1,000 bootstrap draws among these clips, as indices into ``places``; seeded.

        Groups are drawn, or clips if there are under 20 groups.
        """
        rng = np.random.default_rng(0)
        groups = self.groups[places]
        units = groups if len(np.unique(groups)) >= FEW_GROUPS else places.astype(str)
        members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
        for _ in range(RESAMPLES):
            chosen = rng.integers(len(members), size=len(members))
            yield np.concatenate([members[unit] for unit in chosen])


def read_tasks(folder: Path) -> list[Task]:
    """Every task below ``folder`` (or ``folder`` itself), in alphabetical order.

    Raises:
        TrainError: none there, or a table that is not what ``read_task`` wants.
    """
    tables = sorted(folder.glob("*/labels.csv")) or sorted(folder.glob("labels.csv"))
    if not tables:
        raise TrainError(f"no task in {folder}: a task is a folder with labels.csv and its sound files.")
    return [read_task(table.parent) for table in tables]


def read_task(folder: Path) -> Task:
    """Read ``labels.csv`` (columns file, label, group, optionally fold) of one task.

    Raises:
        TrainError: a column, a value or a file is missing, a fold is none of 1…5 or tears a group apart, or there are
            fewer than 5 groups or 2 labels.
    """
    table = folder / "labels.csv"
    rows = _read_rows(table)
    files = [folder / row["file"] for row in rows]
    if absent := [path for path in files if not path.is_file()]:
        raise TrainError(f"{table}: {len(absent)} files are missing, the first is {absent[0]}.")
    labels, groups = np.array([row["label"] for row in rows]), np.array([row["group"] for row in rows])
    if len(set(groups)) < len(FOLDS):
        raise TrainError(f"{table}: {len(set(groups))} groups cannot make {len(FOLDS)} folds.")
    if len(set(labels)) < 2:
        raise TrainError(f"{table}: every clip has the label {str(labels[0])!r}; a task needs two.")
    if "fold" in rows[0]:
        return Task(folder.name, files, labels, groups, _own_folds(table, rows))
    try:
        folds = make_folds(labels, groups)
    except ValueError as error:  # scikit-learn's
        raise TrainError(f"{table}: no folds can be made ({str(error).rstrip('.')}).") from error
    return Task(folder.name, files, labels, groups, folds)


def _read_rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainError(f"{table} is no CSV in UTF-8 ({str(error).splitlines()[0][:80]}).") from error
    except OSError as error:
        raise TrainError(f"{table} cannot be read ({error.strerror}).") from error
    if not rows or (missing := set(COLUMNS) - set(rows[0])):
        raise TrainError(f"{table}: has no rows, or lacks columns {sorted(missing) if rows else ''}.")
    for number, row in enumerate(rows, start=1):
        if empty := [name for name in COLUMNS if not row[name] or "\0" in row[name]]:
            raise TrainError(f"{table}: row {number} has no {empty[0]}.")
    return rows


def _own_folds(table: Path, rows: Sequence[dict[str, str]]) -> NDArray[np.int64]:
    folds, of_group = [], {row["group"]: row["fold"] for row in rows}
    for number, row in enumerate(rows, start=1):
        if row["fold"] not in map(str, FOLDS):
            raise TrainError(f"{table}: row {number} has fold {row['fold']!r}; it is one of {FOLDS}.")
        if row["fold"] != of_group[row["group"]]:
            raise TrainError(f"{table}: group {row['group']!r} lies in two folds; its clips would be on both sides.")
        folds.append(int(row["fold"]))
    if empty := set(FOLDS) - set(folds):
        raise TrainError(f"{table}: no clip is in fold {min(empty)}.")
    return np.array(folds)


def make_folds(labels: Labels, groups: NDArray[np.str_]) -> NDArray[np.int64]:
    """Folds 1…5: stratified by label, groups kept whole, shuffled with seed 0."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(len(FOLDS), shuffle=True, random_state=0)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups), start=1):
        folds[held_out] = fold
    return folds
