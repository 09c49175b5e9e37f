"""What few clips of a class do to a task's score, and how many more would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import one_hot
from aasp_features.train.evaluate.logistic import FIXED_C, inner_splits
from aasp_features.train.evaluate.probe import judged_together
from aasp_features.train.evaluate.task import FOLDS, Split, Task

MOST = 5  # classes that a sentence names


def few_clips(task: Task, selection: bool = False) -> list[str]:
    """Sentences on how a task with few clips is measured; none where every split has enough of every class.

    Args:
        task: whose splits are looked at.
        selection: see ``Task.splits``.
    """
    try:
        splits = task.splits(selection)
    except TrainError:  # of a task that cannot be measured, which is told where it is tried
        return []
    unit = "clip" if len(np.unique(task.groups)) == len(task.files) else "group"
    sentences = [f"Clips are few, so each fold is a single {unit}."] if task.leaves_one_out else []
    if len(splits) > 1 and judged_together(task, splits):
        sentences.append("Some folds test a single class, so all clips that were held out are judged together.")
    if unknown := _unlearnable(task, splits):
        named = _named(unknown, "clip")
        sentences.append(f"{named} can be recognised by chance alone: no clip of the class was left to learn from.")
    folds = FOLDS if task.drawn else len(task.folds)
    units = task.units(np.arange(len(task.files))).tolist()
    if few := {name: folds - count for name, count in zip(task.classes, units, strict=True) if 0 < count < folds}:
        sentences.append(f"Add at least {_named(few, unit)}, so that each of {folds} folds can hold every class.")
    return sentences


def fixed_penalty(task: Task, selection: bool = False) -> list[str]:
    """A sentence on where C of a logistic regression was not chosen; none where it was everywhere."""
    parts = [split.train for split in task.splits(selection) if not len(split.validation)]
    fixed = sum(not inner_splits(task.labels[part], task.groups[part]) for part in parts)
    return [f"C is {FIXED_C:g} in {fixed} of {len(parts)} splits: too few clips to choose it."] if fixed else []


def _unlearnable(task: Task, splits: Sequence[Split]) -> dict[str, int]:
    """Classes of clips that are tested where no clip of the class trains, and how many these clips are."""
    having = one_hot(task.labels, len(task.classes))
    counts = sum(having[split.test].sum(axis=0) * ~having[split.train].any(axis=0) for split in splits)
    return {name: count for name, count in zip(task.classes, np.asarray(counts).tolist(), strict=True) if count}


def _named(counts: Mapping[str, int], unit: str) -> str:
    """``4 clips of toad, 1 clip of newt``; a number in place of what comes after five."""
    parts = [f"{count} {unit}{'s' if count > 1 else ''} of {name}" for name, count in counts.items()]
    more = [f"of {len(parts) - MOST} other classes some"] if len(parts) > MOST else []
    return ", ".join(parts[:MOST] + more)
