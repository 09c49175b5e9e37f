"""Labelled tasks: clips, classes, groups and parts, from which splits, metrics and resamples follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import ACCURACY, Labels, Metric, Scores, one_hot, quiet_scikit_learn

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WHOLE = "whole"  # all parts together, in counts of clips
FOLDS = 5  # for tasks without folds of their own
FEW_GROUPS = 20
Indices = NDArray[np.int64]


class Row(NamedTuple):
    """A clip of a task: file, labels, group (never split), and part (a fold, or train, validation, test).

    If the parts are empty, folds are drawn.
    """

    file: Path
    labels: tuple[str, ...]
    group: str
    part: str


class Split(NamedTuple):
    """Indices of a task's clips that train, choose settings (may be empty), and test."""

    name: str
    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Task:
    """Clips of one task.

    Attributes:
        name: Name in tables.
        files: Files of the clips.
        classes: Class names, in the order of a score's columns.
        labels: (clips,) int64 class indices; or (clips, classes) bool for multi-label tasks.
        groups: (clips,) strings; clips of one group are resampled together.
        parts: (clips,) strings: folds (numbers), or train, validation, test.
        metric: Metric of the scores.
        seconds: Usual length of a clip; None if it varies.
        missing: Listed files that do not exist, which are left out.
        expected: Clips of the official distribution in each part, or in the ``WHOLE``; empty if unknown.
        note: Sentence for readers of the results.
        drawn: Whether its folds were drawn here.
        unreadable: Unreadable files, which are left out, and the reasons.
    """

    name: str
    files: list[Path]
    classes: tuple[str, ...]
    labels: Labels
    groups: NDArray[np.str_]
    parts: NDArray[np.str_]
    metric: Metric = ACCURACY
    seconds: float | None = None
    missing: tuple[Path, ...] = ()
    expected: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    drawn: bool = False
    unreadable: Mapping[Path, str] = field(default_factory=dict)

    @property
    def found(self) -> dict[str, int]:
        """Number of clips, counted as in ``expected``."""
        parts = Counter(self.parts.tolist())
        return {part: len(self.files) if part == WHOLE else parts[part] for part in self.expected}

    @property
    def folds(self) -> list[str]:
        """The folds in order; empty if the parts are train, validation and test."""
        found = set(self.parts.tolist())
        return [] if found <= {TRAIN, VALIDATION, TEST} else sorted(found, key=int)

    @property
    def leaves_one_out(self) -> bool:
        """Whether each drawn fold is a single clip or group."""
        return self.drawn and len(self.folds) == len(np.unique(self.groups))

    def splits(self, selection: bool = False) -> list[Split]:
        """Return a split for each held-out fold, or one split of train, validation and test.

        Args:
            selection: Whether to hold back the final test data, the last fold or the test part; the validation part
                tests then.

        Raises:
            TrainError: The test part is held back, and there is no validation part.
        """
        if not self.folds:
            return [self._fixed_split(selection)]
        used = self.folds[:-1] if selection else self.folds
        within, none = np.isin(self.parts, used), np.empty(0, np.int64)
        return [
            Split(
                f"fold {fold}", np.flatnonzero(within & (self.parts != fold)), none, np.flatnonzero(self.parts == fold)
            )
            for fold in used
        ]

    def draw_folds(self) -> Task:
        """Return the task with folds of ``make_folds``; a multi-label clip counts as its rarest label."""
        labels = self.labels
        if labels.ndim == 2:
            labels = np.where(labels, labels.sum(axis=0), len(labels) + 1).argmin(axis=1)
        parts = make_folds(labels.tolist(), self.groups.tolist())
        return replace(self, parts=np.array(parts), drawn=True)

    def units(self, indices: Indices) -> NDArray[np.int64]:
        """Count the groups of each class among these clips, which are the independent units."""
        having = one_hot(self.labels[indices], len(self.classes))
        return np.array([len(np.unique(self.groups[indices][has])) for has in having.T])

    def value(self, indices: Indices, scores: Scores) -> float:
        """Return the metric of some clips' scores, in %."""
        return self.metric.value(self.labels[indices], scores)

    def resamples(self, indices: Indices) -> Iterator[NDArray[np.int64]]:
        """Yield seeded bootstrap draws among these clips, as indices into ``indices``.

        Groups are drawn, or clips if there are under 20 groups.
        """
        rng = np.random.default_rng(0)
        groups = self.groups[indices]
        units = groups if len(np.unique(groups)) >= FEW_GROUPS else indices.astype(str)
        order = np.argsort(units, kind="stable")
        members = np.split(order, np.flatnonzero(units[order][1:] != units[order][:-1]) + 1)
        for _ in range(self.metric.resamples):
            chosen = rng.integers(len(members), size=len(members))
            yield np.concatenate([members[unit] for unit in chosen])

    def _fixed_split(self, selection: bool) -> Split:
        train, validation, test = (np.flatnonzero(self.parts == part) for part in (TRAIN, VALIDATION, TEST))
        if selection:
            validation, test = test[:0], validation
        if not len(train) or not len(test):
            lacking = TRAIN if not len(train) else VALIDATION if selection else TEST
            raise TrainError(f"{self.name}: no clips in its part {lacking!r}.")
        return Split("validation" if selection else "test", train, validation, test)


