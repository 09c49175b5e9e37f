"""A task's clips -> a classifier fine-tuned on all of them, and what such a one is worth on clips held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from aasp_features.classifier import AaSPClassifier
from aasp_features.encoder import AaSPEncoder
from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.evaluate.finetune.runs import finetune
from aasp_features.train.evaluate.probe import ProbeResult, judged
from aasp_features.train.evaluate.task import Split, Task

ALL = "all"


def finetune_splits(
    encoder: AaSPEncoder, task: Task, recipe: FinetuneRecipe, folder: Path, device: torch.device
) -> ProbeResult:
    """One run for each split, whose saved weights its test part scores; arguments as of ``finetune_folds``."""
    splits, scores = task.splits(), []
    for split in splits:
        done = finetune(encoder, task, split, recipe, folder / split.name.replace(" ", "-"), device)
        scores.append([done.scores[done.saved]])
    return judged(task, splits, scores)


def finetune_folds(
    encoder: AaSPEncoder, task: Task, recipe: FinetuneRecipe, folder: Path, device: torch.device
) -> tuple[ProbeResult, AaSPClassifier]:
    """The runs of ``finetune_splits``, and a last one on all clips.

    All runs have the same recipe, so that the score is that of what makes the classifier. Each has a folder of its own
    and goes on from where it stands.

    Args:
        encoder: from which every run starts.
        task: that is learnt.
        recipe: of every run.
        folder: of the runs' folders.
        device: where to compute.

    Raises:
        TrainError, OptionError, AudioError, StoppedError, CheckpointError: see ``finetune``.
    """
    result, none = finetune_splits(encoder, task, recipe, folder, device), np.empty(0, np.int64)
    finetune(encoder, task, Split(ALL, np.arange(len(task.files)), none, none), recipe, folder / ALL, device)
    return result, AaSPClassifier.from_pretrained(folder / ALL)
