"""What few clips of a class do to a task's score, and how many more would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import one_hot, quiet_scikit_learn
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
    alone = len(np.unique(task.groups)) == len(task.files)
    unit = "clip" if alone else "group"
    sentences = []
    if task.leaves_one_out:
        sentences.append(f"Few clips: each {unit} is held out in turn, {len(splits)} times.")
    if len(splits) > 1 and judged_together(task, splits):
        sentences.append("All clips that were held out are judged together, since single folds lack classes.")
    if unknown := _unlearnable(task, splits):
        sentences.append(
            f"No clip of their class was left to learn from for some of what was held out: {_named(unknown, 'clip')}; "
            "these count as wrong."
        )
    units = task.units(np.arange(len(task.files)))
    few = {name: FOLDS - count for name, count in zip(task.classes, units.tolist(), strict=True) if 0 < count < FOLDS}
    if task.drawn and few:
        sentences.append(f"Add at least {_named(few, unit)}, so that each of {FOLDS} folds has some of every class.")
    return sentences


def fixed_penalty(task: Task, selection: bool = False) -> list[str]:
    """A sentence on where C of a logistic regression was not chosen; none where it was everywhere."""
    with quiet_scikit_learn():
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
