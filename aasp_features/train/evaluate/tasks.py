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
        TrainError: a column or a file is missing, or there are fewer than 5 groups.
    """
    table = folder / "labels.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or (missing := {"file", "label", "group"} - set(rows[0])):
        raise TrainError(f"{table}: has no rows, or lacks columns {sorted(missing) if rows else ''}.")
    files = [folder / row["file"] for row in rows]
    if absent := [path for path in files if not path.is_file()]:
        raise TrainError(f"{table}: {len(absent)} files are missing, the first is {absent[0]}.")
    labels, groups = np.array([row["label"] for row in rows]), np.array([row["group"] for row in rows])
    if len(set(groups)) < len(FOLDS):
        raise TrainError(f"{table}: {len(set(groups))} groups cannot make {len(FOLDS)} folds.")
    folds = np.array([int(row["fold"]) for row in rows]) if "fold" in rows[0] else make_folds(labels, groups)
    return Task(folder.name, files, labels, groups, folds)


def make_folds(labels: Labels, groups: NDArray[np.str_]) -> NDArray[np.int64]:
    """Folds 1…5: stratified by label, groups kept whole, shuffled with seed 0."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(len(FOLDS), shuffle=True, random_state=0)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups), start=1):
        folds[held_out] = fold
    return folds