def build_task(
    name: str,
    rows: Sequence[Row],
    metric: Metric = ACCURACY,
    *,
    classes: Sequence[str] | None = None,
    multi_label: bool = False,
    seconds: float | None = None,
) -> Task:
    """Build a task from its rows; rows without a file are left out and named in ``missing``.

    Args:
        name: Name in tables.
        rows: Rows in the order of the task's lists.
        metric: Metric of the scores.
        classes: Class names (default: those that occur, in alphabetical order).
        multi_label: Whether a clip may have several labels.
        seconds: Usual length of a clip.

    Raises:
        TrainError: No file exists, there are fewer than two classes, a label is not a class, or folds are to be drawn
            from a single group.
    """
    there: list[Row] = []
    missing: list[Row] = []
    for row in rows:
        (there if row.file.is_file() else missing).append(row)
    if not there:
        example = f", the first is {rows[0].file}" if rows else ""
        raise TrainError(f"{name}: none of its {len(rows)} sound files exists{example}.")
    names = _class_names(name, rows, there, classes)
    task = Task(
        name,
        [row.file for row in there],
        names,
        _label_array([row.labels for row in there], names, multi_label),
        np.array([row.group for row in there]),
        np.array([row.part for row in there]),
        metric,
        seconds,
        tuple(row.file for row in missing),
    )
    if any(task.parts):
        return task
    try:
        return task.draw_folds()
    except TrainError as error:
        raise TrainError(f"{name}: {error}") from None


def _class_names(
    name: str, rows: Sequence[Row], there: Sequence[Row], classes: Sequence[str] | None
) -> tuple[str, ...]:
    names = tuple(classes or sorted({label for row in rows for label in row.labels}))
    if unknown := sorted({label for row in there for label in row.labels} - set(names)):
        raise TrainError(f"{name}: {unknown[0]!r} is not one of its {len(names)} classes.")
    if len(names) < 2:
        raise TrainError(f"{name}: all clips are labelled {names[0]!r}; a task needs at least two classes.")
    return names


def _label_array(labels: Sequence[tuple[str, ...]], names: Sequence[str], multi_label: bool) -> Labels:
    index_of = {label: index for index, label in enumerate(names)}
    if not multi_label:
        return np.array([index_of[label] for label, *_ in labels], np.int64)
    table = np.zeros((len(labels), len(names)), np.bool_)
    for row, found in zip(table, labels, strict=True):
        row[[index_of[label] for label in found]] = True
    return table


def make_folds(labels: Sequence[Any], groups: Sequence[str]) -> list[str]:
    """Draw folds 1 to 5: stratified by label, groups kept whole, shuffled with seed 0.

    If no class has five clips, or there are under five groups, each group is a fold. With 20 groups or more, there are
    as many folds as the largest class has clips.

    Raises:
        TrainError: There is a single group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    number_of = {group: number for number, group in enumerate(dict.fromkeys(groups), start=1)}
    if len(number_of) < 2:
        raise TrainError(
            f"all its clips are of the group {groups[0]!r}; give at least two groups, one of them for tests."
        )
    count = min(FOLDS, len(number_of), max(Counter(labels).values()))
    if count < 2 or (count < FOLDS and len(number_of) < FEW_GROUPS):
        return [str(number_of[group]) for group in groups]
    folds = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    with quiet_scikit_learn():
        for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups), start=1):
            folds[held_out] = fold
    return [str(fold) for fold in folds]
