"""Remarks on tasks with few clips: the effects on their scores, and how many clips would help."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import FIXED_C, inner_splits
from aasp_features.train.evaluate.metrics import one_hot
from aasp_features.train.evaluate.probe import judged_together
from aasp_features.train.evaluate.task import FOLDS, Split, Task

MAX_NAMED = 5  # classes in a sentence
FINAL_NUMBERS = re.compile(r"([-_. ]*\d+)+$")


def few_clips(task: Task, selection: bool = False) -> list[str]:
    """Describe how a task with few clips is measured; empty if every split has enough of every class.

    Args:
        task: Task to describe.
        selection: See ``Task.splits``.
    """
    try:
        splits = task.splits(selection)
    except TrainError:  # raised again when the task is measured
        return []
    unit = "clip" if len(np.unique(task.groups)) == len(task.files) else "group"
    sentences = [f"There are few clips, so each fold is a single {unit}."] if task.leaves_one_out else []
    if len(splits) > 1 and judged_together(task, splits):
        sentences.append("Some folds test a single class, so all held-out clips are scored together.")
    if unknown := _unlearnable(task, splits):
        named = _named(unknown, "clip")
        sentences.append(f"{named} can only be recognised by chance: no clip of the class was left for training.")
    sentences += split_recordings(task)
    folds = FOLDS if task.drawn else len(task.folds)
    units = task.units(np.arange(len(task.files))).tolist()
    if few := {name: folds - count for name, count in zip(task.classes, units, strict=True) if 0 < count < folds}:
        sentences.append(f"Add at least {_named(few, unit)}, so that each of {folds} folds can hold every class.")
    return sentences


def split_recordings(task: Task) -> list[str]:
    """Say whether clips of one recording seem to be in several folds; empty if not, or if groups were given.

    Files of one folder whose names differ only in their final numbers count as one recording, unless all names in the
    folder do, which is how unrelated clips are numbered.
    """
    if not task.drawn or len(np.unique(task.groups)) < len(task.files):
        return []
    folders: dict[Path, dict[str, list[int]]] = {}
    for index, file in enumerate(task.files):
        stem = FINAL_NUMBERS.sub("", file.stem)
        folders.setdefault(file.parent, {}).setdefault(stem, []).append(index)
    several = [clips for stems in folders.values() if len(stems) > 1 for clips in stems.values()]
    cut = [clips for clips in several if len(np.unique(task.parts[clips])) > 1]
    if not cut:
        return []
    one, other = (task.files[index].name for index in cut[0][:2])
    return [
        f"By their names, {len(cut)} recordings have clips in several folds, such as {one} and {other}, which makes "
        "the score too high. Give a labels.csv with a column group that names the recording of each clip."
    ]


def fixed_penalty(task: Task, selection: bool = False) -> list[str]:
    """Say in how many splits C of a logistic regression was not chosen; empty if it always was."""
    parts = [split.train for split in task.splits(selection) if not len(split.validation)]
    fixed = sum(not inner_splits(task.labels[part], task.groups[part]) for part in parts)
    return [f"C is {FIXED_C:g} in {fixed} of {len(parts)} splits: too few clips to choose it."] if fixed else []


def _unlearnable(task: Task, splits: Sequence[Split]) -> dict[str, int]:
    """Count the test clips of classes that their split's training part lacks, by class."""
    having = one_hot(task.labels, len(task.classes))
    counts = sum(having[split.test].sum(axis=0) * ~having[split.train].any(axis=0) for split in splits)
    return {name: count for name, count in zip(task.classes, np.asarray(counts).tolist(), strict=True) if count}


def _named(counts: Mapping[str, int], unit: str) -> str:
    """Return ``4 clips of toad, 1 clip of newt``, with a count of the classes after five."""
    parts = [f"{count} {unit}{'s' if count > 1 else ''} of {name}" for name, count in counts.items()]
    more = [f"of {len(parts) - MAX_NAMED} other classes some"] if len(parts) > MAX_NAMED else []
    return ", ".join(parts[:MAX_NAMED] + more)
