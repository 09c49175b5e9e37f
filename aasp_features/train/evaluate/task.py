"""A labelled task: clips, their classes, groups that stay together, parts; so its splits, metric and resamples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import one_hot, quiet_scikit_learn
from aasp_features.train.evaluate.metrics import ACCURACY, Labels, Metric, Scores

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WHOLE = "whole"  # all parts together, where clips are counted
FOLDS = 5  # of tasks that bring none
FEW_GROUPS = 20
Places = NDArray[np.int64]


class Row(NamedTuple):
    """A clip of a task: its file, its labels, the group that no split may part, and its part (a fold, or train, …).

    Where the parts are empty, folds are drawn.
    """

    file: Path
    labels: tuple[str, ...]
    group: str
    part: str


class Split(NamedTuple):
    """Which of a task's clips are trained on, which may choose settings (none: a part of the former), which test."""

    name: str
    train: Places
    validation: Places
    test: Places


@dataclass(frozen=True)
class Task:
    """Clips of one task.

    Attributes:
        name: what tables call it.
        files: of the clips.
        classes: names, in the order of a score's columns.
        labels: (clips,) int64 places in ``classes``; or (clips, classes) bool where a clip may have several.
        groups: (clips,) strings; clips of one group are resampled together.
        parts: (clips,) strings: folds (numbers), or train, validation, test.
        metric: by which scores are judged.
        seconds: usual length of a clip; None where they vary.
        missing: files that the task's own lists name and that are not there; they are left out.
        expected: how many clips the official distribution has in each part, or in the ``WHOLE``; empty: nobody says.
        note: what readers of its numbers should know, a sentence.
        drawn: were its folds drawn here?
        unreadable: files that were left out because they cannot be read, and why.
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
        """How many clips are there, counted as in ``expected``."""
        parts = Counter(self.parts.tolist())
        return {part: len(self.files) if part == WHOLE else parts[part] for part in self.expected}

    @property
    def folds(self) -> list[str]:
        """The folds in order; empty where the parts are train, validation and test."""
        found = set(self.parts.tolist())
        return [] if found <= {TRAIN, VALIDATION, TEST} else sorted(found, key=int)

    @property
    def leaves_one_out(self) -> bool:
        """Is each fold that was drawn a single clip or group?"""
        return self.drawn and len(self.folds) == len(np.unique(self.groups))

    def splits(self, selection: bool = False) -> list[Split]:
        """Each fold held out in turn; or one split, by train, validation and test.

        Args:
            selection: leave out what is opened once, the last fold or the test part; then the validation part tests.

        Raises:
            TrainError: it is to be left out, and there is no validation part that could test in its place.
        """
        if not self.folds:
            return [self._fixed_split(selection)]
        used = self.folds[:-1] if selection else self.folds
        within, none = np.isin(self.parts, used), np.empty(0, np.int64)
        return [
            Split(
                f"fold {fold}",
                np.flatnonzero(within & (self.parts != fold)),
                none,
                np.flatnonzero(self.parts == fold),
            )
            for fold in used
        ]

    def draw_folds(self) -> Task:
        """The same with folds of ``make_folds``; a clip of several labels counts as one of the rarest of them."""
        labels = self.labels
        if labels.ndim == 2:
            labels = np.where(labels, labels.sum(axis=0), len(labels) + 1).argmin(axis=1)
        parts = make_folds(labels.tolist(), self.groups.tolist())
        return replace(self, parts=np.array(parts), drawn=True)

    def units(self, places: Places) -> NDArray[np.int64]:
        """How many groups each class has among these clips: what is independent."""
        having = one_hot(self.labels[places], len(self.classes))
        return np.array([len(np.unique(self.groups[places][has])) for has in having.T])

    def value(self, places: Places, scores: Scores) -> float:
        """The metric, in %, of the scores of some clips."""
        return self.metric.value(self.labels[places], scores)

    def resamples(self, places: Places) -> Iterator[NDArray[np.int64]]:
        """Bootstrap draws among these clips, as indices into ``places``; seeded.

        Groups are drawn, or clips if there are under 20 groups.
        """
        rng = np.random.default_rng(0)
        groups = self.groups[places]
        units = groups if len(np.unique(groups)) >= FEW_GROUPS else places.astype(str)
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
    several: bool = False,
    seconds: float | None = None,
) -> Task:
    """A task from its rows; those whose files are not there are left out and named in ``missing``.

    Args:
        name: what tables call it.
        rows: in the order of the task's own lists.
        metric: by which scores are judged.
        classes: names; default: those that occur, in alphabetical order.
        several: may a clip have several labels?
        seconds: usual length of a clip.

    Raises:
        TrainError: none of the files is there, fewer than two classes, a label that is no class, or folds that are to
            be drawn of a single group.
    """
    there: list[Row] = []
    missing: list[Row] = []
    for row in rows:
        (there if row.file.is_file() else missing).append(row)
    if not there:
        example = f", the first is {rows[0].file}" if rows else ""
        raise TrainError(f"{name}: none of its {len(rows)} sound files is there{example}.")
    names = _class_names(name, rows, there, classes)
    task = Task(
        name,
        [row.file for row in there],
        names,
        _label_array([row.labels for row in there], names, several),
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
    """Return the names of a task's classes; see ``build_task``."""
    names = tuple(classes or sorted({label for row in rows for label in row.labels}))
    if unknown := sorted({label for row in there for label in row.labels} - set(names)):
        raise TrainError(f"{name}: {unknown[0]!r} is none of its {len(names)} classes.")
    if len(names) < 2:
        raise TrainError(f"{name}: all clips are labelled {names[0]!r}; a task has at least two classes.")
    return names


def _label_array(labels: Sequence[tuple[str, ...]], names: Sequence[str], several: bool) -> Labels:
    """As of ``Task.labels``."""
    places = {label: place for place, label in enumerate(names)}
    if not several:
        return np.array([places[label] for label, *_ in labels], np.int64)
    table = np.zeros((len(labels), len(names)), np.bool_)
    for row, found in zip(table, labels, strict=True):
        row[[places[label] for label in found]] = True
    return table


def make_folds(labels: Sequence[Any], groups: Sequence[str]) -> list[str]:
    """Draw folds 1…5: stratified by label, groups kept whole, shuffled with seed 0.

    Where no class has five clips, or there are under five groups, each group is a fold of its own; of 20 groups or more
    there are as many folds as the largest class has clips.

    Raises:
        TrainError: there is a single group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    places = {group: place for place, group in enumerate(dict.fromkeys(groups), start=1)}
    if len(places) < 2:
        raise TrainError(f"all its clips are of the group {groups[0]!r}; give at least two groups, of which one tests.")
    count = min(FOLDS, len(places), max(Counter(labels).values()))
    if count < 2 or (count < FOLDS and len(places) < FEW_GROUPS):
        return [str(places[group]) for group in groups]
    folds = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    with quiet_scikit_learn():
        for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups), start=1):
            folds[held_out] = fold
    return [str(fold) for fold in folds]
