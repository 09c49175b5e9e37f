"""Fine-tuning of a classifier on all clips of a task, with its cross-validated score."""

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
    """Fine-tune on each split, and score its test part; arguments as for ``finetune_folds``."""
    splits, scores = task.splits(), []
    for split in splits:
        done = finetune(encoder, task, split, recipe, folder / split.name.replace(" ", "-"), device)
        scores.append([done.scores[done.saved]])
    return judged(task, splits, scores)


def finetune_folds(
    encoder: AaSPEncoder, task: Task, recipe: FinetuneRecipe, folder: Path, device: torch.device
) -> tuple[ProbeResult, AaSPClassifier]:
    """Fine-tune on each split and on all clips; errors as for ``finetune``.

    All runs use the same recipe, so the score is that of the method behind the classifier. Each run has its own folder
    in ``folder`` and continues from its state.
    """
    result, none = finetune_splits(encoder, task, recipe, folder, device), np.empty(0, np.int64)
    finetune(encoder, task, Split(ALL, np.arange(len(task.files)), none, none), recipe, folder / ALL, device)
    return result, AaSPClassifier.from_pretrained(folder / ALL)
