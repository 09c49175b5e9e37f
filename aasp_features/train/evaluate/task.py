"""A labelled task: clips, their classes, groups that stay together, parts; so its splits, metric and resamples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import ACCURACY, Labels, Metric, Scores

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WHOLE = "whole"  # all parts together, where clips are counted
FOLDS = 5  # of tasks that bring none
FEW_GROUPS = 20
Places = NDArray[np.int64]


class Row(NamedTuple):
    """A clip of a task: its file, its labels, the group that no split may part, and its part (a fold, or train, …)."""

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
        TrainError: none of the files is there, fewer than two classes, or a label that is no class.
    """
    there: list[Row] = []
    missing: list[Row] = []
    for row in rows:
        (there if row.file.is_file() else missing).append(row)
    if not there:
        example = f", the first is {rows[0].file}" if rows else ""
        raise TrainError(f"{name}: none of its {len(rows)} sound files is there{example}.")
    names = tuple(classes or sorted({label for row in rows for label in row.labels}))
    if unknown := sorted({label for row in there for label in row.labels} - set(names)):
        raise TrainError(f"{name}: {unknown[0]!r} is none of its {len(names)} classes.")
    if len(names) < 2:
        raise TrainError(f"{name}: all clips are labelled {names[0]!r}; a task has at least two classes.")
    return Task(
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


def _label_array(labels: Sequence[tuple[str, ...]], names: Sequence[str], several: bool) -> Labels:
    """As of ``Task.labels``."""
    places = {label: place for place, label in enumerate(names)}
    if not several:
        return np.array([places[label] for label, *_ in labels], np.int64)
    table = np.zeros((len(labels), len(names)), np.bool_)
    for row, found in zip(table, labels, strict=True):
        row[[places[label] for label in found]] = True
    return table


def make_folds(labels: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Folds 1…5: stratified by label, groups kept whole, shuffled with seed 0.

    Raises:
        TrainError: fewer groups than folds, or fewer clips of every class.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if max(Counter(labels).values(), default=0) < FOLDS:
        raise TrainError(f"no class has {FOLDS} clips, so they cannot make {FOLDS} folds.")
    if len(set(groups)) < FOLDS:
        raise TrainError(f"{len(set(groups))} groups cannot make {FOLDS} folds.")
    folds = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups), start=1):
        folds[held_out] = fold
    return [str(fold) for fold in folds]
